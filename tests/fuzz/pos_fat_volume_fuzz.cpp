// A disk of arbitrary bytes as FAT volume. The input is the partition's boot sector, and blocks for
// the rest of a disk that repeats them; nothing outside the disk may be asked for.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "pos/fat_volume.hpp"

namespace pos = tillbridge::pos;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

class FuzzedDisk final : public pos::BlockDevice {
 public:
  explicit FuzzedDisk(tillbridge::ByteView bytes) : bytes_(bytes) {}
  [[nodiscard]] std::uint64_t block_count() const override { return count; }
  [[nodiscard]] tillbridge::Status read(std::uint64_t block,
                                        std::span<std::uint8_t> data) override {
    require(data.size() % block_bytes == 0);
    require(block <= count && data.size() / block_bytes <= count - block);
    const std::uint64_t given = bytes_.size() / block_bytes;
    for (std::size_t at = 0; at < data.size(); at += block_bytes, ++block) {
      const std::uint64_t source = block < given || given < 2 ? block : 1 + block % (given - 1);
      const auto target = data.subspan(at, block_bytes);
      std::fill(target.begin(), target.end(), std::uint8_t{0});
      if (source < given) {
        const auto from =
            bytes_.subspan(static_cast<std::size_t>(source * block_bytes), block_bytes);
        std::copy(from.begin(), from.end(), target.begin());
      }
    }
    return {};
  }
  [[nodiscard]] tillbridge::Status write(std::uint64_t /*block*/,
                                         tillbridge::ByteView /*data*/) override {
    std::abort();
  }

 private:
  static constexpr std::uint64_t count = 200000;  // about 100 MB: FAT16 or FAT32
  tillbridge::ByteView bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDisk disk(tillbridge::ByteView(data, size));
  const auto volume = pos::FatVolume::find(disk);
  if (!volume) return 0;
  const auto files = volume->list(disk);
  if (!files) return 0;
  std::size_t looked_at = 0;
  for (const pos::FatFile& file : *files) {
    if (++looked_at > 8) break;
    const auto extents = volume->extents(disk, file);
    if (!extents) continue;
    std::uint64_t blocks = 0;
    for (const pos::BlockExtent& extent : *extents) {
      require(extent.count > 0 && extent.first + extent.count <= disk.block_count());
      blocks += extent.count;
    }
    require(blocks == (std::uint64_t{file.bytes} + 511) / 512);
  }
  return 0;
}
