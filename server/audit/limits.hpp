// Limits of the audit log.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tillbridge::audit::limits {

/// One text of an entry. A longer one is cut at a character's border and ends in "…": an entry is
/// never refused for what a peer calls itself.
inline constexpr std::size_t text_bytes = 1024;
inline constexpr std::size_t details_per_entry = 32;
/// One line of the log; more than an entry can have.
inline constexpr std::size_t line_bytes = 256U << 10U;
inline constexpr std::size_t json_depth = 3;
/// Digests of left-out entries in one line of an export.
inline constexpr std::size_t digests_per_line = 256;
/// The current file goes on in a new one above this.
inline constexpr std::uint64_t file_bytes = 8U << 20U;
/// More than this is not a file of ours: read whole.
inline constexpr std::uint64_t read_file_bytes = 64U << 20U;
/// An exported file that verify() takes.
inline constexpr std::uint64_t export_file_bytes = 512U << 20U;
/// Entries of one answer to a query.
inline constexpr std::size_t entries_per_answer = 1000;
/// Findings of one report; above that it only counts.
inline constexpr std::size_t findings = 100;
/// Entries between two signed heads when nothing asks for one earlier.
inline constexpr std::uint32_t entries_per_head = 64;

}  // namespace tillbridge::audit::limits
