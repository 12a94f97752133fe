// The images are checked by the tools that Linux systems have for FAT: dosfstools and mtools.

#include "server/simulator/fat_image.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include "tests/unit/simulator/temporary_folder.hpp"

namespace tillbridge::simulator {
namespace {

struct Output {
  int status = -1;
  std::string text;
};

Output run(const std::string& command) {
  Output output;
  std::FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return output;
  std::array<char, 4096> buffer{};
  while (std::fgets(buffer.data(), static_cast<int>(buffer.size()), pipe) != nullptr) {
    output.text += buffer.data();
  }
  output.status = ::pclose(pipe);
  return output;
}

bool has_tools() {
  return run("command -v mdir").status == 0 &&
         run("PATH=$PATH:/usr/sbin:/sbin command -v fsck.fat").status == 0;
}

/// Copies what stands in the file from block 2048 on, holes as holes: a disk of 8 GiB holds a few
/// MiB.
void copy_partition(const std::string& disk, const std::string& partition) {
  constexpr off_t start = partition_first_block * block_bytes;
  const int from = ::open(disk.c_str(), O_RDONLY | O_CLOEXEC);
  const int to = ::open(partition.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ASSERT_GE(from, 0);
  ASSERT_GE(to, 0);
  const off_t end = ::lseek(from, 0, SEEK_END);
  ASSERT_EQ(::ftruncate(to, end - start), 0);
  Bytes piece(1U << 20U);
  off_t position = start;
  while ((position = ::lseek(from, position, SEEK_DATA)) >= 0) {
    const off_t hole = ::lseek(from, position, SEEK_HOLE);
    while (position < hole) {
      const auto wanted = std::min(piece.size(), static_cast<std::size_t>(hole - position));
      const ssize_t count = ::pread(from, piece.data(), wanted, position);
      ASSERT_GT(count, 0);
      ASSERT_EQ(::pwrite(to, piece.data(), static_cast<std::size_t>(count), position - start),
                count);
      position += count;
    }
  }
  ::close(from);
  ::close(to);
}

Bytes contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return {text.begin(), text.end()};
}

struct Disk {
  std::uint64_t mib;
  std::uint32_t cluster_bytes;
  int fat_bits;
  std::uint32_t expected_cluster_bytes;
};

void PrintTo(const Disk& disk, std::ostream* out) {
  *out << disk.mib << " MiB, clusters of " << disk.cluster_bytes;
}

class FatImage : public testing::TestWithParam<Disk> {};

TEST_P(FatImage, IsWhatTheToolsExpect) {
  if (!has_tools()) GTEST_SKIP() << "fsck.fat or mdir is not installed";
  const TemporaryFolder folder;
  const std::string path = folder.file("disk.img");
  FatOptions options;
  options.label = "TSE-TEST";
  options.cluster_bytes = GetParam().cluster_bytes;
  options.files = {{"README.TXT", {'h', 'i', '\r', '\n'}},
                   {"PATTERN.BIN", pattern_bytes(100000, 1)},
                   {"EMPTY", {}},
                   {"STORE.001", {}, 2U << 20U, 32768}};
  {
    auto medium = FileMedium::create(path, GetParam().mib * 2048);
    ASSERT_TRUE(medium.ok()) << medium.error().message;
    const auto layout = write_fat_image(**medium, options);
    ASSERT_TRUE(layout.ok()) << layout.error().message;
    EXPECT_EQ(layout->fat_bits, GetParam().fat_bits);
    EXPECT_EQ(layout->cluster_bytes, GetParam().expected_cluster_bytes);
    EXPECT_EQ(layout->first_data_block % (layout->cluster_bytes / block_bytes), 0U);

    // Each file lies where the layout says.
    const FatFileExtent& pattern = layout->files.at(1);
    Bytes blocks((pattern.bytes + block_bytes - 1) / block_bytes * block_bytes);
    ASSERT_TRUE((*medium)->read(pattern.first_block, blocks).ok());
    blocks.resize(pattern.bytes);
    EXPECT_EQ(blocks, options.files[1].content);
    const FatFileExtent& store = layout->files.at(3);
    EXPECT_EQ(store.bytes, 2U << 20U) << "allocated without content";
    EXPECT_EQ(store.first_block % 64, 0U) << "aligned";
    EXPECT_LT(store.first_block - pattern.first_block, 200000U / block_bytes + 64);
  }

  // fsck.fat looks at a file system, not at a disk: the partition is copied out of it.
  const std::string partition = folder.file("partition.img");
  copy_partition(path, partition);
  const Output check = run("PATH=$PATH:/usr/sbin:/sbin fsck.fat -n -v " + partition);
  EXPECT_EQ(check.status, 0) << check.text;
  EXPECT_THAT(check.text, testing::HasSubstr(std::to_string(GetParam().expected_cluster_bytes) +
                                             " bytes per cluster"));
  EXPECT_THAT(check.text, testing::HasSubstr(std::to_string(GetParam().fat_bits) + " bit entries"));

  // mtools look into the disk itself.
  const std::string drive = "-i " + path + "@@1M";
  const Output listing = run("mdir " + drive + " ::");
  EXPECT_EQ(listing.status, 0) << listing.text;
  EXPECT_THAT(listing.text, testing::HasSubstr("TSE-TEST"));
  EXPECT_THAT(listing.text, testing::HasSubstr("4 files"));
  const std::string copy = folder.file("copy");
  EXPECT_EQ(run("mcopy " + drive + " ::PATTERN.BIN " + copy).status, 0);
  EXPECT_EQ(contents(copy), options.files[1].content);
  // Space that is said to be free can be used, and the image stays sound.
  EXPECT_EQ(run("mcopy " + drive + " " + copy + " ::SECOND.BIN").status, 0);
  copy_partition(path, partition);
  EXPECT_EQ(run("PATH=$PATH:/usr/sbin:/sbin fsck.fat -n " + partition).status, 0);
}

INSTANTIATE_TEST_SUITE_P(Sizes, FatImage,
                         testing::Values(Disk{8, 0, 16, 1024}, Disk{64, 0, 16, 2048},
                                         Disk{64, 4096, 16, 4096}, Disk{64, 512, 32, 512},
                                         Disk{512, 0, 16, 16384}, Disk{513, 0, 32, 4096},
                                         Disk{512, 32768, 16, 32768},
                                         Disk{8192, 32768, 32, 32768}));

TEST(FatImages, ThePartitionTableNamesOnePartitionFromBlock2048) {
  MemoryMedium medium(64 * 2048);
  ASSERT_TRUE(write_fat_image(medium, {}).ok());
  Bytes block(512);
  ASSERT_TRUE(medium.read(0, block).ok());
  ByteReader reader(block);
  reader.skip(446 + 4);
  EXPECT_EQ(reader.u8(), 0x0E) << "FAT16, LBA";
  reader.skip(3);
  EXPECT_EQ(reader.u32le(), 2048U);
  EXPECT_EQ(reader.u32le(), 63U * 2048U);
  EXPECT_EQ(Bytes(block.begin() + 462, block.begin() + 510), Bytes(48));
  EXPECT_EQ(block[510], 0x55);
  EXPECT_EQ(block[511], 0xAA);
}

TEST(FatImages, AnExtensionMayBeShownInLowerCase) {
  MemoryMedium medium(64 * 2048);
  FatOptions options;
  options.files.resize(2);
  options.files[0].name = "TSE-IO.BIN";
  options.files[0].lower_case_extension = true;
  options.files[1].name = "OTHER.BIN";
  const auto layout = write_fat_image(medium, options);
  ASSERT_TRUE(layout.ok());
  Bytes root(512);
  ASSERT_TRUE(medium.read(layout->first_data_block - 32, root).ok());
  EXPECT_EQ(root[32 + 12], 0x10);
  EXPECT_EQ(root[64 + 12], 0x00);
}

TEST(FatImages, EqualOptionsMakeEqualImages) {
  MemoryMedium first(16384), second(16384);
  // The second one is formatted over rubbish.
  ASSERT_TRUE(second.write(0, pattern_bytes(1200 * 1024, 8)).ok());
  FatOptions options;
  options.files = {{"A.BIN", pattern_bytes(5000, 2)}};
  ASSERT_TRUE(write_fat_image(first, options).ok());
  const auto layout = write_fat_image(second, options);
  ASSERT_TRUE(layout.ok());
  Bytes a(512), b(512);
  for (std::uint64_t block = partition_first_block; block < layout->first_data_block + 10;
       ++block) {
    ASSERT_TRUE(first.read(block, a).ok());
    ASSERT_TRUE(second.read(block, b).ok());
    ASSERT_EQ(a, b) << block;
  }
}

TEST(FatImages, WhatDoesNotFitIsRefusedByName) {
  const auto refusal = [](std::uint64_t blocks, const FatOptions& options) {
    MemoryMedium medium(blocks);
    const auto layout = write_fat_image(medium, options);
    return layout.ok() ? std::string("accepted") : layout.error().message;
  };
  FatOptions options;
  EXPECT_EQ(refusal(16384, options), "accepted");
  EXPECT_THAT(refusal(16383, options), testing::HasSubstr("too small"));
  options.cluster_bytes = 1000;
  EXPECT_THAT(refusal(16384, options), testing::HasSubstr("cluster_bytes = 1000"));
  options.cluster_bytes = 32768;
  EXPECT_THAT(refusal(131072, options), testing::HasSubstr("does not fit")) << "would be FAT12";
  options.cluster_bytes = 0;
  for (const char* label : {"", "TWELVE CHARS", "lower", "A.B"}) {
    options.label = label;
    EXPECT_THAT(refusal(16384, options), testing::HasSubstr("label"));
  }
  options.label = "TSE";
  for (const char* name : {"", ".TXT", "NINECHARS", "A.LONG", "lower.txt", "A B", "A.B.C"}) {
    options.files = {{name, {}}};
    EXPECT_THAT(refusal(16384, options), testing::HasSubstr("file name")) << name;
  }
  options.files = {{"A", {}}, {"A", {}}};
  EXPECT_THAT(refusal(16384, options), testing::HasSubstr("two files"));
  options.files = {{"A", Bytes(8U << 20U)}};
  EXPECT_THAT(refusal(16384, options), testing::HasSubstr("no room"));
  options.files = {{"A", {}, 0x1'0000'0000U, 0}};
  EXPECT_THAT(refusal(16384, options), testing::HasSubstr("no room"));
}

TEST(PatternBytes, DependOnPlaceAndSeedOnly) {
  const Bytes long_one = pattern_bytes(100, 1), short_one = pattern_bytes(13, 1);
  EXPECT_TRUE(std::equal(short_one.begin(), short_one.end(), long_one.begin()));
  EXPECT_NE(pattern_bytes(100, 2), long_one);
  EXPECT_EQ((Bytes{long_one.begin(), long_one.begin() + 8}),
            (Bytes{0xC1, 0x5C, 0x02, 0x89, 0xEC, 0x2D, 0x0A, 0x91}))
      << "the first number of SplitMix64 for seed 1: other programs may rely on it";
}

}  // namespace
}  // namespace tillbridge::simulator
