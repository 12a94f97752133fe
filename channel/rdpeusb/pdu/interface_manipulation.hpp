// Releasing and querying interfaces (MS-RDPEXPS 2.2.2; rdpeusb.md 2.3).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "channel/rdpeusb/pdu/header.hpp"

namespace tillbridge::rdpeusb::pdu {

/// RIMCALL_RELEASE (IFACE_RELEASE): header only, one-way, never answered, never an error.
struct ReleaseInterface {
  static constexpr std::size_t size = Header::request_size;
  Address address;
  Mask mask = Mask::proxy;  ///< NONE for interface 0, else PROXY
  bool operator==(const ReleaseInterface&) const = default;
};

/// RIMCALL_QUERYINTERFACE (QI_REQ). Windows never sends one; the answer is unsupported().
struct QueryInterface {
  static constexpr std::size_t size = Header::request_size + 16 /* NewInterfaceGUID */;
  Address address;
  Mask mask = Mask::proxy;
  std::array<std::uint8_t, 16> guid{};
  bool operator==(const QueryInterface&) const = default;
};

/// QI_RSP, and without an id the 8-byte reply that means "this function is newer than me".
struct QueryInterfaceResponse {
  Address address;
  std::optional<std::uint32_t> new_interface;  ///< only on success; 30 bits
  bool operator==(const QueryInterfaceResponse&) const = default;
};

[[nodiscard]] Bytes encode(const ReleaseInterface& pdu);
[[nodiscard]] Bytes encode(const QueryInterface& pdu);
[[nodiscard]] Bytes encode(const QueryInterfaceResponse& pdu);

}  // namespace tillbridge::rdpeusb::pdu
