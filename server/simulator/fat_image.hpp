// Writes a fresh disk into a Medium: MBR, one partition from block 2048, FAT16 or FAT32, and a few
// files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "server/simulator/medium.hpp"

namespace tillbridge::simulator {

struct FatFile {
  /// 8.3, as it stands in the directory: "README.TXT". Upper-case letters, digits and _-~ only.
  std::string name;
  Bytes content;
  /// The file's size, if it is larger than `content`. The rest is allocated but not written: a
  /// front end that answers for these blocks needs no copy of them here.
  std::uint64_t bytes = 0;
  /// It begins on a multiple of this many bytes of the disk; clusters passed over stay free. A
  /// power of two; 0: the next cluster.
  std::uint32_t alignment_bytes = 0;
  /// Systems show "NAME.ext": a flag that Windows NT brought into the 8.3 form.
  bool lower_case_extension = false;

  [[nodiscard]] std::uint64_t size() const {
    return bytes > content.size() ? bytes : content.size();
  }
};

struct FatOptions {
  /// 1 to 11 characters: upper-case letters, digits, space and _-.
  std::string label = "TSE";
  /// Bytes, a power of two from 512 to 32768; 0: what fits the size. Real 8 GB sticks use 32768.
  std::uint32_t cluster_bytes = 0;
  /// Volume serial number and MBR signature; equal options make equal images.
  std::uint32_t serial = 0x7E571B1D;
  std::vector<FatFile> files;
};

/// Where a file's content landed, for tests and front ends that watch blocks. Files are contiguous.
struct FatFileExtent {
  std::string name;
  std::uint64_t first_block = 0;
  std::uint32_t bytes = 0;
};

struct FatLayout {
  /// 16 or 32: which one follows from the number of clusters alone (Microsoft's FAT specification).
  int fat_bits = 0;
  std::uint32_t cluster_bytes = 0;
  std::uint32_t cluster_count = 0;
  std::uint64_t first_data_block = 0;  ///< of cluster 2
  std::vector<FatFileExtent> files;
};

/// The first block of the partition.
inline constexpr std::uint64_t partition_first_block = 2048;

/// Formats the whole medium; what was on it is no longer reachable. Only the file system's own
/// blocks and the files are written, so a fresh sparse medium stays sparse.
[[nodiscard]] Result<FatLayout> write_fat_image(Medium& medium, const FatOptions& options);

/// `size` bytes that are a function of `seed` alone and do not repeat: for files whose content a
/// test knows.
[[nodiscard]] Bytes pattern_bytes(std::size_t size, std::uint64_t seed);

}  // namespace tillbridge::simulator
