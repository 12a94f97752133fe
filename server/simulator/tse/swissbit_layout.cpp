#include "server/simulator/tse/swissbit_layout.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "channel/bytes/writer.hpp"
#include "server/simulator/fat_image.hpp"

namespace tillbridge::simulator::tse {
namespace {

using swissbit::sector_bytes;

/// Control files and store begin on multiples of this, so that a host that writes whole pages or
/// whole clusters of a large disk meets no neighbour.
constexpr std::uint32_t alignment_bytes = 32768;
constexpr std::uint64_t alignment_blocks = alignment_bytes / block_bytes;
/// What a transaction step may need behind the store's end: its data before it is signed.
constexpr std::uint64_t spare_blocks = 512;
constexpr std::uint64_t fewest_store_blocks = 4096;

/// A new Swissbit stick looks 87 % full. Whole alignment units, so that each file ends where the
/// next one begins.
std::uint64_t store_blocks_for(std::uint64_t disk_blocks) {
  const std::uint64_t seven_eighths = disk_blocks - disk_blocks / 8;
  const std::uint64_t files = std::uint64_t{swissbit::most_tar_files} * swissbit::tar_file_blocks;
  const std::uint64_t blocks =
      std::min(seven_eighths - std::min(seven_eighths, partition_first_block), files);
  return blocks - blocks % alignment_blocks;
}

Status check(std::uint64_t store_blocks, const SwissbitOptions& options) {
  if (store_blocks < fewest_store_blocks) {
    return fail(ErrorCode::config, "the disk is too small for a Swissbit TSE: 8 MiB at least");
  }
  if (options.tar_file_blocks == 0 || options.tar_file_blocks % alignment_blocks != 0 ||
      (store_blocks - 1) / options.tar_file_blocks >= swissbit::most_tar_files) {
    return fail(ErrorCode::config,
                "a TAR file of " + std::to_string(options.tar_file_blocks) +
                    " blocks: it is a multiple of 64, and 99 of them hold the store");
  }
  return {};
}

/// The block that clients know, and behind what they read two numbers of ours: sizes, in blocks.
Bytes pointer_block_of(const SwissbitLayout& layout) {
  ByteWriter ours;
  ours.u32be(static_cast<std::uint32_t>(layout.store_blocks));
  ours.u32be(static_cast<std::uint32_t>(layout.tar_file_blocks));
  Bytes block = swissbit::encode(swissbit::Pointers{static_cast<std::uint32_t>(layout.info),
                                                    static_cast<std::uint32_t>(layout.comm),
                                                    static_cast<std::uint32_t>(layout.store)});
  constexpr std::ptrdiff_t behind_pointers = 12;
  std::copy(ours.view().begin(), ours.view().end(), block.begin() + behind_pointers);
  return block;
}

Result<SwissbitLayout> format(Medium& medium, const SwissbitOptions& options) {
  SwissbitLayout layout;
  layout.store_blocks = store_blocks_for(medium.block_count());
  layout.tar_file_blocks = options.tar_file_blocks;
  if (const auto status = check(layout.store_blocks, options); !status) return status.error();

  FatOptions fat;
  fat.label = options.label;
  fat.cluster_bytes = options.cluster_bytes;
  fat.files.push_back({swissbit::info_file, {}, sector_bytes, alignment_bytes});
  fat.files.push_back({swissbit::comm_file, {}, sector_bytes, alignment_bytes});
  unsigned number = 0;
  for (std::uint64_t left = layout.store_blocks; left > 0;) {
    const std::uint64_t blocks = std::min(left, options.tar_file_blocks);
    fat.files.push_back({swissbit::tar_file(++number), {}, blocks * block_bytes, alignment_bytes});
    left -= blocks;
  }
  const auto written = write_fat_image(medium, fat);
  if (!written) return written.error();
  layout.info = written->files[0].first_block;
  layout.comm = written->files[1].first_block;
  layout.store = written->files[2].first_block;
  Status status = medium.write(swissbit::pointer_block, pointer_block_of(layout));
  if (status) status = medium.flush();
  if (!status) return status.error();
  return layout;
}

Result<SwissbitLayout> find(ByteView pointer_block, std::uint64_t disk_blocks) {
  const auto foreign = [] {
    return fail(ErrorCode::config,
                "this disk was not made for a simulated Swissbit TSE; take another image, or none");
  };
  const auto pointers = swissbit::parse_pointers(pointer_block);
  if (!pointers) return foreign();
  ByteReader reader(pointer_block);
  reader.skip(12);
  SwissbitLayout layout{pointers->info, pointers->comm, pointers->store, 0, 0};
  layout.store_blocks = reader.u32be();
  layout.tar_file_blocks = reader.u32be();
  const bool sound = reader.ok() && layout.info > partition_first_block &&
                     layout.info < layout.comm && layout.comm < layout.store &&
                     layout.store < disk_blocks && layout.tar_file_blocks > 0 &&
                     layout.store_blocks >= fewest_store_blocks &&
                     layout.store_blocks <= disk_blocks - layout.store;
  if (!sound) return foreign();
  return layout;
}

}  // namespace

Result<std::uint64_t> swissbit_store_bytes(std::uint64_t disk_blocks,
                                           const SwissbitOptions& options) {
  const std::uint64_t blocks = store_blocks_for(disk_blocks);
  if (const auto status = check(blocks, options); !status) return status.error();
  return (blocks - spare_blocks) * block_bytes;
}

std::uint64_t store_bytes_of(const SwissbitLayout& layout) {
  return (layout.store_blocks - spare_blocks) * block_bytes;
}

Result<SwissbitLayout> swissbit_layout(Medium& medium, const SwissbitOptions& options) {
  if (medium.block_count() > std::numeric_limits<std::uint32_t>::max()) {
    return fail(ErrorCode::config, "the disk is too large for a Swissbit TSE");
  }
  Bytes beginning((swissbit::pointer_block + 1) * block_bytes);
  if (medium.block_count() * block_bytes < beginning.size()) {
    return fail(ErrorCode::config, "the disk is too small for a Swissbit TSE: 8 MiB at least");
  }
  if (const auto status = medium.read(0, beginning); !status) return status.error();
  const ByteView first = ByteView(beginning).first(block_bytes);
  const bool fresh = std::all_of(first.begin(), first.end(), [](auto byte) { return byte == 0; });
  if (fresh) return format(medium, options);
  return find(ByteView(beginning).last(block_bytes), medium.block_count());
}

}  // namespace tillbridge::simulator::tse
