#include "server/simulator/medium.hpp"

#include <filesystem>
#include <fstream>
#include <random>

#include <gtest/gtest.h>

#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/temporary_folder.hpp"

namespace tillbridge::simulator {
namespace {

/// Random writes and reads against an array.
void expect_stores(Medium& medium) {
  std::mt19937 random(11);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  Bytes model(medium.block_count() * block_bytes);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t count = 1 + below(100);
    const std::uint64_t block = below(medium.block_count() - count + 1);
    const auto place = model.begin() + static_cast<std::ptrdiff_t>(block * block_bytes);
    Bytes data(count * block_bytes);
    if (below(2) == 0) {
      if (below(4) != 0) data = pattern_bytes(data.size(), random());
      ASSERT_TRUE(medium.write(block, data).ok());
      std::copy(data.begin(), data.end(), place);
    } else {
      ASSERT_TRUE(medium.read(block, data).ok());
      ASSERT_TRUE(std::equal(data.begin(), data.end(), place));
    }
  }
  EXPECT_TRUE(medium.flush().ok());
}

TEST(MemoryMedium, Stores) {
  MemoryMedium medium(1000);
  expect_stores(medium);
}

TEST(MemoryMedium, IsSparse) {
  MemoryMedium medium(16U << 20U);  // 8 GiB
  EXPECT_TRUE(medium.write((16U << 20U) - 1, Bytes(512, 1)).ok());
  EXPECT_TRUE(medium.write(0, Bytes(1U << 20U, 0)).ok());
  EXPECT_LE(medium.used_bytes(), 64U << 10U);
}

TEST(FileMedium, StoresAndKeeps) {
  const TemporaryFolder folder;
  const std::string path = folder.file("disk.img");
  {
    auto medium = FileMedium::create(path, 1000);
    ASSERT_TRUE(medium.ok()) << medium.error().message;
    expect_stores(**medium);
    ASSERT_TRUE((*medium)->write(999, Bytes(512, 0x99)).ok());
  }
  EXPECT_EQ(std::filesystem::file_size(path), 512000U);
  auto medium = FileMedium::open(path);
  ASSERT_TRUE(medium.ok()) << medium.error().message;
  EXPECT_EQ((*medium)->block_count(), 1000U);
  Bytes block(512);
  ASSERT_TRUE((*medium)->read(999, block).ok());
  EXPECT_EQ(block, Bytes(512, 0x99));
}

TEST(FileMedium, IsForOneStickAtATime) {
  const TemporaryFolder folder;
  auto first = FileMedium::create(folder.file("disk.img"), 100);
  ASSERT_TRUE(first.ok());
  const auto second = FileMedium::open(folder.file("disk.img"));
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::refused);
  EXPECT_NE(second.error().message.find("disk.img"), std::string::npos);
  first->reset();
  EXPECT_TRUE(FileMedium::open(folder.file("disk.img")).ok());
}

TEST(FileMedium, RefusesWhatIsNoDisk) {
  const TemporaryFolder folder;
  EXPECT_FALSE(FileMedium::open(folder.file("missing")).ok());
  EXPECT_FALSE(FileMedium::create(folder.file("no/such/folder"), 10).ok());
  std::ofstream(folder.file("odd")) << "100 bytes are missing";
  EXPECT_EQ(FileMedium::open(folder.file("odd")).error().code, ErrorCode::config);
  std::ofstream(folder.file("empty")).flush();
  EXPECT_EQ(FileMedium::open(folder.file("empty")).error().code, ErrorCode::config);
  EXPECT_FALSE(FileMedium::create(folder.file("odd"), 10).ok()) << "never overwrites";
}

TEST(FileMedium, AFileThatShrinksIsAnErrorNotACrash) {
  const TemporaryFolder folder;
  auto medium = FileMedium::create(folder.file("disk.img"), 100);
  ASSERT_TRUE(medium.ok());
  std::filesystem::resize_file(folder.file("disk.img"), 512);
  Bytes block(512);
  EXPECT_TRUE((*medium)->read(0, block).ok());
  EXPECT_FALSE((*medium)->read(50, block).ok());
}

}  // namespace
}  // namespace tillbridge::simulator
