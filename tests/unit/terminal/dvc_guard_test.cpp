#include "server/terminal/rdp/dvc_guard.hpp"

#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::terminal {
namespace {

constexpr std::uint32_t only = DvcGuard::flag_first | DvcGuard::flag_last;

Bytes copy(const Result<std::optional<ByteView>>& result) {
  if (!result || !result.value()) return {};
  return Bytes(result.value()->begin(), result.value()->end());
}

TEST(DvcGuard, PassesConformingPdusUnchanged) {
  const std::vector<Bytes> pdus{
      {0x50, 0x00, 0x01, 0x00},                    // capabilities response, version 1
      {0x10, 0x03, 0x00, 0x00, 0x00, 0x00},        // create response, channel 3
      {0x30, 0x03, 0xAA, 0xBB},                    // data
      {0x30, 0x03},                                // data, empty
      {0x31, 0x03, 0x01, 0xAA},                    // data, 16-bit channel id
      {0x32, 0x03, 0x01, 0x00, 0x00, 0xAA},        // data, 32-bit channel id
      {0x24, 0x03, 0x00, 0x10, 0xAA},              // data first, 16-bit length 4096
      {0x28, 0x03, 0x00, 0x00, 0x10, 0x00, 0xAA},  // data first, 32-bit length 1 MiB
      {0x40, 0x03},                                // close
  };
  DvcGuard guard;
  for (const Bytes& pdu : pdus) EXPECT_EQ(copy(guard.chunk(pdu, only, pdu.size())), pdu);
}

TEST(DvcGuard, RefusesEveryTruncatedHeader) {
  const std::vector<Bytes> pdus{{0x50, 0x00, 0x01, 0x00},
                                {0x10, 0x03, 0x00, 0x00, 0x00, 0x00},
                                {0x32, 0x03, 0x01, 0x00, 0x00},
                                {0x28, 0x03, 0x00, 0x00, 0x10, 0x00},
                                {0x40, 0x03}};
  for (const Bytes& whole : pdus) {
    DvcGuard guard;
    EXPECT_TRUE(guard.chunk(whole, only, whole.size()).ok());
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      const auto result = guard.chunk(cut, only, cut.size());
      ASSERT_FALSE(result.ok()) << "first byte " << int{whole[0]} << " cut to " << size;
      EXPECT_EQ(result.error().code, ErrorCode::malformed);
    }
  }
}

TEST(DvcGuard, RefusesAnnouncementsAboveTheMessageLimit) {
  ByteWriter writer;
  writer.u8(0x28);
  writer.u8(3);
  writer.u32le(limits::rdpeusb_message_bytes + 1);
  writer.u8(0);
  const Bytes pdu = writer.finish();
  DvcGuard guard;
  const auto result = guard.chunk(pdu, only, pdu.size());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::limit);
}

TEST(DvcGuard, RefusesMoreDataThanAnnounced) {
  DvcGuard guard;
  const Bytes pdu{0x20, 0x03, 0x01, 0xAA, 0xBB};
  EXPECT_FALSE(guard.chunk(pdu, only, pdu.size()).ok());
}

TEST(DvcGuard, RefusesWhatWasNeverNegotiated) {
  DvcGuard guard;
  for (const unsigned command : {0U, 6U, 7U, 8U, 9U, 15U}) {
    const Bytes pdu{static_cast<std::uint8_t>(command << 4U), 0x03, 0, 0, 0, 0, 0, 0};
    EXPECT_FALSE(guard.chunk(pdu, only, pdu.size()).ok()) << command;
  }
  const Bytes bad_id{0x33, 0x03, 0, 0, 0, 0};
  EXPECT_FALSE(guard.chunk(bad_id, only, bad_id.size()).ok());
}

TEST(DvcGuard, TurnsACompleteDataFirstIntoData) {
  DvcGuard guard;
  const Bytes pdu{0x20, 0x03, 0x02, 0xAA, 0xBB};
  EXPECT_EQ(copy(guard.chunk(pdu, only, pdu.size())),
            (Bytes{0x32, 0x03, 0x00, 0x00, 0x00, 0xAA, 0xBB}));
}

TEST(DvcGuard, JoinsChunks) {
  const Bytes pdu{0x30, 0x03, 0xAA, 0xBB};
  DvcGuard guard;
  const ByteView view(pdu);
  EXPECT_TRUE(copy(guard.chunk(view.first(1), DvcGuard::flag_first, 4)).empty());
  EXPECT_TRUE(copy(guard.chunk(view.subspan(1, 2), 0, 4)).empty());
  EXPECT_EQ(copy(guard.chunk(view.last(1), DvcGuard::flag_last, 4)), pdu);
  EXPECT_EQ(copy(guard.chunk(pdu, only, 4)), pdu);
}

TEST(DvcGuard, RefusesChunksThatDoNotFitTogether) {
  const Bytes pdu{0x30, 0x03, 0xAA, 0xBB};
  const ByteView view(pdu);
  EXPECT_FALSE(DvcGuard().chunk(pdu, DvcGuard::flag_last, 4).ok()) << "nothing began";
  EXPECT_FALSE(DvcGuard().chunk(pdu, only, 5).ok()) << "shorter than it says";
  EXPECT_FALSE(DvcGuard().chunk(pdu, only, 3).ok()) << "longer than it says";
  EXPECT_FALSE(DvcGuard().chunk(pdu, only, limits::dynamic_channel_pdu_bytes + 1).ok());
  DvcGuard twice;
  EXPECT_TRUE(twice.chunk(view.first(2), DvcGuard::flag_first, 4).ok());
  EXPECT_FALSE(twice.chunk(view.first(2), DvcGuard::flag_first, 4).ok()) << "begins inside another";
  DvcGuard grows;
  EXPECT_TRUE(grows.chunk(pdu, DvcGuard::flag_first, 4).ok());
  EXPECT_FALSE(grows.chunk(view.first(1), 0, 4).ok()) << "more than announced";
  DvcGuard short_end;
  EXPECT_TRUE(short_end.chunk(view.first(2), DvcGuard::flag_first, 4).ok());
  EXPECT_FALSE(short_end.chunk(view.first(1), DvcGuard::flag_last, 4).ok());
}

}  // namespace
}  // namespace tillbridge::terminal
