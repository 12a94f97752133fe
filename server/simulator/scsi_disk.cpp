#include "server/simulator/scsi_disk.hpp"

#include <algorithm>
#include <utility>

#include "channel/bytes/writer.hpp"

namespace tillbridge::simulator {
namespace {

namespace scsi = massstorage::scsi;
namespace operation = massstorage::scsi::operation;
namespace sense = massstorage::scsi::sense;
using massstorage::Cdb;
using massstorage::DataDirection;

/// A piece of the medium handled at once.
constexpr std::size_t piece_blocks = 64;

void write_padded(ByteWriter& writer, const std::string& text, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    writer.u8(i < text.size() ? static_cast<std::uint8_t>(text[i]) : std::uint8_t{' '});
  }
}

Bytes ascii(const std::string& text) {
  return {text.begin(), text.end()};
}

/// Commands that are carried out while a unit attention waits (SPC-4, 5.14).
bool ignores_unit_attention(std::uint8_t op) {
  return op == operation::inquiry || op == operation::report_luns || op == operation::request_sense;
}

/// Caching mode page (SBC-3, 6.5.5): write cache disabled, everything is on the medium when a WRITE
/// has ended.
void write_caching_page(ByteWriter& writer) {
  writer.u8(0x08);  // page code
  writer.u8(0x12);  // page length
  writer.zeros(0x12);
}

}  // namespace

ScsiDisk::Intent ScsiDisk::start(const Cdb& cdb, std::uint8_t lun) {
  abandon();
  const Intent intent = dispatch(cdb, lun);
  if (intent.length == 0) return {};
  return intent;
}

ScsiDisk::Intent ScsiDisk::dispatch(const Cdb& cdb, std::uint8_t lun) {
  const std::uint8_t op = cdb.operation();
  if (op != operation::request_sense) sense_ = sense::none;  // kept for one command only
  if (lun != 0) return other_lun(cdb);
  if (unit_attention_ && !ignores_unit_attention(op)) {
    return refuse(*std::exchange(unit_attention_, std::nullopt));
  }

  switch (op) {
    case operation::test_unit_ready:
    case operation::request_sense:
    case operation::read_6:
    case operation::write_6:
    case operation::inquiry:
    case operation::mode_sense_6:
    case operation::start_stop_unit:
    case operation::prevent_medium_removal:
    case operation::read_format_capacities:
    case operation::read_capacity_10:
    case operation::read_10:
    case operation::write_10:
    case operation::verify_10:
    case operation::synchronize_cache_10:
    case operation::mode_sense_10:
    case operation::report_luns:
    case operation::read_12:
    case operation::write_12:
      break;
    default:
      return refuse(sense::invalid_operation);
  }
  if (cdb.length < scsi::cdb_size(op)) return refuse(sense::invalid_field);
  if (const auto command = scsi::parse_block_command(cdb)) return blocks(*command);

  switch (op) {
    case operation::test_unit_ready:
      return ejected_ ? refuse(sense::not_ready_no_medium) : Intent{};
    case operation::request_sense:
      return request_sense(cdb);
    case operation::inquiry:
      return inquiry(cdb);
    case operation::mode_sense_6:
    case operation::mode_sense_10:
      return mode_sense(cdb);
    case operation::start_stop_unit:
      return start_stop(cdb);
    case operation::prevent_medium_removal:
      return prevent_removal(cdb);
    case operation::read_format_capacities:
      return read_format_capacities(cdb);
    case operation::read_capacity_10:
      return read_capacity(cdb);
    default:
      return report_luns(cdb);
  }
}

ScsiDisk::Intent ScsiDisk::refuse(scsi::Sense sense) {
  fail_with(sense);
  return {};
}

ScsiDisk::Intent ScsiDisk::reply(Bytes bytes, std::uint64_t allocation_length) {
  bytes.resize(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), allocation_length)));
  buffer_ = std::move(bytes);
  job_ = Job::reply;
  return {DataDirection::in, buffer_.size()};
}

ScsiDisk::Intent ScsiDisk::blocks(const scsi::BlockCommand& command) {
  using Kind = scsi::BlockCommand::Kind;
  if (ejected_) return refuse(sense::not_ready_no_medium);
  const std::uint64_t size = medium_.block_count();
  if (command.block > size || command.count > size - command.block) {
    return refuse(sense::block_out_of_range);
  }
  if (command.kind == Kind::synchronize) {
    if (!medium_.flush()) return refuse(sense::write_error);
    return {};
  }
  if (command.block == size) return refuse(sense::block_out_of_range);
  if ((command.flags & scsi::mask_protection) != 0) return refuse(sense::invalid_field);
  if (command.kind == Kind::write && identity_.write_protected) {
    return refuse(sense::write_protected);
  }
  const bool compares = (command.flags & scsi::flag_byte_check) != 0;
  if (command.kind == Kind::verify && !compares) return {};

  next_block_ = command.block;
  blocks_left_ = command.count;
  const std::uint64_t length = std::uint64_t{command.count} * block_bytes;
  switch (command.kind) {
    case Kind::read:
      job_ = Job::read;
      return {DataDirection::in, length};
    case Kind::write:
      job_ = Job::write;
      flush_at_end_ = (command.flags & scsi::flag_force_unit_access) != 0;
      return {DataDirection::out, length};
    default:
      job_ = Job::verify;
      return {DataDirection::out, length};
  }
}

void ScsiDisk::produce(std::size_t size, Bytes& data) {
  while (size > 0 && !failed_) {
    if (buffer_position_ == buffer_.size()) {
      if (job_ != Job::read || blocks_left_ == 0) return;
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(
          blocks_left_, std::clamp<std::size_t>(size / block_bytes, 1, piece_blocks)));
      buffer_.resize(count * block_bytes);
      buffer_position_ = 0;
      if (!medium_.read(next_block_, buffer_)) {
        buffer_.clear();
        fail_with(sense::unrecovered_read_error);
        return;
      }
      next_block_ += count;
      blocks_left_ -= count;
    }
    const std::size_t count = std::min(size, buffer_.size() - buffer_position_);
    const ByteView part = ByteView(buffer_).subspan(buffer_position_, count);
    data.insert(data.end(), part.begin(), part.end());
    buffer_position_ += count;
    processed_ += count;
    size -= count;
  }
}

void ScsiDisk::consume(ByteView data) {
  if (!buffer_.empty()) {  // the beginning of a block from the transfer before
    const ByteView part = data.first(std::min(data.size(), block_bytes - buffer_.size()));
    buffer_.insert(buffer_.end(), part.begin(), part.end());
    data = data.subspan(part.size());
    if (buffer_.size() < block_bytes) return;
    apply(buffer_);
    buffer_.clear();
  }
  const std::size_t whole = data.size() - data.size() % block_bytes;
  apply(data.first(whole));
  const ByteView rest = data.subspan(whole);
  buffer_.assign(rest.begin(), rest.end());
  if (blocks_left_ == 0 && flush_at_end_ && !failed_ && !medium_.flush()) {
    fail_with(sense::write_error);
  }
}

void ScsiDisk::apply(ByteView blocks) {
  Bytes present;
  while (!blocks.empty() && blocks_left_ > 0 && !failed_) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(
        {blocks.size() / block_bytes, blocks_left_, std::uint64_t{piece_blocks}}));
    const ByteView part = blocks.first(count * block_bytes);
    if (job_ == Job::write) {
      if (!medium_.write(next_block_, part)) return fail_with(sense::write_error);
    } else {
      present.resize(part.size());
      if (!medium_.read(next_block_, present)) return fail_with(sense::unrecovered_read_error);
      if (!std::equal(part.begin(), part.end(), present.begin())) {
        return fail_with(sense::miscompare);
      }
    }
    next_block_ += count;
    blocks_left_ -= count;
    processed_ += part.size();
    blocks = blocks.subspan(part.size());
  }
}

void ScsiDisk::cut_short() {
  if (!failed_) fail_with(sense::data_phase_error);
}

void ScsiDisk::abandon() {
  job_ = Job::nothing;
  failed_ = flush_at_end_ = false;
  processed_ = next_block_ = blocks_left_ = 0;
  buffer_.clear();
  buffer_position_ = 0;
}

void ScsiDisk::reset() {
  abandon();
  sense_ = sense::none;
  unit_attention_ = sense::reset_occurred;
  removal_prevented_ = false;
}

void ScsiDisk::fail_with(scsi::Sense sense) {
  failed_ = true;
  sense_ = sense;
}

ScsiDisk::Intent ScsiDisk::request_sense(const Cdb& cdb) {
  if ((cdb.bytes[1] & 1U) != 0) return refuse(sense::invalid_field);  // DESC: fixed format only
  scsi::Sense told = std::exchange(sense_, sense::none);
  if (told == sense::none && unit_attention_) told = *std::exchange(unit_attention_, std::nullopt);
  return reply(scsi::encode(told), cdb.bytes[4]);
}

ScsiDisk::Intent ScsiDisk::other_lun(const Cdb& cdb) {
  // The two commands that find out whether there is such a unit do not fail (SPC-4, 5.8.4).
  if (cdb.operation() == operation::request_sense && cdb.length >= 6) {
    return reply(scsi::encode(sense::lun_not_supported), cdb.bytes[4]);
  }
  if (cdb.operation() == operation::inquiry && cdb.length >= 6) {
    Bytes nobody(scsi::InquiryReply::size);
    nobody[0] = 0x7F;  // no device can be here
    nobody[4] = scsi::InquiryReply::size - 5;
    return reply(std::move(nobody), cdb.bytes[4]);
  }
  return refuse(sense::lun_not_supported);
}

ScsiDisk::Intent ScsiDisk::inquiry(const Cdb& cdb) {
  ByteReader reader(cdb.view());
  reader.skip(1);
  const bool vital_product_data = (reader.u8() & 1U) != 0;
  const std::uint8_t page = reader.u8();
  const std::uint16_t allocation_length = reader.u16be();

  ByteWriter writer;
  if (!vital_product_data) {
    if (page != 0) return refuse(sense::invalid_field);
    writer.u8(0x00);                          // direct-access block device
    writer.u8(0x80);                          // removable
    writer.u8(0x04);                          // SPC-2
    writer.u8(0x02);                          // response data format
    writer.u8(scsi::InquiryReply::size - 5);  // additional length
    writer.zeros(3);
    write_padded(writer, identity_.vendor, 8);
    write_padded(writer, identity_.product, 16);
    write_padded(writer, identity_.revision, 4);
    return reply(writer.finish(), allocation_length);
  }

  writer.u8(0x00);  // direct-access block device
  writer.u8(page);
  writer.u8(0);
  switch (page) {
    case 0x00:  // supported pages
      writer.u8(3);
      writer.bytes(Bytes{0x00, 0x80, 0x83});
      break;
    case 0x80:  // unit serial number
      writer.u8(static_cast<std::uint8_t>(identity_.serial.size()));
      writer.bytes(ascii(identity_.serial));
      break;
    case 0x83: {  // device identification: one T10 vendor id designator (SPC-4, 7.8.5.4)
      constexpr std::size_t designator_header = 4;
      const std::size_t size = 8 + 16 + identity_.serial.size();
      writer.u8(static_cast<std::uint8_t>(designator_header + size));
      writer.u8(0x02);  // ASCII
      writer.u8(0x01);  // of the logical unit, T10 vendor id based
      writer.u8(0);
      writer.u8(static_cast<std::uint8_t>(size));
      write_padded(writer, identity_.vendor, 8);
      write_padded(writer, identity_.product, 16);
      writer.bytes(ascii(identity_.serial));
      break;
    }
    default:
      return refuse(sense::invalid_field);
  }
  return reply(writer.finish(), allocation_length);
}

ScsiDisk::Intent ScsiDisk::mode_sense(const Cdb& cdb) {
  constexpr std::uint8_t page_caching = 0x08, page_all = 0x3F, subpage_all = 0xFF;
  constexpr std::uint8_t control_saved = 3;
  ByteReader reader(cdb.view());
  const bool ten = reader.u8() == operation::mode_sense_10;
  reader.skip(1);
  const std::uint8_t page_field = reader.u8();
  const std::uint8_t subpage = reader.u8();
  if (ten) reader.skip(3);
  const std::uint16_t allocation_length = ten ? reader.u16be() : reader.u8();
  const std::uint8_t page = page_field & 0x3FU;

  if ((page_field >> 6U) == control_saved) return refuse(sense::saving_parameters_not_supported);
  if (page != page_caching && page != page_all) return refuse(sense::invalid_field);
  if (subpage != 0 && !(page == page_all && subpage == subpage_all)) {
    return refuse(sense::invalid_field);
  }
  ByteWriter pages;
  write_caching_page(pages);  // nothing in it can be changed, so every page control gets the same

  const std::uint8_t device_specific = identity_.write_protected ? 0x80 : 0x00;  // DPOFUA 0
  ByteWriter writer;
  if (ten) {
    writer.u16be(static_cast<std::uint16_t>(6 + pages.size()));  // bytes after this field
    writer.u8(0);                                                // medium type
    writer.u8(device_specific);
    writer.zeros(4);  // reserved, no block descriptors
  } else {
    writer.u8(static_cast<std::uint8_t>(3 + pages.size()));
    writer.u8(0);
    writer.u8(device_specific);
    writer.u8(0);
  }
  writer.bytes(pages.view());
  return reply(writer.finish(), allocation_length);
}

ScsiDisk::Intent ScsiDisk::start_stop(const Cdb& cdb) {
  const std::uint8_t flags = cdb.bytes[4];
  const bool load_or_eject = (flags & 2U) != 0, start = (flags & 1U) != 0;
  const bool power_condition = (flags & 0xF0U) != 0;
  if (power_condition || !load_or_eject) return {};  // there is no motor to stop
  if (!start) {
    if (removal_prevented_) return refuse(sense::medium_removal_prevented);
    ejected_ = true;
  } else if (ejected_) {
    ejected_ = false;
    unit_attention_ = sense::medium_changed;
  }
  return {};
}

ScsiDisk::Intent ScsiDisk::prevent_removal(const Cdb& cdb) {
  if (ejected_) return refuse(sense::not_ready_no_medium);
  removal_prevented_ = (cdb.bytes[4] & 1U) != 0;
  return {};
}

ScsiDisk::Intent ScsiDisk::read_format_capacities(const Cdb& cdb) {
  ByteReader reader(cdb.view());
  reader.skip(7);
  const std::uint16_t allocation_length = reader.u16be();
  constexpr std::uint32_t formatted = 2U << 24U, no_medium = 3U << 24U;
  ByteWriter writer;
  writer.zeros(3);
  writer.u8(8);  // one descriptor
  writer.u32be(static_cast<std::uint32_t>(medium_.block_count()));
  writer.u32be((ejected_ ? no_medium : formatted) | block_bytes);
  return reply(writer.finish(), allocation_length);
}

ScsiDisk::Intent ScsiDisk::read_capacity(const Cdb& cdb) {
  ByteReader reader(cdb.view());
  reader.skip(2);
  const std::uint32_t block = reader.u32be();
  reader.skip(2);
  const bool partial = (reader.u8() & 1U) != 0;
  if (ejected_) return refuse(sense::not_ready_no_medium);
  if (block != 0 && !partial) return refuse(sense::invalid_field);
  ByteWriter writer;
  writer.u32be(static_cast<std::uint32_t>(medium_.block_count() - 1));
  writer.u32be(block_bytes);
  return reply(writer.finish(), scsi::Capacity::size);
}

ScsiDisk::Intent ScsiDisk::report_luns(const Cdb& cdb) {
  ByteReader reader(cdb.view());
  reader.skip(2);
  const std::uint8_t select = reader.u8();
  reader.skip(3);
  const std::uint32_t allocation_length = reader.u32be();
  constexpr std::uint32_t smallest_allowed = 16;
  constexpr std::uint8_t well_known_only = 1, all = 2;
  if (select > all || allocation_length < smallest_allowed) return refuse(sense::invalid_field);
  ByteWriter writer;
  writer.u32be(select == well_known_only ? 0 : 8);  // bytes of the list
  writer.u32be(0);
  if (select != well_known_only) writer.u64be(0);  // LUN 0
  return reply(writer.finish(), allocation_length);
}

}  // namespace tillbridge::simulator
