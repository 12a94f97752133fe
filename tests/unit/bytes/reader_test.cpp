#include "channel/bytes/reader.hpp"

#include <gtest/gtest.h>

namespace tillbridge {
namespace {

const Bytes one_to_eight{1, 2, 3, 4, 5, 6, 7, 8};

TEST(ByteReader, ReadsBothByteOrders) {
  ByteReader reader(one_to_eight);
  EXPECT_EQ(reader.u8(), 1);
  EXPECT_EQ(reader.u16le(), 0x0302);
  EXPECT_EQ(reader.u32be(), 0x04050607U);
  EXPECT_EQ(reader.remaining(), 1U);
  EXPECT_FALSE(reader.finished());
  EXPECT_EQ(reader.u8(), 8);
  EXPECT_TRUE(reader.finished());

  EXPECT_EQ(ByteReader(one_to_eight).u64le(), 0x0807060504030201U);
  EXPECT_EQ(ByteReader(one_to_eight).u64be(), 0x0102030405060708U);
  EXPECT_EQ(ByteReader(one_to_eight).u32le(), 0x04030201U);
  EXPECT_EQ(ByteReader(one_to_eight).u16be(), 0x0102U);
}

TEST(ByteReader, ReadingPastTheEndFailsForGood) {
  ByteReader reader(one_to_eight);
  reader.skip(6);
  EXPECT_EQ(reader.u32le(), 0U);
  EXPECT_FALSE(reader.ok());
  EXPECT_EQ(reader.u8(), 0)
      << "the two bytes that were left must not be handed out after a failure";
  EXPECT_EQ(reader.remaining(), 0U);
  EXPECT_FALSE(reader.finished());
}

TEST(ByteReader, TakeNeverWrapsOnHugeSizes) {
  ByteReader reader(one_to_eight);
  reader.skip(4);
  EXPECT_TRUE(reader.take(SIZE_MAX - 2).empty());
  EXPECT_FALSE(reader.ok());
}

TEST(ByteReader, TakeZeroAtTheEndIsFine) {
  ByteReader reader(one_to_eight);
  EXPECT_EQ(reader.rest().size(), 8U);
  EXPECT_TRUE(reader.take(0).empty());
  EXPECT_TRUE(reader.finished());
}

}  // namespace
}  // namespace tillbridge
