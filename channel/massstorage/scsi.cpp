#include "channel/massstorage/scsi.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "channel/bytes/writer.hpp"

namespace tillbridge::massstorage::scsi {
namespace {

Cdb make(std::initializer_list<std::uint8_t> bytes) {
  Cdb cdb;
  std::copy(bytes.begin(), bytes.end(), cdb.bytes.begin());
  cdb.length = static_cast<std::uint8_t>(bytes.size());
  return cdb;
}

Cdb make(ByteWriter& writer) {
  Cdb cdb;
  const ByteView bytes = writer.view();
  std::copy(bytes.begin(), bytes.end(), cdb.bytes.begin());
  cdb.length = static_cast<std::uint8_t>(bytes.size());
  return cdb;
}

constexpr std::uint8_t high(std::uint16_t value) {
  return static_cast<std::uint8_t>(value >> 8U);
}
constexpr std::uint8_t low(std::uint16_t value) {
  return static_cast<std::uint8_t>(value & 0xFFU);
}

Cdb blocks_6(std::uint8_t operation, std::uint32_t block, std::uint16_t count) {
  return make({operation, static_cast<std::uint8_t>((block >> 16U) & 0x1FU),
               static_cast<std::uint8_t>((block >> 8U) & 0xFFU),
               static_cast<std::uint8_t>(block & 0xFFU), low(count), 0});
}

Cdb blocks_10(std::uint8_t operation, std::uint8_t flags, std::uint32_t block,
              std::uint16_t count) {
  ByteWriter writer(10);
  writer.u8(operation);
  writer.u8(flags);
  writer.u32be(block);
  writer.u8(0);
  writer.u16be(count);
  writer.u8(0);
  return make(writer);
}

Cdb blocks_12(std::uint8_t operation, std::uint32_t block, std::uint32_t count) {
  ByteWriter writer(12);
  writer.u8(operation);
  writer.u8(0);
  writer.u32be(block);
  writer.u32be(count);
  writer.zeros(2);
  return make(writer);
}

Cdb blocks_16(std::uint8_t operation, std::uint64_t block, std::uint32_t count) {
  ByteWriter writer(16);
  writer.u8(operation);
  writer.u8(0);
  writer.u64be(block);
  writer.u32be(count);
  writer.zeros(2);
  return make(writer);
}

std::string trimmed(ByteView text) {
  std::string result;
  for (const std::uint8_t c : text) {
    result.push_back(c >= 0x20 && c < 0x7F ? static_cast<char>(c) : '?');
  }
  result.erase(result.find_last_not_of(' ') + 1);
  return result;
}

std::string hex(std::uint8_t value) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  return {digits.at(value >> 4U), digits.at(value & 0x0FU)};
}

struct Meaning {
  Sense sense;
  std::string_view text;
};
constexpr std::array meanings{
    Meaning{sense::none, "no sense"},
    Meaning{sense::not_ready_no_medium, "medium not present"},
    Meaning{sense::write_error, "write error"},
    Meaning{sense::unrecovered_read_error, "unrecovered read error"},
    Meaning{sense::invalid_operation, "invalid command operation code"},
    Meaning{sense::block_out_of_range, "logical block address out of range"},
    Meaning{sense::invalid_field, "invalid field in command"},
    Meaning{sense::lun_not_supported, "logical unit not supported"},
    Meaning{sense::saving_parameters_not_supported, "saving parameters not supported"},
    Meaning{sense::medium_removal_prevented, "medium removal prevented"},
    Meaning{sense::medium_changed, "medium may have changed"},
    Meaning{sense::reset_occurred, "power on or reset occurred"},
    Meaning{sense::write_protected, "write protected"},
    Meaning{sense::data_phase_error, "data phase error"},
    Meaning{sense::miscompare, "miscompare during verify"},
};

}  // namespace

std::string Sense::text() const {
  std::string result = hex(key) + "/" + hex(code) + "/" + hex(qualifier);
  const auto* found = std::find_if(meanings.begin(), meanings.end(),
                                   [&](const Meaning& meaning) { return meaning.sense == *this; });
  if (found != meanings.end()) result.append(" ").append(found->text);
  return result;
}

Bytes encode(const Sense& sense) {
  ByteWriter writer(Sense::size);
  writer.u8(0x70);  // current error, fixed format
  writer.u8(0);
  writer.u8(sense.key);
  writer.u32be(0);             // information
  writer.u8(Sense::size - 8);  // additional length: bytes after this one
  writer.u32be(0);             // command-specific information
  writer.u8(sense.code);
  writer.u8(sense.qualifier);
  writer.zeros(4);  // field replaceable unit, sense-key specific
  return writer.finish();
}

Result<Sense> parse_sense(ByteView bytes) {
  ByteReader reader(bytes);
  const std::uint8_t response = reader.u8() & 0x7FU;
  Sense sense;
  if (response == 0x72 || response == 0x73) {
    sense.key = reader.u8() & 0x0FU;
    sense.code = reader.u8();
    sense.qualifier = reader.u8();
  } else if (response == 0x70 || response == 0x71) {
    reader.skip(1);
    sense.key = reader.u8() & 0x0FU;
    reader.skip(9);
    sense.code = reader.u8();
    sense.qualifier = reader.u8();
  } else {
    reader.fail();
  }
  if (!reader.ok())
    return fail(ErrorCode::malformed, "the sense data of the stick is not readable");
  return sense;
}

std::uint8_t cdb_size(std::uint8_t operation) {
  switch (operation >> 5U) {
    case 0:
      return 6;
    case 1:
    case 2:
      return 10;
    case 4:
      return 16;
    case 5:
      return 12;
    default:
      return 0;
  }
}

std::optional<BlockCommand> parse_block_command(const Cdb& cdb) {
  const std::uint8_t size = cdb_size(cdb.operation());
  if (size == 0 || cdb.length < size) return std::nullopt;

  using Kind = BlockCommand::Kind;
  BlockCommand command;
  switch (cdb.operation()) {
    case operation::read_6:
    case operation::read_10:
    case operation::read_12:
    case operation::read_16:
      command.kind = Kind::read;
      break;
    case operation::write_6:
    case operation::write_10:
    case operation::write_12:
    case operation::write_16:
      command.kind = Kind::write;
      break;
    case operation::verify_10:
      command.kind = Kind::verify;
      break;
    case operation::synchronize_cache_10:
      command.kind = Kind::synchronize;
      break;
    default:
      return std::nullopt;
  }

  ByteReader reader(cdb.view());
  reader.skip(1);
  command.flags = reader.u8();
  switch (size) {
    case 6: {
      command.block = (command.flags & 0x1FU) * std::uint64_t{0x10000};
      command.block += reader.u16be();
      command.flags = 0;
      const std::uint8_t count = reader.u8();
      command.count = count == 0 ? 256 : count;
      break;
    }
    case 10:
      command.block = reader.u32be();
      reader.skip(1);
      command.count = reader.u16be();
      break;
    case 12:
      command.block = reader.u32be();
      command.count = reader.u32be();
      break;
    default:
      command.block = reader.u64be();
      command.count = reader.u32be();
      break;
  }
  return command;
}

Cdb test_unit_ready() {
  return make({operation::test_unit_ready, 0, 0, 0, 0, 0});
}

Cdb request_sense(std::uint8_t allocation_length) {
  return make({operation::request_sense, 0, 0, 0, allocation_length, 0});
}

Cdb inquiry(std::uint16_t allocation_length) {
  return make({operation::inquiry, 0, 0, high(allocation_length), low(allocation_length), 0});
}

Cdb inquiry_page(std::uint8_t page, std::uint16_t allocation_length) {
  constexpr std::uint8_t vital_product_data = 1;
  return make({operation::inquiry, vital_product_data, page, high(allocation_length),
               low(allocation_length), 0});
}

Cdb mode_sense_6(std::uint8_t page, std::uint8_t allocation_length) {
  return make({operation::mode_sense_6, 0, page, 0, allocation_length, 0});
}

Cdb mode_sense_10(std::uint8_t page, std::uint16_t allocation_length) {
  return make({operation::mode_sense_10, 0, page, 0, 0, 0, 0, high(allocation_length),
               low(allocation_length), 0});
}

Cdb start_stop_unit(bool start, bool load_or_eject) {
  const auto flags = static_cast<std::uint8_t>((start ? 1U : 0U) | (load_or_eject ? 2U : 0U));
  return make({operation::start_stop_unit, 0, 0, 0, flags, 0});
}

Cdb prevent_medium_removal(bool prevent) {
  return make(
      {operation::prevent_medium_removal, 0, 0, 0, static_cast<std::uint8_t>(prevent ? 1 : 0), 0});
}

Cdb read_format_capacities(std::uint16_t allocation_length) {
  return make({operation::read_format_capacities, 0, 0, 0, 0, 0, 0, high(allocation_length),
               low(allocation_length), 0});
}

Cdb read_capacity_10() {
  return make({operation::read_capacity_10, 0, 0, 0, 0, 0, 0, 0, 0, 0});
}

Cdb report_luns(std::uint32_t allocation_length) {
  ByteWriter writer(12);
  writer.u8(operation::report_luns);
  writer.zeros(5);
  writer.u32be(allocation_length);
  writer.zeros(2);
  return make(writer);
}

Cdb read_10(std::uint32_t block, std::uint16_t count) {
  return blocks_10(operation::read_10, 0, block, count);
}
Cdb write_10(std::uint32_t block, std::uint16_t count) {
  return blocks_10(operation::write_10, 0, block, count);
}
Cdb verify_10(std::uint32_t block, std::uint16_t count, bool compare_bytes) {
  return blocks_10(operation::verify_10, compare_bytes ? flag_byte_check : std::uint8_t{0}, block,
                   count);
}
Cdb synchronize_cache_10() {
  return blocks_10(operation::synchronize_cache_10, 0, 0, 0);
}
Cdb read_6(std::uint32_t block, std::uint16_t count) {
  return blocks_6(operation::read_6, block, count);
}
Cdb write_6(std::uint32_t block, std::uint16_t count) {
  return blocks_6(operation::write_6, block, count);
}
Cdb read_12(std::uint32_t block, std::uint32_t count) {
  return blocks_12(operation::read_12, block, count);
}
Cdb write_12(std::uint32_t block, std::uint32_t count) {
  return blocks_12(operation::write_12, block, count);
}
Cdb read_16(std::uint64_t block, std::uint32_t count) {
  return blocks_16(operation::read_16, block, count);
}
Cdb write_16(std::uint64_t block, std::uint32_t count) {
  return blocks_16(operation::write_16, block, count);
}

Result<InquiryReply> parse_inquiry(ByteView bytes) {
  ByteReader reader(bytes);
  InquiryReply reply;
  reply.device_type = reader.u8() & 0x1FU;
  reply.removable = (reader.u8() & 0x80U) != 0;
  reply.version = reader.u8();
  reader.skip(5);
  reply.vendor = trimmed(reader.take(8));
  reply.product = trimmed(reader.take(16));
  reply.revision = trimmed(reader.take(4));
  if (!reader.ok()) {
    return fail(ErrorCode::malformed,
                "an INQUIRY reply has 36 bytes, the stick sent " + std::to_string(bytes.size()));
  }
  return reply;
}

Result<Capacity> parse_capacity(ByteView bytes) {
  ByteReader reader(bytes);
  const std::uint32_t last_block = reader.u32be();
  Capacity capacity;
  capacity.block_size = reader.u32be();
  if (!reader.ok()) {
    return fail(ErrorCode::malformed, "a READ CAPACITY reply has 8 bytes, the stick sent " +
                                          std::to_string(bytes.size()));
  }
  const bool power_of_two = (capacity.block_size & (capacity.block_size - 1U)) == 0;
  if (capacity.block_size == 0 || !power_of_two || capacity.block_size > (64U << 10U)) {
    return fail(ErrorCode::malformed,
                "the stick claims blocks of " + std::to_string(capacity.block_size) + " bytes");
  }
  capacity.block_count = std::uint64_t{last_block} + 1;
  return capacity;
}

}  // namespace tillbridge::massstorage::scsi
