// A host's file system driver in miniature: finds a file on a FAT disk and moves it elsewhere.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "channel/bytes/reader.hpp"
#include "server/simulator/fat_image.hpp"

namespace tillbridge::simulator {

class HostVolume {
 public:
  using Read = std::function<Bytes(std::uint64_t block, std::size_t count)>;
  using Write = std::function<void(std::uint64_t block, Bytes data)>;

  HostVolume(Read read, Write write) : read_(std::move(read)), write_(std::move(write)) {
    const Bytes boot = read_(partition_first_block, 1);
    const auto u16 = [&](std::size_t at) { return boot[at] | unsigned{boot[at + 1]} << 8U; };
    const auto u32 = [&](std::size_t at) { return u16(at) | u16(at + 2) << 16U; };
    cluster_blocks_ = boot[13];
    first_fat_ = partition_first_block + u16(14);
    const std::uint32_t root_entries = u16(17);
    is_16_ = u16(22) != 0;
    fat_blocks_ = is_16_ ? u16(22) : u32(36);
    root_ = first_fat_ + 2 * std::uint64_t{fat_blocks_};
    data_ = root_ + root_entries * 32 / block_bytes;
    if (!is_16_) root_ = block_of(u32(44));
  }

  [[nodiscard]] std::uint32_t cluster_bytes() const { return cluster_blocks_ * block_bytes; }
  /// 8.3 as it stands in the directory: "TSE-IO  BIN". Its first cluster; 0: there is none.
  [[nodiscard]] std::uint32_t find(std::string_view name) {
    const Bytes root = read_(root_, 1);
    for (std::size_t at = 0; at < root.size(); at += 32) {
      if (!std::equal(name.begin(), name.end(), root.begin() + static_cast<std::ptrdiff_t>(at))) {
        continue;
      }
      entry_ = at;
      return root[at + 26] | unsigned{root[at + 27]} << 8U;
    }
    return 0;
  }
  [[nodiscard]] std::uint64_t block_of(std::uint32_t cluster) const {
    return data_ + std::uint64_t{cluster - 2} * cluster_blocks_;
  }
  /// Time stamps: the directory's block is written again.
  void touch(std::uint16_t time) {
    Bytes root = read_(root_, 1);
    root[entry_ + 22] = static_cast<std::uint8_t>(time);
    root[entry_ + 23] = static_cast<std::uint8_t>(time >> 8U);
    write_(root_, root);
  }
  /// Truncates the file found last and allocates it anew from `cluster` on, as a buffered rewrite
  /// may; the content is not written. Its first block is returned.
  std::uint64_t move_to(std::uint32_t cluster, std::uint32_t bytes) {
    std::uint32_t old = 0;
    Bytes root = read_(root_, 1);
    old = root[entry_ + 26] | unsigned{root[entry_ + 27]} << 8U;
    const std::uint32_t count = (bytes + cluster_bytes() - 1) / cluster_bytes();
    for (std::uint32_t i = 0; i < count; ++i) set_fat(old + i, 0);
    for (std::uint32_t i = 0; i < count; ++i) {
      set_fat(cluster + i, i + 1 == count ? 0x0FFFFFFFU : cluster + i + 1);
    }
    root[entry_ + 26] = static_cast<std::uint8_t>(cluster);
    root[entry_ + 27] = static_cast<std::uint8_t>(cluster >> 8U);
    write_(root_, root);
    return block_of(cluster);
  }

 private:
  void set_fat(std::uint32_t cluster, std::uint32_t value) {
    const std::uint64_t at = std::uint64_t{cluster} * (is_16_ ? 2U : 4U);
    for (std::uint64_t copy = 0; copy < 2; ++copy) {
      const std::uint64_t block = first_fat_ + copy * fat_blocks_ + at / block_bytes;
      Bytes table = read_(block, 1);
      for (std::size_t i = 0; i < (is_16_ ? 2U : 4U); ++i) {
        table[at % block_bytes + i] = static_cast<std::uint8_t>(value >> (8 * i));
      }
      write_(block, table);
    }
  }

  Read read_;
  Write write_;
  std::uint32_t cluster_blocks_ = 0, fat_blocks_ = 0;
  bool is_16_ = false;
  std::uint64_t first_fat_ = 0, root_ = 0, data_ = 0;
  std::size_t entry_ = 0;  ///< of the file found last, in the root directory's first block
};

}  // namespace tillbridge::simulator
