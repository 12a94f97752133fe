// Limits of what is written into the store; above them a row is refused, nothing is cut.
#pragma once

#include <cstddef>

namespace tillbridge::store::limits {

/// Any text of a row: names, labels, reasons, addresses, serials.
inline constexpr std::size_t text_bytes = 4096;
/// A certificate signing request (DER); an RSA-4096 one has less than 2 KiB.
inline constexpr std::size_t request_bytes = 16U << 10U;
/// Rows of one answer that has a limit of its own (leases).
inline constexpr std::size_t rows_per_answer = 10000;

}  // namespace tillbridge::store::limits
