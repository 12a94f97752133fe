// Limits of what an administrator's interface may ask for and keep.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tillbridge::admin::limits {

/// A request's body; ours are a few hundred bytes.
inline constexpr std::size_t body_bytes = 64U << 10U;
inline constexpr std::size_t json_depth = 4;
/// One segment of a path, or one parameter, decoded.
inline constexpr std::size_t parameter_bytes = 512;
inline constexpr std::size_t name_bytes = 128;
inline constexpr std::size_t label_bytes = 256;
inline constexpr std::size_t reason_bytes = 1024;
inline constexpr std::size_t password_bytes = 1024;
/// Rows that the admin may make.
inline constexpr std::size_t tills = 4096, sticks = 4096, mappings = 8192, users = 256;
inline constexpr std::size_t mappings_per_stick = 32;
/// A block that is not "until somebody unblocks it": a year.
inline constexpr std::int64_t block_minutes = std::int64_t{366} * 24 * 60;
/// Events kept for a viewer that comes back.
inline constexpr std::size_t events_kept = 512;
/// An exported audit that is handed over in one piece.
inline constexpr std::size_t export_bytes = 64U << 20U;

}  // namespace tillbridge::admin::limits
