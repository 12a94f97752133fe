// Limits of the pairing protocol and of what it carries.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tillbridge::pairing::limits {

/// A till's name stands in certificates, paths, file names and commands.
inline constexpr std::size_t till_name_bytes = 64;
inline constexpr std::size_t host_bytes = 253;
inline constexpr std::size_t software_bytes = 128;
inline constexpr std::size_t text_bytes = 1024;
/// A certificate signing request (DER); one of an RSA-4096 key has less than 2 KiB.
inline constexpr std::size_t request_bytes = 4096;
/// A till's certificate (DER).
inline constexpr std::size_t certificate_bytes = 4096;
/// The authorities that a till shall trust (PEM).
inline constexpr std::size_t authorities_bytes = 32U << 10U;
/// A whole message of a till: its fields have room, nothing else does.
inline constexpr std::size_t till_message_bytes = 6144;
inline constexpr std::size_t server_message_bytes = 48U << 10U;
/// A pairing line as a person pastes it.
inline constexpr std::size_t line_bytes = 512;
/// The file with a till's certificate and key.
inline constexpr std::size_t identity_file_bytes = 64U << 10U;

}  // namespace tillbridge::pairing::limits
