// A whole cryptovision stick's medium: the disk with TSE-IO.BIN and the TSE in front of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "channel/bytes/result.hpp"
#include "server/simulator/tse/cryptovision_medium.hpp"

namespace tillbridge::simulator::tse {

/// Of a new disk.
struct CryptovisionDisk {
  std::string label = "TSE";
  std::uint32_t cluster_bytes = 0;  ///< a power of two from 512 to 32768; 0: what fits
};

/// Formats `base`, unless a disk with a partition table is on it already, which is used as it is.
/// The file has 8192 bytes of zeros and begins on a multiple of 32 KiB, so that a host's page never
/// touches a neighbour. ErrorCode::config or io.
[[nodiscard]] Result<std::unique_ptr<CryptovisionMedium>> make_cryptovision_medium(
    std::unique_ptr<Medium> base, const CryptovisionDisk& disk, std::unique_ptr<TseCore> core,
    const Timing& timing, const CryptovisionOptions& options, std::shared_ptr<Bench> bench);

}  // namespace tillbridge::simulator::tse
