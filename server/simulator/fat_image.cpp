#include "server/simulator/fat_image.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "channel/bytes/writer.hpp"

namespace tillbridge::simulator {
namespace {

constexpr std::uint64_t mib = 1U << 20U;
constexpr std::uint32_t entry_bytes = 32;  ///< of a directory
constexpr std::uint32_t root_entries_16 = 512;
constexpr std::uint8_t fat_copies = 2;
/// Which of the kinds a volume is follows from its cluster count alone (Microsoft's FAT
/// specification, 3.5).
constexpr std::uint32_t fewest_clusters_16 = 4085, fewest_clusters_32 = 65525,
                        most_clusters_32 = 0x0FFFFFF5 - 1;
constexpr std::uint16_t backup_boot_block = 6, information_block = 1;
constexpr std::uint8_t media_fixed_disk = 0xF8;
/// 2024-01-01 00:00, so that equal options make equal images.
constexpr std::uint16_t entry_date = ((2024 - 1980) << 9) | (1 << 5) | 1;

struct Geometry {
  int fat_bits = 0;
  std::uint32_t partition_blocks = 0;
  std::uint32_t cluster_blocks = 0;
  std::uint32_t reserved_blocks = 0;
  std::uint32_t fat_blocks = 0;   ///< of one copy
  std::uint32_t root_blocks = 0;  ///< of FAT16's root directory
  std::uint32_t cluster_count = 0;

  [[nodiscard]] std::uint32_t fat_entry_bytes() const { return fat_bits == 16 ? 2 : 4; }
  [[nodiscard]] std::uint64_t first_fat() const { return partition_first_block + reserved_blocks; }
  [[nodiscard]] std::uint64_t first_root() const {
    return first_fat() + std::uint64_t{fat_copies} * fat_blocks;
  }
  [[nodiscard]] std::uint64_t first_data() const { return first_root() + root_blocks; }
  [[nodiscard]] std::uint64_t block_of(std::uint32_t cluster) const {
    return first_data() + std::uint64_t{cluster - 2} * cluster_blocks;
  }
};

std::optional<Geometry> fit(std::uint64_t partition_blocks, std::uint32_t cluster_blocks,
                            int bits) {
  Geometry geometry;
  geometry.fat_bits = bits;
  geometry.partition_blocks = static_cast<std::uint32_t>(partition_blocks);
  geometry.cluster_blocks = cluster_blocks;
  // As many entries as if the tables took no space: a few too many, which is allowed.
  const std::uint64_t most_clusters = partition_blocks / cluster_blocks;
  const std::uint64_t table_bytes = (most_clusters + 2) * geometry.fat_entry_bytes();
  geometry.fat_blocks = static_cast<std::uint32_t>((table_bytes + block_bytes - 1) / block_bytes);
  geometry.root_blocks = bits == 16 ? root_entries_16 * entry_bytes / block_bytes : 0;
  // Clusters stand on multiples of their size, so that a page written by a host stays inside one.
  geometry.reserved_blocks = bits == 16 ? 1 : 32;
  const auto misaligned = static_cast<std::uint32_t>(geometry.first_data() % cluster_blocks);
  if (misaligned != 0) geometry.reserved_blocks += cluster_blocks - misaligned;

  const std::uint64_t overhead = geometry.first_data() - partition_first_block;
  if (overhead >= partition_blocks) return std::nullopt;
  const std::uint64_t clusters = (partition_blocks - overhead) / cluster_blocks;
  const std::uint64_t fewest = bits == 16 ? fewest_clusters_16 : fewest_clusters_32;
  const std::uint64_t most = bits == 16 ? fewest_clusters_32 - 1 : most_clusters_32;
  if (clusters < fewest || clusters > most) return std::nullopt;
  geometry.cluster_count = static_cast<std::uint32_t>(clusters);
  return geometry;
}

std::uint32_t usual_cluster_bytes(std::uint64_t bytes) {
  struct Row {
    std::uint64_t up_to_mib;
    std::uint32_t cluster_bytes;
  };
  // FAT16 up to 512 MiB, then FAT32.
  constexpr Row rows[] = {{32, 1024},   {64, 2048},   {128, 4096},   {256, 8192},
                          {512, 16384}, {8192, 4096}, {16384, 8192}, {32768, 16384}};
  for (const Row& row : rows) {
    if (bytes <= row.up_to_mib * mib) return row.cluster_bytes;
  }
  return 32768;
}

Result<Geometry> geometry_for(std::uint64_t block_count, std::uint32_t cluster_bytes) {
  const std::uint64_t bytes = block_count * block_bytes;
  if (cluster_bytes == 0) cluster_bytes = usual_cluster_bytes(bytes);
  if (cluster_bytes < block_bytes || cluster_bytes > 32768 ||
      (cluster_bytes & (cluster_bytes - 1)) != 0) {
    return fail(ErrorCode::config, "cluster_bytes = " + std::to_string(cluster_bytes) +
                                       " is not a power of two from 512 to 32768");
  }
  const std::string size = std::to_string(bytes / mib) + " MiB";
  if (bytes < 8 * mib) return fail(ErrorCode::config, "a disk of " + size + " is too small: 8 MiB");
  if (block_count > 0xFFFFFFFFU)
    return fail(ErrorCode::config, "a disk of " + size + " is too large");
  const std::uint64_t partition_blocks = block_count - partition_first_block;
  const std::uint32_t cluster_blocks = cluster_bytes / block_bytes;
  for (const int bits : {16, 32}) {
    if (const auto geometry = fit(partition_blocks, cluster_blocks, bits)) return *geometry;
  }
  return fail(ErrorCode::config,
              "cluster_bytes = " + std::to_string(cluster_bytes) + " does not fit a disk of " +
                  size +
                  ": FAT16 needs 4085 to 65524 clusters, FAT32 at least 65525; leave it out");
}

bool allowed(char c, std::string_view extra) {
  return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         extra.find(c) != std::string_view::npos;
}

bool all_allowed(std::string_view text, std::string_view extra) {
  return std::all_of(text.begin(), text.end(), [&](char c) { return allowed(c, extra); });
}

std::string padded(std::string_view text, std::size_t size) {
  std::string result(text);
  result.resize(size, ' ');
  return result;
}

/// Clusters from `cluster` on until one that begins on a multiple of `alignment_bytes`.
std::uint32_t clusters_to_alignment(const Geometry& geometry, std::uint32_t cluster,
                                    std::uint32_t alignment_bytes) {
  const std::uint64_t alignment_blocks = alignment_bytes / block_bytes;
  if (alignment_blocks <= geometry.cluster_blocks) return 0;
  const std::uint64_t past = geometry.block_of(cluster) % alignment_blocks;
  if (past == 0) return 0;
  // Data begins on a multiple of the cluster size, so whole clusters lead there.
  return static_cast<std::uint32_t>((alignment_blocks - past) / geometry.cluster_blocks);
}

/// The 11 characters of a directory entry.
Result<std::string> directory_name(const std::string& name) {
  const std::size_t dot = name.find('.');
  const std::string_view all(name);
  const std::string_view stem = all.substr(0, dot);
  const std::string_view extension =
      dot == std::string::npos ? std::string_view() : all.substr(dot + 1);
  if (stem.empty() || stem.size() > 8 || extension.size() > 3 || !all_allowed(stem, "_-~") ||
      !all_allowed(extension, "_-~")) {
    return fail(ErrorCode::config, "file name " + name + " is not in the upper-case 8.3 form");
  }
  return padded(stem, 8) + padded(extension, 3);
}

void write_text(ByteWriter& writer, std::string_view text) {
  for (const char c : text) writer.u8(static_cast<std::uint8_t>(c));
}

void end_block(ByteWriter& writer) {
  writer.zeros(block_bytes - 2 - writer.size());
  writer.u16le(0xAA55);
}

Bytes partition_table(const Geometry& geometry, std::uint32_t signature) {
  constexpr std::uint8_t type_fat16_lba = 0x0E, type_fat32_lba = 0x0C;
  const auto write_unaddressable = [](ByteWriter& writer) {
    writer.bytes(Bytes{0xFE, 0xFF, 0xFF});
  };
  ByteWriter writer(block_bytes);
  writer.zeros(440);  // no boot code
  writer.u32le(signature);
  writer.u16le(0);
  writer.u8(0);                 // not bootable
  write_unaddressable(writer);  // cylinder, head, sector: LBA only
  writer.u8(geometry.fat_bits == 16 ? type_fat16_lba : type_fat32_lba);
  write_unaddressable(writer);
  writer.u32le(static_cast<std::uint32_t>(partition_first_block));
  writer.u32le(geometry.partition_blocks);
  end_block(writer);
  return writer.finish();
}

Bytes boot_block(const Geometry& geometry, const FatOptions& options) {
  const bool is_16 = geometry.fat_bits == 16;
  ByteWriter writer(block_bytes);
  writer.bytes(is_16 ? Bytes{0xEB, 0x3C, 0x90} : Bytes{0xEB, 0x58, 0x90});
  write_text(writer, "MSDOS5.0");  // some readers accept no other name
  writer.u16le(block_bytes);
  writer.u8(static_cast<std::uint8_t>(geometry.cluster_blocks));
  writer.u16le(static_cast<std::uint16_t>(geometry.reserved_blocks));
  writer.u8(fat_copies);
  writer.u16le(is_16 ? root_entries_16 : 0);
  const bool small = is_16 && geometry.partition_blocks <= 0xFFFF;
  writer.u16le(small ? static_cast<std::uint16_t>(geometry.partition_blocks) : std::uint16_t{0});
  writer.u8(media_fixed_disk);
  writer.u16le(is_16 ? static_cast<std::uint16_t>(geometry.fat_blocks) : std::uint16_t{0});
  writer.u16le(63);   // sectors per track
  writer.u16le(255);  // heads
  writer.u32le(static_cast<std::uint32_t>(partition_first_block));
  writer.u32le(small ? 0 : geometry.partition_blocks);
  if (!is_16) {
    writer.u32le(geometry.fat_blocks);
    writer.u16le(0);  // both copies are kept
    writer.u16le(0);  // version
    writer.u32le(2);  // root directory's cluster
    writer.u16le(information_block);
    writer.u16le(backup_boot_block);
    writer.zeros(12);
  }
  writer.u8(0x80);  // drive number
  writer.u8(0);
  writer.u8(0x29);  // the next three fields are there
  writer.u32le(options.serial);
  write_text(writer, padded(options.label, 11));
  write_text(writer, is_16 ? "FAT16   " : "FAT32   ");
  end_block(writer);
  return writer.finish();
}

Bytes information(std::uint32_t free_clusters, std::uint32_t next_free) {
  ByteWriter writer(block_bytes);
  write_text(writer, "RRaA");
  writer.zeros(480);
  write_text(writer, "rrAa");
  writer.u32le(free_clusters);
  writer.u32le(next_free);
  writer.zeros(12);
  end_block(writer);
  return writer.finish();
}

void write_entry(ByteWriter& writer, std::string_view name, std::uint8_t attributes,
                 std::uint32_t cluster, std::uint32_t bytes, bool lower_case_extension = false) {
  constexpr std::uint8_t flag_lower_case_extension = 0x10;
  write_text(writer, name);
  writer.u8(attributes);
  writer.u8(lower_case_extension ? flag_lower_case_extension : std::uint8_t{0});
  writer.u8(0);     // created: tenths
  writer.u16le(0);  // created: time
  writer.u16le(entry_date);
  writer.u16le(entry_date);  // last access
  writer.u16le(static_cast<std::uint16_t>(cluster >> 16U));
  writer.u16le(0);  // last write: time
  writer.u16le(entry_date);
  writer.u16le(static_cast<std::uint16_t>(cluster & 0xFFFFU));
  writer.u32le(bytes);
}

Status write_blocks(Medium& medium, std::uint64_t block, Bytes bytes) {
  bytes.resize((bytes.size() + block_bytes - 1) / block_bytes * block_bytes);
  return medium.write(block, bytes);
}

Status write_zeros(Medium& medium, std::uint64_t block, std::uint64_t count) {
  constexpr std::uint64_t piece = 128;
  const Bytes zeros(piece * block_bytes);
  while (count > 0) {
    const std::uint64_t now = std::min(count, piece);
    Status status = medium.write(block, ByteView(zeros).first(now * block_bytes));
    if (!status) return status;
    block += now;
    count -= now;
  }
  return {};
}

/// The allocation table's chains, which start at cluster 2 and follow each other, with free
/// clusters in between where a file is aligned.
class Chains {
 public:
  explicit Chains(const Geometry& geometry) : is_16_(geometry.fat_bits == 16) {
    put(is_16_ ? 0xFF00U | media_fixed_disk : 0x0FFFFF00U | media_fixed_disk);
    put(end_of_chain());
  }

  [[nodiscard]] std::uint32_t next() const { return next_; }
  void leave_free(std::uint32_t clusters) {
    next_ += clusters;
    for (std::uint32_t i = 0; i < clusters; ++i) put(0);
  }
  void add(std::uint32_t clusters) {
    for (std::uint32_t i = 0; i < clusters; ++i) {
      ++next_;
      put(i + 1 == clusters ? end_of_chain() : next_);
    }
  }
  [[nodiscard]] Bytes bytes() const { return {table_.view().begin(), table_.view().end()}; }

 private:
  [[nodiscard]] std::uint32_t end_of_chain() const { return is_16_ ? 0xFFFF : 0x0FFFFFFF; }
  void put(std::uint32_t value) {
    if (is_16_) {
      table_.u16le(static_cast<std::uint16_t>(value));
    } else {
      table_.u32le(value);
    }
  }

  bool is_16_;
  std::uint32_t next_ = 2;
  ByteWriter table_;
};

Status check(const FatOptions& options) {
  if (options.label.empty() || options.label.size() > 11 || !all_allowed(options.label, " _-")) {
    return fail(ErrorCode::config, "label = \"" + options.label +
                                       "\" is not 1 to 11 upper-case letters, digits, - or _");
  }
  std::set<std::string> names;
  for (const FatFile& file : options.files) {
    if (const auto name = directory_name(file.name); !name) return name.error();
    if (!names.insert(file.name).second) {
      return fail(ErrorCode::config, "two files are named " + file.name);
    }
  }
  return {};
}

}  // namespace

Result<FatLayout> write_fat_image(Medium& medium, const FatOptions& options) {
  if (const Status status = check(options); !status) return status.error();
  const Result<Geometry> fitted = geometry_for(medium.block_count(), options.cluster_bytes);
  if (!fitted) return fitted.error();
  const Geometry& geometry = *fitted;
  const std::uint32_t cluster_bytes = geometry.cluster_blocks * block_bytes;
  const bool is_16 = geometry.fat_bits == 16;

  FatLayout layout;
  layout.fat_bits = geometry.fat_bits;
  layout.cluster_bytes = cluster_bytes;
  layout.cluster_count = geometry.cluster_count;
  layout.first_data_block = geometry.first_data();

  Chains chains(geometry);
  if (!is_16) chains.add(1);  // the root directory
  ByteWriter root;
  constexpr std::uint8_t attribute_label = 0x08, attribute_archive = 0x20;
  write_entry(root, padded(options.label, 11), attribute_label, 0, 0);
  const std::uint32_t root_bytes = is_16 ? root_entries_16 * entry_bytes : cluster_bytes;
  if ((options.files.size() + 1) * entry_bytes > root_bytes) {
    return fail(ErrorCode::config, std::to_string(options.files.size()) +
                                       " files are too many for the root directory");
  }
  std::uint64_t free_clusters = geometry.cluster_count - (is_16 ? 0 : 1);
  for (const FatFile& file : options.files) {
    const std::uint64_t clusters = (file.size() + cluster_bytes - 1) / cluster_bytes;
    const std::uint32_t skipped =
        clusters == 0 ? 0 : clusters_to_alignment(geometry, chains.next(), file.alignment_bytes);
    const std::uint64_t behind = geometry.cluster_count - (std::uint64_t{chains.next()} - 2);
    if (clusters + skipped > behind || file.size() > 0xFFFFFFFFU) {
      return fail(ErrorCode::config, "no room on the disk for file " + file.name);
    }
    chains.leave_free(skipped);
    free_clusters -= clusters;
    const std::uint32_t first = clusters == 0 ? 0 : chains.next();
    const auto bytes = static_cast<std::uint32_t>(file.size());
    write_entry(root, *directory_name(file.name), attribute_archive, first, bytes,
                file.lower_case_extension);
    layout.files.push_back({file.name, clusters == 0 ? 0 : geometry.block_of(first), bytes});
    chains.add(static_cast<std::uint32_t>(clusters));
  }

  std::vector<std::pair<std::uint64_t, Bytes>> parts;
  parts.emplace_back(0, partition_table(geometry, options.serial));
  parts.emplace_back(partition_first_block, boot_block(geometry, options));
  if (!is_16) {
    const Bytes facts = information(static_cast<std::uint32_t>(free_clusters), chains.next());
    parts.emplace_back(partition_first_block + information_block, facts);
    parts.emplace_back(partition_first_block + backup_boot_block, boot_block(geometry, options));
    parts.emplace_back(partition_first_block + backup_boot_block + information_block, facts);
  }
  for (std::uint64_t copy = 0; copy < fat_copies; ++copy) {
    parts.emplace_back(geometry.first_fat() + copy * geometry.fat_blocks, chains.bytes());
  }
  parts.emplace_back(geometry.first_root(), root.finish());
  for (std::size_t i = 0; i < options.files.size(); ++i) {
    if (!options.files[i].content.empty()) {
      parts.emplace_back(layout.files[i].first_block, options.files[i].content);
    }
  }

  // First nothing, then the new: whatever stood in the tables before is gone.
  const std::uint64_t table_end = geometry.first_data() + (is_16 ? 0 : geometry.cluster_blocks);
  Status status = write_zeros(medium, partition_first_block, table_end - partition_first_block);
  for (auto& [block, bytes] : parts) {
    if (status) status = write_blocks(medium, block, std::move(bytes));
  }
  if (status) status = medium.flush();
  if (!status) return status.error();
  return layout;
}

Bytes pattern_bytes(std::size_t size, std::uint64_t seed) {
  // SplitMix64: a counter, well mixed; each 8 bytes depend on their place and the seed only.
  ByteWriter writer(size + 8);
  std::uint64_t state = seed;
  while (writer.size() < size) {
    state += 0x9E3779B97F4A7C15U;
    std::uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
    writer.u64le(mixed ^ (mixed >> 31U));
  }
  Bytes bytes = writer.finish();
  bytes.resize(size);
  return bytes;
}

}  // namespace tillbridge::simulator
