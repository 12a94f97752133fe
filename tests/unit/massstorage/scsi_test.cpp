#include "channel/massstorage/scsi.hpp"

#include <gtest/gtest.h>

namespace tillbridge::massstorage::scsi {
namespace {

Bytes bytes_of(const Cdb& cdb) {
  return {cdb.view().begin(), cdb.view().end()};
}

TEST(Cdb, AsTheStandardsWriteThem) {
  EXPECT_EQ(bytes_of(test_unit_ready()), (Bytes{0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(bytes_of(request_sense()), (Bytes{0x03, 0, 0, 0, 18, 0}));
  EXPECT_EQ(bytes_of(inquiry(0x0124)), (Bytes{0x12, 0, 0, 0x01, 0x24, 0}));
  EXPECT_EQ(bytes_of(inquiry_page(0x80, 255)), (Bytes{0x12, 1, 0x80, 0, 255, 0}));
  EXPECT_EQ(bytes_of(mode_sense_6(0x3F, 192)), (Bytes{0x1A, 0, 0x3F, 0, 192, 0}));
  EXPECT_EQ(bytes_of(mode_sense_10(0x08, 256)), (Bytes{0x5A, 0, 8, 0, 0, 0, 0, 1, 0, 0}));
  EXPECT_EQ(bytes_of(start_stop_unit(false, true)), (Bytes{0x1B, 0, 0, 0, 2, 0}));
  EXPECT_EQ(bytes_of(start_stop_unit(true, false)), (Bytes{0x1B, 0, 0, 0, 1, 0}));
  EXPECT_EQ(bytes_of(prevent_medium_removal(true)), (Bytes{0x1E, 0, 0, 0, 1, 0}));
  EXPECT_EQ(bytes_of(read_format_capacities(252)), (Bytes{0x23, 0, 0, 0, 0, 0, 0, 0, 252, 0}));
  EXPECT_EQ(bytes_of(read_capacity_10()), (Bytes{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(bytes_of(report_luns(16)), (Bytes{0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0}));
  EXPECT_EQ(bytes_of(read_10(0x01020304, 0x0506)), (Bytes{0x28, 0, 1, 2, 3, 4, 0, 5, 6, 0}));
  EXPECT_EQ(bytes_of(write_10(0x01020304, 0x0506)), (Bytes{0x2A, 0, 1, 2, 3, 4, 0, 5, 6, 0}));
  EXPECT_EQ(bytes_of(verify_10(1, 2, true)), (Bytes{0x2F, 2, 0, 0, 0, 1, 0, 0, 2, 0}));
  EXPECT_EQ(bytes_of(synchronize_cache_10()), (Bytes{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(bytes_of(read_6(0x1F0203, 256)), (Bytes{0x08, 0x1F, 2, 3, 0, 0}));
  EXPECT_EQ(bytes_of(write_6(0x1F0203, 1)), (Bytes{0x0A, 0x1F, 2, 3, 1, 0}));
  EXPECT_EQ(bytes_of(read_12(0x01020304, 0x05060708)),
            (Bytes{0xA8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0}));
  EXPECT_EQ(bytes_of(write_16(0x0102030405060708, 9)),
            (Bytes{0x8A, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 0, 0}));
}

TEST(BlockCommand, EveryFormIsReadBack) {
  using Kind = BlockCommand::Kind;
  EXPECT_EQ(parse_block_command(read_6(0x1F0203, 256)),
            (BlockCommand{Kind::read, 0x1F0203, 256, 0}));
  EXPECT_EQ(parse_block_command(write_6(3, 7)), (BlockCommand{Kind::write, 3, 7, 0}));
  EXPECT_EQ(parse_block_command(read_10(0xFFFFFFFF, 0)),
            (BlockCommand{Kind::read, 0xFFFFFFFF, 0, 0}));
  EXPECT_EQ(parse_block_command(write_10(5, 65535)), (BlockCommand{Kind::write, 5, 65535, 0}));
  EXPECT_EQ(parse_block_command(read_12(5, 0x10000)), (BlockCommand{Kind::read, 5, 0x10000, 0}));
  EXPECT_EQ(parse_block_command(write_16(0x100000000, 2)),
            (BlockCommand{Kind::write, 0x100000000, 2, 0}));
  EXPECT_EQ(parse_block_command(verify_10(5, 6, true)),
            (BlockCommand{Kind::verify, 5, 6, flag_byte_check}));
  EXPECT_EQ(parse_block_command(synchronize_cache_10()),
            (BlockCommand{Kind::synchronize, 0, 0, 0}));
}

TEST(BlockCommand, OtherAndShortenedCommandsAreNone) {
  EXPECT_EQ(parse_block_command(inquiry(36)), std::nullopt);
  EXPECT_EQ(parse_block_command(read_capacity_10()), std::nullopt);
  Cdb cdb = read_10(1, 1);
  cdb.length = 9;
  EXPECT_EQ(parse_block_command(cdb), std::nullopt);
}

TEST(Sense, FixedFormatRoundTrip) {
  const Bytes bytes = encode(sense::invalid_operation);
  EXPECT_EQ(bytes, (Bytes{0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0}));
  const auto parsed = parse_sense(bytes);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, sense::invalid_operation);
}

TEST(Sense, DescriptorFormatIsRead) {
  const auto parsed = parse_sense(Bytes{0x72, 0x06, 0x29, 0x00});
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, sense::reset_occurred);
}

TEST(Sense, TooShortOrUnknownIsAnError) {
  Bytes bytes = encode(sense::invalid_operation);
  bytes.resize(13);
  EXPECT_FALSE(parse_sense(bytes).ok());
  EXPECT_FALSE(parse_sense({}).ok());
  EXPECT_FALSE(parse_sense(Bytes(18, 0)).ok());
}

TEST(Sense, SaysWhatItMeans) {
  EXPECT_EQ(sense::invalid_operation.text(), "05/20/00 invalid command operation code");
  EXPECT_EQ((Sense{0x04, 0x44, 0xAB}.text()), "04/44/AB");
}

TEST(Inquiry, NamesWithoutPadding) {
  Bytes bytes{0x00, 0x80, 4, 2, 31, 0, 0, 0};
  for (const char c : std::string("ACME    TSE stick       1.07")) {
    bytes.push_back(static_cast<std::uint8_t>(c));
  }
  const auto reply = parse_inquiry(bytes);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(*reply, (InquiryReply{0, true, 4, "ACME", "TSE stick", "1.07"}));
  bytes.pop_back();
  EXPECT_FALSE(parse_inquiry(bytes).ok());
}

TEST(Capacity, CountsBlocksAndRefusesOddSizes) {
  const auto capacity = parse_capacity(Bytes{0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 2, 0});
  ASSERT_TRUE(capacity.ok());
  EXPECT_EQ(*capacity, (Capacity{0x100000000, 512}));
  EXPECT_FALSE(parse_capacity(Bytes{0, 0, 0, 9, 0, 0, 0, 0}).ok()) << "blocks of 0 bytes";
  EXPECT_FALSE(parse_capacity(Bytes{0, 0, 0, 9, 0, 0, 2, 1}).ok()) << "blocks of 513 bytes";
  EXPECT_FALSE(parse_capacity(Bytes{0, 0, 0, 9, 0, 2, 0, 0}).ok()) << "blocks of 128 KiB";
  EXPECT_FALSE(parse_capacity(Bytes{0, 0, 0, 9, 0, 0, 2}).ok());
}

}  // namespace
}  // namespace tillbridge::massstorage::scsi
