#include "channel/bytes/writer.hpp"

#include <gtest/gtest.h>

namespace tillbridge {
namespace {

TEST(ByteWriter, WritesBothByteOrders) {
  ByteWriter writer;
  writer.u8(1);
  writer.u16le(0x0302);
  writer.u32be(0x04050607);
  writer.u64le(0x0F0E0D0C0B0A0908);
  writer.zeros(2);
  EXPECT_EQ(writer.finish(), (Bytes{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 0}));
  EXPECT_EQ(writer.size(), 0U);
}

TEST(ByteWriter, PatchesWhatWasNotKnownYet) {
  ByteWriter writer;
  writer.u16le(0);
  writer.u32le(0);
  writer.u32be(0);
  writer.patch_u16le(0, 0x1234);
  writer.patch_u32le(2, 0x89ABCDEF);
  writer.patch_u32be(6, 0x01020304);
  EXPECT_EQ(writer.finish(), (Bytes{0x34, 0x12, 0xEF, 0xCD, 0xAB, 0x89, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace tillbridge
