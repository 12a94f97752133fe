// The disk around a Swissbit TSE: files where the stick says they are, and an ordinary disk
// everywhere else.

#include <gmock/gmock.h>

#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/temporary_folder.hpp"
#include "tests/unit/simulator/tse/swissbit/swissbit_host.hpp"

namespace tillbridge::simulator::tse {
namespace {

struct DirectoryFile {
  std::string name;
  std::uint64_t first_block = 0;
  std::uint32_t bytes = 0;
};

class SwissbitDisk : public SwissbitTest {
 protected:
  void plug_disk(std::uint64_t mib, std::uint32_t cluster_bytes,
                 std::uint64_t tar_file_blocks = wire::tar_file_blocks) {
    Setting setting;
    setting.disk_blocks = mib * 2048;
    setting.store_bytes = 4U << 20U;
    setting.options.cluster_bytes = cluster_bytes;
    setting.options.tar_file_blocks = tar_file_blocks;
    plug(setting);
  }
  /// The root directory, as a host's file system reads it.
  std::vector<DirectoryFile> directory() {
    const Bytes boot = read_blocks(partition_first_block, 1);
    ByteReader reader(boot);
    reader.skip(13);
    const std::uint8_t cluster_blocks = reader.u8();
    const std::uint16_t reserved = reader.u16le();
    const std::uint8_t fats = reader.u8();
    const std::uint16_t root_entries = reader.u16le();
    reader.skip(3);
    const std::uint16_t fat_blocks_16 = reader.u16le();
    reader.skip(12);
    const std::uint32_t fat_blocks = fat_blocks_16 != 0 ? fat_blocks_16 : reader.u32le();
    const std::uint64_t root = partition_first_block + reserved + std::uint64_t{fats} * fat_blocks;
    const std::uint64_t data = root + root_entries * 32U / 512U;
    std::vector<DirectoryFile> files;
    const Bytes entries = read_blocks(root, 32 * 16 / 32);
    for (ByteReader entry(entries); entry.remaining() > 0;) {
      const ByteView name = entry.take(11);
      const std::uint8_t attributes = entry.u8();
      entry.skip(8);
      const std::uint32_t high = entry.u16le();
      entry.skip(4);
      const std::uint32_t cluster = high << 16U | entry.u16le();
      const std::uint32_t bytes = entry.u32le();
      if (name[0] == 0) break;
      if ((attributes & 0x08U) != 0) {
        label_ = std::string(name.begin(), name.end());
        continue;
      }
      files.push_back({std::string(name.begin(), name.end()),
                       data + std::uint64_t{cluster - 2} * cluster_blocks, bytes});
    }
    return files;
  }
  std::string label_;
};

struct Shape {
  std::uint64_t mib;
  std::uint32_t cluster_bytes;
  std::uint64_t tar_file_blocks;
  std::size_t tar_files;
};
void PrintTo(const Shape& shape, std::ostream* out) {
  *out << shape.mib << " MiB, clusters of " << shape.cluster_bytes << ", " << shape.tar_files
       << " TAR files";
}
class SwissbitShapes : public SwissbitDisk, public testing::WithParamInterface<Shape> {};

TEST_P(SwissbitShapes, TheDirectoryPointsWhereTheStickDoes) {
  plug_disk(GetParam().mib, GetParam().cluster_bytes, GetParam().tar_file_blocks);
  const auto files = directory();
  ASSERT_EQ(files.size(), 2 + GetParam().tar_files);
  EXPECT_EQ(label_, "SWISSBIT   ");
  EXPECT_EQ(files[0].name, "TSE_INFODAT");
  EXPECT_EQ(files[0].first_block, places_.info);
  EXPECT_EQ(files[0].bytes, 512U);
  EXPECT_EQ(files[1].name, "TSE_COMMDAT");
  EXPECT_EQ(files[1].first_block, places_.comm);
  EXPECT_EQ(files[1].bytes, 512U);
  EXPECT_EQ(files[2].name, "TSE_TAR 001");
  EXPECT_EQ(files[2].first_block, places_.store);
  // One store without a gap, most of the disk.
  std::uint64_t next = places_.store;
  for (std::size_t i = 2; i < files.size(); ++i) {
    EXPECT_EQ(files[i].first_block, next) << files[i].name;
    if (i + 1 < files.size()) {
      EXPECT_EQ(files[i].bytes, GetParam().tar_file_blocks * 512);
    }
    next += files[i].bytes / 512;
  }
  EXPECT_EQ(next - places_.store, info().capacity_blocks);
  EXPECT_GT(info().capacity_blocks, GetParam().mib * 2048 * 7 / 10);
  // Pages and large clusters keep apart.
  EXPECT_EQ(places_.info % 64, 0U);
  EXPECT_GE(places_.comm - places_.info, 64U);
  EXPECT_GE(places_.store - places_.comm, 64U);
}

INSTANTIATE_TEST_SUITE_P(Disks, SwissbitShapes,
                         testing::Values(Shape{16, 0, wire::tar_file_blocks, 1},
                                         Shape{64, 512, wire::tar_file_blocks, 1},
                                         Shape{64, 4096, 16384, 7},
                                         Shape{8192, 32768, wire::tar_file_blocks, 7}));

TEST_F(SwissbitDisk, TheStoreRunsOnOverTheBordersOfItsFiles) {
  plug_disk(16, 0, 1024);
  set_up();
  const auto started = start();
  while (info().used_blocks < 3 * 1024 + 100) {
    ASSERT_EQ(sign(wire::Step::update, started.transaction, Bytes(60000, 'u')).first,
              CommandStatus::ok);
  }
  const auto report = audit();
  EXPECT_TRUE(report.good());
}

TEST_F(SwissbitDisk, BehindTheStoreAreZeros) {
  set_up();
  const std::uint32_t used = info().used_blocks;
  const Bytes end = read_blocks(places_.store + used - 1, 5);
  EXPECT_NE(Bytes(end.begin(), end.begin() + 512), Bytes(512));
  EXPECT_EQ(Bytes(end.begin() + 512, end.end()), Bytes(4 * 512));
  const std::uint32_t capacity = info().capacity_blocks;
  EXPECT_EQ(read_blocks(places_.store + capacity - 1, 1), Bytes(512));
}

TEST_F(SwissbitDisk, OrdinaryWritesAreKeptAndTheTsesOwnBlocksAreNot) {
  const Bytes content = pattern_bytes(64 * 512, 9);
  // All around the control files, and over the pointer block.
  const Bytes pointers = read_blocks(wire::pointer_block, 1);
  write_blocks(wire::pointer_block, Bytes(512, 1));
  write_blocks(places_.info, content);
  const std::uint32_t behind_store = places_.store + info().capacity_blocks;
  write_blocks(behind_store, content);
  write_blocks(places_.store, content);
  EXPECT_EQ(read_blocks(wire::pointer_block, 1), pointers);
  EXPECT_EQ(info().customization, "GMISRLS");
  EXPECT_EQ(read_blocks(places_.info + 1, 63), Bytes(content.begin() + 512, content.end()));
  EXPECT_EQ(read_blocks(behind_store, 64), content);
  EXPECT_NE(read_blocks(places_.store, 64), content);
  EXPECT_EQ(bench_->witness.commands(), 0U);
}

TEST_F(SwissbitDisk, ACommandIsFoundInAPageThatIsWrittenAroundIt) {
  Bytes page = wire::encode(wire::SelfTest{"nobody"});
  const Bytes rest = pattern_bytes(7 * 512, 4);
  page.insert(page.end(), rest.begin(), rest.end());
  write_blocks(places_.comm, page);
  EXPECT_EQ(wait().counter, 1U);
  EXPECT_EQ(read_blocks(places_.comm + 1, 7), rest);
  // One READ over the block is the answer and its neighbours.
  const Bytes around = read_blocks(places_.comm - 1, 3);
  EXPECT_EQ(around[512 + 4], 0xFD);
  EXPECT_EQ(Bytes(around.begin() + 1024, around.end()), Bytes(rest.begin(), rest.begin() + 512));
}

TEST_F(SwissbitDisk, AHostMayReCreateTheFilesTheStickStaysWhereItWas) {
  set_up();
  const auto files = directory();
  ASSERT_TRUE(host_->read(partition_first_block, 1).ok());
  ASSERT_TRUE(driver_->run(*host_).good());
  // Formats: the first blocks of the partition, tables and root directory become zeros.
  for (std::uint64_t block = partition_first_block; block + 64 <= places_.info; block += 64) {
    write_blocks(block, Bytes(64 * 512));
  }
  EXPECT_TRUE(directory().empty());
  EXPECT_EQ(files.size(), 3U);
  receipt();
  audit();
}

TEST(SwissbitImages, AnImageIsFormattedOnceAndFoundAgain) {
  const TemporaryFolder folder;
  const std::string path = folder.file("disk.img");
  SwissbitOptions options;
  SwissbitLayout first;
  {
    auto image = FileMedium::create(path, 32768);
    ASSERT_TRUE(image.ok());
    const auto layout = swissbit_layout(**image, options);
    ASSERT_TRUE(layout.ok()) << layout.error().message;
    first = *layout;
    ASSERT_TRUE((*image)->write(first.info + 1, Bytes(512, 7)).ok());
  }
  options.tar_file_blocks = 4096;  // decides for a new disk only
  auto image = FileMedium::open(path);
  ASSERT_TRUE(image.ok());
  const auto again = swissbit_layout(**image, options);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->info, first.info);
  EXPECT_EQ(again->comm, first.comm);
  EXPECT_EQ(again->store, first.store);
  EXPECT_EQ(again->store_blocks, first.store_blocks);
  EXPECT_EQ(again->tar_file_blocks, first.tar_file_blocks);
  Bytes kept(512);
  ASSERT_TRUE((*image)->read(first.info + 1, kept).ok());
  EXPECT_EQ(kept, Bytes(512, 7));
}

TEST(SwissbitImages, WhatIsNoDiskForATseIsRefused) {
  const auto refusal = [](Medium& medium, const SwissbitOptions& options = {}) {
    const auto layout = swissbit_layout(medium, options);
    return layout.ok() ? std::string("accepted") : layout.error().message;
  };
  MemoryMedium foreign(32768);
  ASSERT_TRUE(write_fat_image(foreign, {}).ok());
  EXPECT_THAT(refusal(foreign), testing::HasSubstr("not made for"));
  ASSERT_TRUE(foreign.write(wire::pointer_block, pattern_bytes(512, 3)).ok());
  EXPECT_THAT(refusal(foreign), testing::HasSubstr("not made for"));
  MemoryMedium tiny(5), small(8192);
  EXPECT_THAT(refusal(tiny), testing::HasSubstr("too small"));
  EXPECT_THAT(refusal(small), testing::HasSubstr("too small"));
  SwissbitOptions options;
  options.tar_file_blocks = 100;
  MemoryMedium fresh(32768);
  EXPECT_THAT(refusal(fresh, options), testing::HasSubstr("multiple of 64"));
  options.tar_file_blocks = 64;
  EXPECT_THAT(refusal(fresh, options), testing::HasSubstr("99"));
  EXPECT_EQ(refusal(fresh), "accepted");

  CoreOptions core_options = swissbit_core_options({});
  core_options.store_bytes = 32U << 20U;
  auto core = TseCore::open(core_options, make_memory_store());
  ASSERT_TRUE(core.ok());
  const auto medium =
      SwissbitMedium::create(std::make_unique<MemoryMedium>(32768), std::move(*core),
                             swissbit_timing(), {}, std::make_shared<Bench>());
  ASSERT_FALSE(medium.ok());
  EXPECT_THAT(medium.error().message, testing::HasSubstr("does not fit"));
}

}  // namespace
}  // namespace tillbridge::simulator::tse
