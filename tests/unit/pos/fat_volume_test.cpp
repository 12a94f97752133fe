#include "pos/fat_volume.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "server/simulator/fat_image.hpp"
#include "server/simulator/medium.hpp"

namespace tillbridge::pos {
namespace {

using simulator::FatOptions;
using simulator::MemoryMedium;
using simulator::partition_first_block;
using testing::ElementsAre;
using testing::HasSubstr;

class MediumDisk final : public BlockDevice {
 public:
  explicit MediumDisk(simulator::Medium& medium) : medium_(medium) {}
  [[nodiscard]] std::uint64_t block_count() const override { return medium_.block_count(); }
  [[nodiscard]] Status read(std::uint64_t block, std::span<std::uint8_t> data) override {
    EXPECT_LE(block + data.size() / block_bytes, block_count());
    return medium_.read(block, data);
  }
  [[nodiscard]] Status write(std::uint64_t block, ByteView data) override {
    return medium_.write(block, data);
  }

 private:
  simulator::Medium& medium_;
};

constexpr std::uint64_t mib = (1U << 20U) / BlockDevice::block_bytes;

struct Disk {
  Disk(std::uint64_t size_mib, std::uint32_t cluster_bytes) : medium(size_mib * mib), disk(medium) {
    FatOptions options;
    options.cluster_bytes = cluster_bytes;
    options.files = {{"TSE-IO.BIN", simulator::pattern_bytes(8192, 1), 0, 0},
                     {"EMPTY.TXT", {}, 0, 0},
                     {"BIG.DAT", simulator::pattern_bytes(200001, 2), 0, 0}};
    auto written = simulator::write_fat_image(medium, options);
    EXPECT_TRUE(written.ok()) << written.error().message;
    layout = *written;
  }
  [[nodiscard]] FatVolume volume() {
    auto found = FatVolume::find(disk);
    EXPECT_TRUE(found.ok()) << found.error().message;
    return *found;
  }
  [[nodiscard]] Bytes block(std::uint64_t number) {
    Bytes data(512);
    EXPECT_TRUE(medium.read(number, data).ok());
    return data;
  }
  void patch(std::uint64_t number, std::size_t at, std::initializer_list<std::uint8_t> bytes) {
    Bytes data = block(number);
    std::copy(bytes.begin(), bytes.end(), data.begin() + static_cast<std::ptrdiff_t>(at));
    EXPECT_TRUE(medium.write(number, data).ok());
  }
  [[nodiscard]] std::uint64_t first_fat_block() {
    const Bytes boot = block(partition_first_block);
    return partition_first_block + boot[14] + 256U * boot[15];
  }
  void set_next(std::uint32_t cluster, std::uint32_t next) {
    const std::uint64_t width = layout.fat_bits == 16 ? 2 : 4;
    const std::uint64_t offset = cluster * width;
    const auto byte = [&](unsigned index) { return static_cast<std::uint8_t>(next >> 8 * index); };
    if (width == 2) {
      patch(first_fat_block() + offset / 512, offset % 512, {byte(0), byte(1)});
    } else {
      patch(first_fat_block() + offset / 512, offset % 512, {byte(0), byte(1), byte(2), byte(3)});
    }
  }
  [[nodiscard]] std::string error_of(const std::string& name) {
    const auto found = FatVolume::find(disk);
    if (!found) return found.error().message;
    const auto file = found->find_file(disk, name);
    if (!file) return file.error().message;
    const auto extents = found->extents(disk, *file);
    return extents ? "good" : extents.error().message;
  }
  [[nodiscard]] Bytes content(const std::string& name) {
    const FatVolume found = volume();
    const auto file = found.find_file(disk, name);
    if (!file) return {};
    Bytes all;
    const auto extents = found.extents(disk, *file);
    EXPECT_TRUE(extents.ok()) << extents.error().message;
    for (const BlockExtent& extent : *extents) {
      Bytes part(extent.count * 512);
      EXPECT_TRUE(disk.read(extent.first, part).ok());
      all.insert(all.end(), part.begin(), part.end());
    }
    all.resize(file->bytes);
    return all;
  }

  MemoryMedium medium;
  MediumDisk disk;
  simulator::FatLayout layout;
};

TEST(FatVolume, FindsFilesWithEveryClusterSize) {
  const std::vector<std::tuple<std::uint64_t, std::uint32_t, int>> disks = {
      {8, 512, 16},  {16, 1024, 16},  {64, 4096, 16},    {256, 32768, 16},
      {64, 512, 32}, {300, 4096, 32}, {8192, 32768, 32}, {2048, 16384, 32}};
  for (const auto& [size_mib, cluster_bytes, bits] : disks) {
    Disk disk(size_mib, cluster_bytes);
    const std::string what = std::to_string(size_mib) + " MiB, " + std::to_string(cluster_bytes);
    ASSERT_EQ(disk.layout.fat_bits, bits) << what;
    const FatVolume volume = disk.volume();
    EXPECT_EQ(volume.fat_bits(), bits) << what;
    EXPECT_EQ(volume.cluster_bytes(), cluster_bytes) << what;
    EXPECT_EQ(volume.cluster_count(), disk.layout.cluster_count) << what;
    const auto files = volume.list(disk.disk);
    ASSERT_TRUE(files.ok()) << what << ": " << files.error().message;
    ASSERT_EQ(files->size(), 3U) << what;
    for (const auto& expected : disk.layout.files) {
      const auto file = volume.find_file(disk.disk, expected.name);
      ASSERT_TRUE(file.ok()) << what;
      EXPECT_EQ(file->bytes, expected.bytes);
      const auto extents = volume.extents(disk.disk, *file);
      ASSERT_TRUE(extents.ok()) << what << ": " << extents.error().message;
      if (expected.bytes == 0) {
        EXPECT_TRUE(extents->empty());
      } else {
        EXPECT_THAT(*extents,
                    ElementsAre(BlockExtent{expected.first_block, (expected.bytes + 511U) / 512}))
            << what;
      }
    }
    EXPECT_EQ(disk.content("big.dat"), simulator::pattern_bytes(200001, 2)) << what;
  }
}

TEST(FatVolume, FollowsFragmentedChains) {
  for (const std::uint64_t size_mib : {8U, 64U}) {  // FAT16 and FAT32
    Disk disk(size_mib, 512);
    const auto& big = disk.layout.files[2];
    const auto first =
        static_cast<std::uint32_t>(big.first_block - disk.layout.first_data_block + 2);
    // The second and the third cluster of the file change places.
    const Bytes second = disk.block(big.first_block + 1);
    const Bytes third = disk.block(big.first_block + 2);
    ASSERT_TRUE(disk.medium.write(big.first_block + 1, third).ok());
    ASSERT_TRUE(disk.medium.write(big.first_block + 2, second).ok());
    disk.set_next(first, first + 2);
    disk.set_next(first + 2, first + 1);
    disk.set_next(first + 1, first + 3);
    EXPECT_EQ(disk.content("BIG.DAT"), simulator::pattern_bytes(200001, 2));
    const FatVolume volume = disk.volume();
    EXPECT_THAT(*volume.extents(disk.disk, *volume.find_file(disk.disk, "BIG.DAT")),
                ElementsAre(BlockExtent{big.first_block, 1}, BlockExtent{big.first_block + 2, 1},
                            BlockExtent{big.first_block + 1, 1},
                            BlockExtent{big.first_block + 3, (200001 + 511) / 512 - 3}));
  }
}

TEST(FatVolume, DamagedChainsAreErrors) {
  for (const std::uint64_t size_mib : {8U, 64U}) {
    const std::uint32_t end = size_mib == 8 ? 0xFFFF : 0x0FFFFFFF;
    const auto with_next = [&](std::uint32_t at, auto next) {
      Disk disk(size_mib, 512);
      const auto& big = disk.layout.files[2];
      const auto first =
          static_cast<std::uint32_t>(big.first_block - disk.layout.first_data_block + 2);
      disk.set_next(first + at, next(first));
      return disk.error_of("BIG.DAT");
    };
    const auto value = [](std::uint32_t next) {
      return [next](std::uint32_t /*first*/) { return next; };
    };
    EXPECT_THAT(with_next(100, [](std::uint32_t first) { return first + 50; }), HasSubstr("ring"));
    EXPECT_THAT(with_next(100, [](std::uint32_t first) { return first + 100; }), HasSubstr("ring"));
    EXPECT_THAT(with_next(5, value(end)), HasSubstr("shorter"));
    EXPECT_THAT(with_next(5, value(0)), HasSubstr("out of the volume"));
    EXPECT_THAT(with_next(5, value(1)), HasSubstr("out of the volume"));
    EXPECT_THAT(with_next(5, value(end - 8)), HasSubstr("out of the volume"));
    EXPECT_EQ(with_next(390, value(0)), "good") << "the file ends there, whatever the table says";
  }
  Disk ring(64, 512);
  ring.set_next(2, 2);  // FAT32's root folder
  EXPECT_THAT(ring.error_of("BIG.DAT"), testing::AnyOf(HasSubstr("ring"), "good"));
  ring.patch(ring.layout.first_data_block, 0, {0xE5});
  ring.patch(ring.layout.first_data_block, 3 * 32, {0xE5});
  EXPECT_THAT(ring.error_of("BIG.DAT"), HasSubstr("ring"));
}

TEST(FatVolume, DamagedBootSectorsAreErrors) {
  const auto with = [](std::uint64_t block, std::size_t at,
                       std::initializer_list<std::uint8_t> bytes) {
    Disk disk(8, 512);
    disk.patch(block, at, bytes);
    return disk.error_of("BIG.DAT");
  };
  constexpr std::uint64_t boot = partition_first_block;
  EXPECT_THAT(with(0, 510, {0, 0}), HasSubstr("no partition table"));
  EXPECT_THAT(with(0, 450, {0x83}), HasSubstr("no FAT"));
  EXPECT_THAT(with(0, 458, {0xFF, 0xFF, 0xFF, 0x7F}), HasSubstr("does not fit"));
  EXPECT_THAT(with(boot, 510, {0}), HasSubstr("no signature"));
  EXPECT_THAT(with(boot, 11, {0, 0x10}), HasSubstr("512"));
  EXPECT_THAT(with(boot, 13, {0}), HasSubstr("no sense"));
  EXPECT_THAT(with(boot, 13, {3}), HasSubstr("no sense"));
  EXPECT_THAT(with(boot, 14, {0, 0}), HasSubstr("no sense"));
  EXPECT_THAT(with(boot, 16, {0}), HasSubstr("no sense"));
  EXPECT_THAT(with(boot, 13, {64}), HasSubstr("FAT12"));
  EXPECT_THAT(with(boot, 22, {1, 0}), HasSubstr("too short"));
  EXPECT_THAT(with(boot, 22, {0xFF, 0xFF}), HasSubstr("larger than its partition"));
  Disk nothing(8, 512);
  MemoryMedium empty(0);
  MediumDisk none(empty);
  EXPECT_FALSE(FatVolume::find(none).ok());
}

/// What other systems write: fragmented by deleting, with long names. Made by mtools, which is
/// another implementation.
TEST(FatVolume, ReadsWhatMtoolsWrites) {
  if (std::system("PATH=$PATH:/usr/sbin:/sbin; command -v mkfs.fat mcopy >/dev/null 2>&1") != 0)
    GTEST_SKIP() << "no dosfstools or mtools";
  const auto folder =
      std::filesystem::path(testing::TempDir()) / ("fat_volume_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const auto run = [&](const std::string& command) {
    return std::system(("cd '" + folder.string() + "' && (" + command + ") >/dev/null").c_str());
  };
  for (const auto& [bits, blocks, format] :
       {std::tuple{16, 8064U, "-F 16 -s 1"}, std::tuple{32, 70000U, "-F 32 -s 1"}}) {
    const std::string image = "disk" + std::to_string(bits) + ".img";
    const std::string at = " -i " + image + " ";
    ASSERT_EQ(run("head -c " + std::to_string(blocks * 512) + " /dev/zero > " + image), 0);
    ASSERT_EQ(run(std::string("PATH=$PATH:/usr/sbin:/sbin mkfs.fat ") + format + " " + image), 0);
    ASSERT_EQ(run("head -c 1000 /dev/urandom > 'One rather long name of a file.data'"), 0);
    ASSERT_EQ(run("head -c 9000 /dev/urandom > gap && head -c 50000 /dev/urandom > tse-io.bin"), 0);
    ASSERT_EQ(
        run("mcopy" + at + "gap ::a && mcopy" + at + "'One rather long name of a file.data' ::"),
        0);
    // The file fills the gap and goes on behind its neighbour.
    ASSERT_EQ(run("mdel" + at + "::a && mmd" + at + "::folder && mcopy" + at + "tse-io.bin ::"), 0);
    std::ifstream file(folder / image, std::ios::binary);
    MemoryMedium medium(blocks);
    std::string block(512, '\0');
    for (std::uint64_t number = 0; file.read(block.data(), 512); ++number) {
      if (block == std::string(512, '\0')) continue;
      ASSERT_TRUE(medium.write(number, Bytes(block.begin(), block.end())).ok());
    }
    MediumDisk disk(medium);
    const auto volume = FatVolume::find(disk);  // no partition table: the whole disk
    ASSERT_TRUE(volume.ok()) << volume.error().message;
    EXPECT_EQ(volume->fat_bits(), bits);
    std::vector<std::string> names;
    const auto files = volume->list(disk);
    for (const FatFile& found : *files) names.push_back(found.name);
    EXPECT_THAT(names,
                testing::UnorderedElementsAre("One rather long name of a file.data", "tse-io.bin"));
    for (const std::string& name : names) {
      const auto found = volume->find_file(disk, name);
      Bytes content;
      const auto extents = volume->extents(disk, *found);
      for (const BlockExtent& extent : *extents) {
        Bytes part(extent.count * 512);
        ASSERT_TRUE(disk.read(extent.first, part).ok());
        content.insert(content.end(), part.begin(), part.end());
      }
      content.resize(found->bytes);
      std::ifstream original(folder / name, std::ios::binary);
      EXPECT_EQ(content, Bytes(std::istreambuf_iterator<char>(original), {})) << name;
    }
  }
  std::filesystem::remove_all(folder);
}

TEST(FatVolume, LongNamesBelongToTheirShortName) {
  Disk disk(8, 512);
  const std::uint64_t root = disk.layout.first_data_block - 32;  // 512 entries
  Bytes folder = disk.block(root);
  const auto entry = [&](std::size_t index) {
    return folder.begin() + static_cast<std::ptrdiff_t>(index * 32);
  };
  ASSERT_EQ(std::string(entry(1), entry(1) + 3), "TSE");  // behind the volume's label
  // One part, "tse-\u00e4\U0001F600.bin", before the first file's entry.
  Bytes entries(32);
  entries[0] = 0x41;
  entries[11] = 0x0F;
  std::uint8_t sum = 0;
  for (std::size_t i = 0; i < 11; ++i) {
    sum = static_cast<std::uint8_t>((sum << 7U | sum >> 1U) + folder[32 + i]);
  }
  entries[13] = sum;
  const std::u16string name = u"tse-\u00e4\U0001F600.bin";
  const std::array<std::size_t, 13> places = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
  for (std::size_t i = 0; i < places.size(); ++i) {
    const char16_t unit = i < name.size() ? name[i] : i == name.size() ? u'\0' : u'\uffff';
    entries[places.at(i)] = static_cast<std::uint8_t>(unit & 0xFFU);
    entries[places.at(i) + 1] = static_cast<std::uint8_t>(unit >> 8U);
  }
  const auto names_with = [&](const Bytes& long_part) {
    Bytes changed = folder;
    changed.insert(changed.begin() + 32, long_part.begin(), long_part.end());
    changed.resize(folder.size());
    EXPECT_TRUE(disk.medium.write(root, changed).ok());
    std::vector<std::string> names;
    const auto files = disk.volume().list(disk.disk);
    for (const FatFile& file : *files) names.push_back(file.name);
    return names;
  };
  EXPECT_THAT(names_with(entries),
              ElementsAre("tse-\xc3\xa4\xf0\x9f\x98\x80.bin", "EMPTY.TXT", "BIG.DAT"));
  Bytes other = entries;
  other[13] ^= 1U;  // another file's
  EXPECT_THAT(names_with(other), ElementsAre("TSE-IO.BIN", "EMPTY.TXT", "BIG.DAT"));
  other = entries;
  other[0] = 0x42;  // its second part; the first is missing
  EXPECT_THAT(names_with(other), ElementsAre("TSE-IO.BIN", "EMPTY.TXT", "BIG.DAT"));
}

}  // namespace
}  // namespace tillbridge::pos
