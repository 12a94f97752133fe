// FatVolume: finds the files in the root folder of a FAT disk and where their blocks are. It reads
// only; files are then read and written in place by whoever has the blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::pos {

/// A disk of 512-byte blocks. Ranges are inside block_count(), data is whole blocks.
class BlockDevice {
 public:
  static constexpr std::uint32_t block_bytes = 512;

  BlockDevice() = default;
  BlockDevice(const BlockDevice&) = delete;
  BlockDevice& operator=(const BlockDevice&) = delete;
  BlockDevice(BlockDevice&&) = delete;
  BlockDevice& operator=(BlockDevice&&) = delete;
  virtual ~BlockDevice() = default;
  [[nodiscard]] virtual std::uint64_t block_count() const = 0;
  [[nodiscard]] virtual Status read(std::uint64_t block, std::span<std::uint8_t> data) = 0;
  [[nodiscard]] virtual Status write(std::uint64_t block, ByteView data) = 0;
};

/// A regular file of the root folder.
struct FatFile {
  std::string name;  ///< the long name where there is one
  std::uint32_t bytes = 0;
  std::uint32_t first_cluster = 0;
};

/// Blocks of a file that stand one after the other.
struct BlockExtent {
  std::uint64_t first = 0, count = 0;
  bool operator==(const BlockExtent&) const = default;
};

/// FAT16 or FAT32 (Microsoft, FAT: General Overview of On-Disk Format 1.03), in the first FAT
/// partition or on the whole disk. Nothing is kept but the volume's geometry: folder and allocation
/// table are read anew at each call, because a TSE changes them by itself. Any bytes are safe; what
/// makes no sense is ErrorCode::malformed.
class FatVolume {
 public:
  [[nodiscard]] static Result<FatVolume> find(BlockDevice& disk);

  [[nodiscard]] Result<std::vector<FatFile>> list(BlockDevice& disk) const;
  /// Without regard to the case of ASCII letters.
  [[nodiscard]] Result<FatFile> find_file(BlockDevice& disk, std::string_view name) const;
  /// All blocks of the file, up to the one with its last byte.
  [[nodiscard]] Result<std::vector<BlockExtent>> extents(BlockDevice& disk,
                                                         const FatFile& file) const;

  [[nodiscard]] int fat_bits() const { return wide_ ? 32 : 16; }
  [[nodiscard]] std::uint32_t cluster_bytes() const {
    return cluster_blocks_ * BlockDevice::block_bytes;
  }
  [[nodiscard]] std::uint32_t cluster_count() const { return cluster_count_; }

 private:
  class Chain;

  [[nodiscard]] static Result<FatVolume> parse(ByteView boot_block, std::uint64_t first_block,
                                               std::uint64_t block_limit);
  [[nodiscard]] Result<std::vector<BlockExtent>> root_extents(BlockDevice& disk) const;
  [[nodiscard]] Result<std::vector<BlockExtent>> follow(BlockDevice& disk, std::uint32_t cluster,
                                                        std::uint64_t clusters_wanted,
                                                        bool to_the_end) const;
  [[nodiscard]] bool is_cluster(std::uint32_t cluster) const {
    return cluster >= 2 && cluster - 2 < cluster_count_;
  }

  bool wide_ = false;  ///< FAT32
  std::uint32_t cluster_blocks_ = 0, cluster_count_ = 0;
  std::uint64_t first_fat_block_ = 0, first_data_block_ = 0;
  std::uint64_t first_root_block_ = 0, root_blocks_ = 0;  ///< FAT16
  std::uint32_t root_cluster_ = 0;                        ///< FAT32
};

/// Names of files are the same whatever the case of their ASCII letters.
[[nodiscard]] bool same_file_name(std::string_view one, std::string_view other);

}  // namespace tillbridge::pos
