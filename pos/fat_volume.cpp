#include "pos/fat_volume.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "channel/bytes/limits.hpp"

namespace tillbridge::pos {
namespace {

constexpr std::uint32_t block_bytes = BlockDevice::block_bytes;
constexpr std::uint32_t entry_bytes = 32;
/// A FAT folder has at most 65536 entries, deleted ones and parts of long names included.
constexpr std::uint64_t folder_blocks = 65536ULL * entry_bytes / block_bytes;

Error malformed(const std::string& what) {
  return fail(ErrorCode::malformed,
              "The stick's file system is damaged: " + what + ". Have it checked (fsck.fat).");
}

std::uint16_t u16_at(ByteView block, std::size_t offset) {
  return ByteReader(block.subspan(offset)).u16le();
}
std::uint32_t u32_at(ByteView block, std::size_t offset) {
  return ByteReader(block.subspan(offset)).u32le();
}

bool is_fat_partition(std::uint8_t type) {
  return type == 0x04 || type == 0x06 || type == 0x0E || type == 0x0B || type == 0x0C;
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// --- folder entries

struct ShortEntry {
  std::array<std::uint8_t, 11> name{};
  std::uint8_t attributes = 0, case_flags = 0;
  std::uint32_t first_cluster = 0, bytes = 0;
};

constexpr std::uint8_t long_name = 0x0F, volume_label = 0x08, folder = 0x10;

ShortEntry read_short_entry(ByteView bytes) {
  // name 11, attributes 1, case 1, created 5, accessed 2, cluster high 2, modified 4, cluster low
  // 2, size 4
  ByteReader reader(bytes);
  ShortEntry entry;
  const ByteView name = reader.take(entry.name.size());
  std::copy(name.begin(), name.end(), entry.name.begin());
  entry.attributes = reader.u8();
  entry.case_flags = reader.u8();
  reader.skip(5 + 2);
  const std::uint32_t high = reader.u16le();
  reader.skip(4);
  entry.first_cluster = high << 16U | reader.u16le();
  entry.bytes = reader.u32le();
  return entry;
}

/// "TSE-IO.bin": Windows NT notes in two bits that base or extension are in lower case.
std::string short_name(const ShortEntry& entry) {
  const auto part = [&](std::size_t from, std::size_t size, bool lower_case) {
    std::string text;
    for (const std::uint8_t byte : ByteView(entry.name).subspan(from, size)) {
      const char c = byte >= 0x20 && byte < 0x7F ? static_cast<char>(byte) : '?';
      text += lower_case ? lower(c) : c;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
  };
  const std::string base = part(0, 8, (entry.case_flags & 0x08U) != 0);
  const std::string extension = part(8, 3, (entry.case_flags & 0x10U) != 0);
  return extension.empty() ? base : base + "." + extension;
}

std::uint8_t short_name_checksum(const ShortEntry& entry) {
  std::uint8_t sum = 0;
  for (const std::uint8_t byte : entry.name) {
    sum = static_cast<std::uint8_t>((sum << 7U | sum >> 1U) + byte);
  }
  return sum;
}

void append_utf8(std::string& text, std::uint32_t code) {
  const auto tail = [&](unsigned shift) {
    text += static_cast<char>(0x80U | (code >> shift & 0x3FU));
  };
  if (code < 0x80) {
    text += static_cast<char>(code);
  } else if (code < 0x800) {
    text += static_cast<char>(0xC0U | code >> 6U);
    tail(0);
  } else if (code < 0x10000) {
    text += static_cast<char>(0xE0U | code >> 12U);
    tail(6), tail(0);
  } else {
    text += static_cast<char>(0xF0U | code >> 18U);
    tail(12), tail(6), tail(0);
  }
}

std::string utf8_of(const std::vector<std::uint16_t>& units) {
  constexpr std::uint32_t replacement = 0xFFFD;
  std::string text;
  for (std::size_t i = 0; i < units.size(); ++i) {
    const std::uint32_t unit = units[i];
    const bool high = unit >= 0xD800 && unit < 0xDC00;
    const bool pair =
        high && i + 1 < units.size() && units[i + 1] >= 0xDC00 && units[i + 1] < 0xE000;
    if (pair) {
      append_utf8(text, 0x10000 + ((unit - 0xD800) << 10U) + (units[++i] - 0xDC00U));
    } else {
      append_utf8(text, unit >= 0xD800 && unit < 0xE000 ? replacement : unit);
    }
  }
  return text;
}

/// The parts of a long name stand before the short entry, the last one first; each holds 13 UTF-16
/// units, a number and the short name's checksum.
class LongName {
 public:
  void add(ByteView bytes) {
    constexpr std::uint8_t last_part = 0x40, number_mask = 0x1F, most_parts = 20;
    const std::uint8_t order = bytes.front();
    const std::uint8_t number = order & number_mask;
    const std::uint8_t checksum = ByteReader(bytes.subspan(13)).u8();
    if ((order & last_part) != 0) {
      clear();
      next_ = number;
      checksum_ = checksum;
    }
    if (number == 0 || number > most_parts || number != next_ || checksum != checksum_) {
      return clear();
    }
    std::vector<std::uint16_t> part;
    for (const auto& [from, count] : {std::pair<std::size_t, int>{1, 5}, {14, 6}, {28, 2}}) {
      ByteReader reader(bytes.subspan(from));
      for (int i = 0; i < count; ++i) part.push_back(reader.u16le());
    }
    units_.insert(units_.begin(), part.begin(), part.end());
    --next_;
  }
  [[nodiscard]] std::optional<std::string> take(const ShortEntry& entry) {
    const bool whole = !units_.empty() && next_ == 0 && checksum_ == short_name_checksum(entry);
    std::vector<std::uint16_t> units = std::move(units_);
    clear();
    if (!whole) return std::nullopt;
    units.erase(std::find(units.begin(), units.end(), std::uint16_t{0}), units.end());
    if (units.empty()) return std::nullopt;
    return utf8_of(units);
  }
  void clear() {
    units_.clear();
    next_ = 0;
  }

 private:
  std::vector<std::uint16_t> units_;
  std::uint8_t next_ = 0, checksum_ = 0;
};

}  // namespace

/// The allocation table, read a piece at a time: neighbouring clusters' entries are neighbours.
class FatVolume::Chain {
 public:
  Chain(const FatVolume& volume, BlockDevice& disk) : volume_(volume), disk_(disk) {}

  /// What the table says about a cluster of the volume.
  [[nodiscard]] Result<std::uint32_t> after(std::uint32_t cluster) {
    const std::uint64_t offset = std::uint64_t{cluster} * (volume_.wide_ ? 4 : 2);
    const std::uint64_t block = offset / block_bytes;
    const std::uint64_t piece = block / piece_blocks * piece_blocks;
    if (!loaded_ || *loaded_ != piece) {
      // The last piece may reach past the table, but never past the volume: data follows.
      const std::uint64_t first = volume_.first_fat_block_ + piece;
      const std::uint64_t count =
          std::min<std::uint64_t>(piece_blocks, disk_.block_count() - first);
      data_.resize(static_cast<std::size_t>(count * block_bytes));
      loaded_.reset();
      if (Status read = disk_.read(first, data_); !read) return read.error();
      loaded_ = piece;
    }
    const auto at = static_cast<std::size_t>(offset - piece * block_bytes);
    if (!volume_.wide_) {
      const std::uint16_t next = u16_at(data_, at);
      return next >= 0xFFF7 ? 0x0FFF0000U | next : std::uint32_t{next};
    }
    return u32_at(data_, at) & 0x0FFFFFFFU;
  }

 private:
  static constexpr std::uint64_t piece_blocks = 16;
  const FatVolume& volume_;
  BlockDevice& disk_;
  std::optional<std::uint64_t> loaded_;
  Bytes data_;
};

Result<FatVolume> FatVolume::find(BlockDevice& disk) {
  if (disk.block_count() == 0) return malformed("it has no blocks");
  Bytes first(block_bytes);
  if (Status read = disk.read(0, first); !read) return read.error();
  if (u16_at(first, 510) != 0xAA55) {
    return fail(ErrorCode::malformed,
                "The stick has no partition table and no file system. It is no TSE, or was wiped.");
  }
  std::optional<Error> fault;
  for (std::size_t at = 446; at < 510; at += 16) {
    // status 1, first CHS 3, type 1, last CHS 3, first block 4, blocks 4
    ByteReader reader(ByteView(first).subspan(at, 16));
    const std::uint8_t status = reader.u8();
    reader.skip(3);
    const std::uint8_t type = reader.u8();
    reader.skip(3);
    const std::uint64_t start = reader.u32le();
    const std::uint64_t count = reader.u32le();
    if ((status & 0x7FU) != 0 || !is_fat_partition(type) || start == 0) continue;
    if (count == 0 || start + count > disk.block_count()) {
      fault = malformed("its partition does not fit on the disk");
      continue;
    }
    Bytes boot(block_bytes);
    if (Status read = disk.read(start, boot); !read) return read.error();
    auto volume = parse(boot, start, start + count);
    if (volume) return volume;
    fault = volume.error();
  }
  auto whole = parse(first, 0, disk.block_count());
  if (whole) return whole;
  return fault.value_or(
      fail(ErrorCode::malformed, "The stick has no FAT16 or FAT32 file system. It is no TSE."));
}

Result<FatVolume> FatVolume::parse(ByteView boot_block, std::uint64_t first_block,
                                   std::uint64_t block_limit) {
  const std::uint16_t sector_bytes = u16_at(boot_block, 11);
  const std::uint32_t cluster_blocks = boot_block[13];
  const std::uint32_t reserved = u16_at(boot_block, 14);
  const std::uint32_t tables = boot_block[16];
  const std::uint32_t root_entries = u16_at(boot_block, 17);
  const std::uint32_t total_16 = u16_at(boot_block, 19);
  const std::uint32_t table_16 = u16_at(boot_block, 22);
  const std::uint64_t total = total_16 != 0 ? total_16 : u32_at(boot_block, 32);
  const std::uint64_t table_blocks = table_16 != 0 ? table_16 : u32_at(boot_block, 36);
  if (u16_at(boot_block, 510) != 0xAA55) return malformed("its boot sector has no signature");
  if (sector_bytes != block_bytes) return malformed("its sectors are not 512 bytes long");
  if (cluster_blocks == 0 || (cluster_blocks & (cluster_blocks - 1)) != 0 || reserved == 0 ||
      tables == 0 || table_blocks == 0) {
    return malformed("its boot sector makes no sense");
  }
  const std::uint64_t root_blocks = (root_entries * entry_bytes + block_bytes - 1) / block_bytes;
  const std::uint64_t overhead = reserved + tables * table_blocks + root_blocks;
  if (total <= overhead || first_block + total > block_limit) {
    return malformed("it is larger than its partition");
  }
  const std::uint64_t clusters = (total - overhead) / cluster_blocks;
  constexpr std::uint64_t most_fat12 = 4084, most_fat16 = 65524, most_fat32 = 0x0FFFFFF4;
  if (clusters <= most_fat12) return malformed("it is FAT12, which no stick uses");
  if (clusters > most_fat32) return malformed("it has more clusters than FAT32 can have");
  FatVolume volume;
  volume.wide_ = clusters > most_fat16;
  if (table_blocks * block_bytes / (volume.wide_ ? 4 : 2) < clusters + 2) {
    return malformed("its allocation table is too short");
  }
  volume.cluster_blocks_ = cluster_blocks;
  volume.cluster_count_ = static_cast<std::uint32_t>(clusters);
  volume.first_fat_block_ = first_block + reserved;
  volume.first_root_block_ = first_block + reserved + tables * table_blocks;
  volume.root_blocks_ = root_blocks;
  volume.first_data_block_ = first_block + overhead;
  volume.root_cluster_ = volume.wide_ ? u32_at(boot_block, 44) & 0x0FFFFFFFU : 0;
  return volume;
}

Result<std::vector<BlockExtent>> FatVolume::follow(BlockDevice& disk, std::uint32_t cluster,
                                                   std::uint64_t clusters_wanted,
                                                   bool to_the_end) const {
  constexpr std::uint32_t end_of_chain = 0x0FFFFFF8;
  Chain chain(*this, disk);
  std::vector<BlockExtent> extents;
  std::uint32_t mark = 0;           // a chain that comes back to a mark set on the way is a ring
  std::uint64_t next_mark_at = 16;  // set anew at 16, 32, 64 ... clusters
  for (std::uint64_t count = 0; count < clusters_wanted; ++count) {
    if (!is_cluster(cluster)) return malformed("a chain of clusters leads out of the volume");
    if (cluster == mark) return malformed("a chain of clusters runs in a ring");
    if (count == next_mark_at) {
      mark = cluster;
      next_mark_at *= 2;
    }
    const std::uint64_t first = first_data_block_ + std::uint64_t{cluster - 2} * cluster_blocks_;
    if (!extents.empty() && extents.back().first + extents.back().count == first) {
      extents.back().count += cluster_blocks_;
    } else {
      if (extents.size() == limits::pos_file_extents) {
        return fail(ErrorCode::limit, "A file of the stick is in more pieces than a TSE's is.");
      }
      extents.push_back({first, cluster_blocks_});
    }
    if (count + 1 == clusters_wanted && !to_the_end) return extents;
    const auto next = chain.after(cluster);
    if (!next) return next.error();
    if (*next >= end_of_chain) {
      if (to_the_end) return extents;
      return malformed("a chain of clusters is shorter than its file");
    }
    cluster = *next;
  }
  return malformed("a folder has more entries than FAT allows");
}

Result<std::vector<BlockExtent>> FatVolume::root_extents(BlockDevice& disk) const {
  if (!wide_) return std::vector<BlockExtent>{{first_root_block_, root_blocks_}};
  return follow(disk, root_cluster_, std::max<std::uint64_t>(1, folder_blocks / cluster_blocks_),
                true);
}

Result<std::vector<FatFile>> FatVolume::list(BlockDevice& disk) const {
  const auto root = root_extents(disk);
  if (!root) return root.error();
  std::vector<FatFile> files;
  LongName name;
  for (const BlockExtent& extent : *root) {
    for (std::uint64_t block = extent.first; block < extent.first + extent.count; ++block) {
      Bytes data(block_bytes);
      if (Status read = disk.read(block, data); !read) return read.error();
      for (std::size_t at = 0; at < data.size(); at += entry_bytes) {
        const ByteView bytes = ByteView(data).subspan(at, entry_bytes);
        constexpr std::uint8_t end_of_folder = 0x00, deleted = 0xE5;
        if (bytes.front() == end_of_folder) return files;
        const ShortEntry entry = read_short_entry(bytes);
        if (bytes.front() == deleted) {
          name.clear();
        } else if ((entry.attributes & 0x3FU) == long_name) {
          name.add(bytes);
        } else {
          auto long_form = name.take(entry);
          if ((entry.attributes & (volume_label | folder)) != 0) continue;
          if (files.size() == limits::pos_folder_entries) {
            return fail(ErrorCode::limit, "The stick has more files than a TSE's has.");
          }
          files.push_back({long_form ? std::move(*long_form) : short_name(entry), entry.bytes,
                           wide_ ? entry.first_cluster : entry.first_cluster & 0xFFFFU});
        }
      }
    }
  }
  return files;
}

Result<FatFile> FatVolume::find_file(BlockDevice& disk, std::string_view name) const {
  auto files = list(disk);
  if (!files) return files.error();
  for (FatFile& file : *files) {
    if (same_file_name(file.name, name)) return std::move(file);
  }
  return fail(ErrorCode::unavailable, "there is no file " + std::string(name) + " on it");
}

Result<std::vector<BlockExtent>> FatVolume::extents(BlockDevice& disk, const FatFile& file) const {
  if (file.bytes == 0) return std::vector<BlockExtent>{};
  const std::uint64_t blocks = (std::uint64_t{file.bytes} + block_bytes - 1) / block_bytes;
  auto extents =
      follow(disk, file.first_cluster, (blocks + cluster_blocks_ - 1) / cluster_blocks_, false);
  if (!extents) return extents;
  std::uint64_t total = 0;
  for (const BlockExtent& extent : *extents) total += extent.count;
  extents->back().count -= total - blocks;
  return extents;
}

bool same_file_name(std::string_view one, std::string_view other) {
  return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

}  // namespace tillbridge::pos
