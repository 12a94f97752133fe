#include "channel/massstorage/command_block.hpp"

#include <gtest/gtest.h>

#include "channel/massstorage/scsi.hpp"

namespace tillbridge::massstorage {
namespace {

CommandBlock read_eight_blocks() {
  CommandBlock block;
  block.tag = 0x11223344;
  block.data_length = 4096;
  block.flags = CommandBlock::flag_in;
  block.cdb = scsi::read_10(0x01020304, 8);
  return block;
}

const Bytes read_eight_blocks_bytes{'U',  'S',  'B',  'C',   // signature
                                    0x44, 0x33, 0x22, 0x11,  // tag
                                    0x00, 0x10, 0x00, 0x00,  // data length
                                    0x80, 0x00, 10,          // flags, LUN, length of the command
                                    0x28, 0,    1,    2,    3, 4, 0, 0, 8, 0,  // READ(10)
                                    0,    0,    0,    0,    0, 0};

TEST(CommandBlock, EncodesAsInTheSpecification) {
  EXPECT_EQ(encode(read_eight_blocks()), read_eight_blocks_bytes);
  EXPECT_EQ(read_eight_blocks_bytes.size(), CommandBlock::size);
}

TEST(CommandBlock, ParsesWhatItEncodes) {
  const auto parsed = parse_command_block(read_eight_blocks_bytes);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(*parsed, read_eight_blocks());
}

TEST(CommandBlock, BytesPastTheCommandMeanNothing) {
  Bytes bytes = read_eight_blocks_bytes;
  bytes.back() = 0xAA;
  const auto parsed = parse_command_block(bytes);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, read_eight_blocks());
}

struct Damage {
  std::size_t position;
  std::uint8_t value;
  const char* what;
};

TEST(CommandBlock, RefusesWhatIsNotValidOrNotMeaningful) {
  for (const Damage& damage :
       {Damage{0, 'X', "signature"}, Damage{3, 'S', "signature of a CSW"},
        Damage{12, 0x81, "reserved flag"}, Damage{12, 0x40, "obsolete flag"},
        Damage{13, 0x10, "reserved LUN bits"}, Damage{14, 0, "no command"},
        Damage{14, 17, "command too long"}, Damage{14, 0x2A, "reserved length bits"}}) {
    Bytes bytes = read_eight_blocks_bytes;
    bytes[damage.position] = damage.value;
    EXPECT_FALSE(parse_command_block(bytes).ok()) << damage.what;
  }
}

TEST(CommandBlock, HasExactly31Bytes) {
  Bytes bytes = read_eight_blocks_bytes;
  bytes.push_back(0);
  EXPECT_FALSE(parse_command_block(bytes).ok());
  bytes.resize(30);
  EXPECT_FALSE(parse_command_block(bytes).ok());
  EXPECT_FALSE(parse_command_block({}).ok());
}

TEST(CommandBlock, WithoutDataTheDirectionFlagMeansNothing) {
  CommandBlock block = read_eight_blocks();
  EXPECT_EQ(block.direction(), DataDirection::in);
  block.flags = 0;
  EXPECT_EQ(block.direction(), DataDirection::out);
  block.data_length = 0;
  EXPECT_EQ(block.direction(), DataDirection::none);
  block.flags = CommandBlock::flag_in;
  EXPECT_EQ(block.direction(), DataDirection::none);
}

const Bytes passed_bytes{'U', 'S', 'B', 'S', 0x44, 0x33, 0x22, 0x11, 0x00, 0x02, 0, 0, 0x01};

TEST(StatusBlock, EncodesAndParsesAsInTheSpecification) {
  const StatusBlock block{0x11223344, 512, CommandStatus::failed};
  EXPECT_EQ(encode(block), passed_bytes);
  const auto parsed = parse_status_block(passed_bytes, read_eight_blocks());
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(*parsed, block);
}

TEST(StatusBlock, RefusesWhatIsNotTheStatusOfTheCommand) {
  for (const Damage& damage :
       {Damage{0, 'X', "signature"}, Damage{3, 'C', "signature of a CBW"}, Damage{4, 0, "tag"},
        Damage{7, 0, "tag, highest byte"}, Damage{12, 3, "unknown status"},
        Damage{10, 1, "residue above what was expected"}}) {
    Bytes bytes = passed_bytes;
    bytes[damage.position] = damage.value;
    EXPECT_FALSE(parse_status_block(bytes, read_eight_blocks()).ok()) << damage.what;
  }
  Bytes bytes = passed_bytes;
  bytes.push_back(0);
  EXPECT_FALSE(parse_status_block(bytes, read_eight_blocks()).ok());
  bytes.resize(12);
  EXPECT_FALSE(parse_status_block(bytes, read_eight_blocks()).ok());
}

TEST(StatusBlock, AfterAPhaseErrorTheResidueMeansNothing) {
  Bytes bytes = passed_bytes;
  bytes[11] = 0xFF;
  bytes[12] = 2;
  const auto parsed = parse_status_block(bytes, read_eight_blocks());
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->status, CommandStatus::phase_error);
}

}  // namespace
}  // namespace tillbridge::massstorage
