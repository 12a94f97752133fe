#include "server/simulator/tse/cryptovision_stick.hpp"

#include <utility>

#include "server/simulator/fat_image.hpp"
#include "tse/cryptovision/frame.hpp"

namespace tillbridge::simulator::tse {
namespace {

constexpr std::uint32_t file_alignment_bytes = 32U << 10U;

Result<bool> has_partition_table(Medium& medium) {
  Bytes block(block_bytes);
  if (Status status = medium.read(0, block); !status) return status.error();
  return block[510] == 0x55 && block[511] == 0xAA;
}

Status format(Medium& medium, const CryptovisionDisk& disk) {
  FatOptions fat;
  fat.label = disk.label;
  fat.cluster_bytes = disk.cluster_bytes;
  FatFile file;
  file.name = "TSE-IO.BIN";
  file.content = Bytes(evidence::cryptovision::file_bytes);
  file.alignment_bytes = file_alignment_bytes;
  file.lower_case_extension = true;  // TSE-IO.bin
  fat.files.push_back(std::move(file));
  const auto layout = write_fat_image(medium, fat);
  if (!layout) return layout.error();
  return {};
}

}  // namespace

Result<std::unique_ptr<CryptovisionMedium>> make_cryptovision_medium(
    std::unique_ptr<Medium> base, const CryptovisionDisk& disk, std::unique_ptr<TseCore> core,
    const Timing& timing, const CryptovisionOptions& options, std::shared_ptr<Bench> bench) {
  const auto formatted = has_partition_table(*base);
  if (!formatted) return formatted.error();
  if (!*formatted) {
    if (const Status status = format(*base, disk); !status) return status.error();
  }
  return std::make_unique<CryptovisionMedium>(std::move(base), std::move(core), timing, options,
                                              std::move(bench));
}

}  // namespace tillbridge::simulator::tse
