// Where the files of a simulated Swissbit TSE lie on its disk.
#pragma once

#include <cstdint>

#include "channel/bytes/result.hpp"
#include "server/simulator/medium.hpp"
#include "server/simulator/tse/swissbit_card.hpp"

namespace tillbridge::simulator::tse {

/// In blocks of the disk. The TAR files follow each other without a gap, so the store is one run.
struct SwissbitLayout {
  std::uint64_t info = 0, comm = 0, store = 0;
  std::uint64_t store_blocks = 0, tar_file_blocks = 0;
};

/// The most a TseCore may store (CoreOptions::store_bytes) for a disk of this many blocks.
/// ErrorCode::config: the disk is too small for a TSE.
[[nodiscard]] Result<std::uint64_t> swissbit_store_bytes(std::uint64_t disk_blocks,
                                                         const SwissbitOptions& options);

/// The same for a disk that is formatted.
[[nodiscard]] std::uint64_t store_bytes_of(const SwissbitLayout& layout);

/// Formats a disk whose first block is all zeros; finds the files of one that is formatted already.
/// ErrorCode::config: the disk is too small, or is none of ours.
[[nodiscard]] Result<SwissbitLayout> swissbit_layout(Medium& medium,
                                                     const SwissbitOptions& options);

}  // namespace tillbridge::simulator::tse
