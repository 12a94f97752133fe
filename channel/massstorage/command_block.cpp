#include "channel/massstorage/command_block.hpp"

#include <algorithm>

#include "channel/bytes/writer.hpp"

namespace tillbridge::massstorage {

DataDirection CommandBlock::direction() const noexcept {
  if (data_length == 0) return DataDirection::none;
  return (flags & flag_in) != 0 ? DataDirection::in : DataDirection::out;
}

Bytes encode(const CommandBlock& block) {
  ByteWriter writer(CommandBlock::size);
  writer.u32le(CommandBlock::signature);
  writer.u32le(block.tag);
  writer.u32le(block.data_length);
  writer.u8(block.flags);
  writer.u8(block.lun);
  writer.u8(block.cdb.length);
  writer.bytes(block.cdb.bytes);
  return writer.finish();
}

Bytes encode(const StatusBlock& block) {
  ByteWriter writer(StatusBlock::size);
  writer.u32le(StatusBlock::signature);
  writer.u32le(block.tag);
  writer.u32le(block.residue);
  writer.u8(static_cast<std::uint8_t>(block.status));
  return writer.finish();
}

Result<CommandBlock> parse_command_block(ByteView bytes) {
  ByteReader reader(bytes);
  const std::uint32_t signature = reader.u32le();
  CommandBlock block;
  block.tag = reader.u32le();
  block.data_length = reader.u32le();
  block.flags = reader.u8();
  block.lun = reader.u8();
  block.cdb.length = reader.u8();
  const ByteView cdb = reader.take(Cdb::max_size);
  if (!reader.finished()) {
    return fail(ErrorCode::malformed, "a command block wrapper has 31 bytes, this one has " +
                                          std::to_string(bytes.size()));
  }
  if (signature != CommandBlock::signature) {
    return fail(ErrorCode::malformed, "command block wrapper without the signature USBC");
  }
  if ((block.flags & ~CommandBlock::flag_in) != 0 || (block.lun & 0xF0U) != 0) {
    return fail(ErrorCode::malformed, "command block wrapper with reserved bits set");
  }
  if (block.cdb.length == 0 || block.cdb.length > Cdb::max_size) {
    return fail(ErrorCode::malformed, "command block wrapper with " +
                                          std::to_string(block.cdb.length) + " command bytes");
  }
  // Bytes past the length mean nothing (5.1); left out so that two equal commands compare equal.
  std::copy_n(cdb.begin(), block.cdb.length, block.cdb.bytes.begin());
  return block;
}

Result<StatusBlock> parse_status_block(ByteView bytes, const CommandBlock& command) {
  ByteReader reader(bytes);
  const std::uint32_t signature = reader.u32le();
  StatusBlock block;
  block.tag = reader.u32le();
  block.residue = reader.u32le();
  const std::uint8_t status = reader.u8();
  if (!reader.finished()) {
    return fail(ErrorCode::malformed, "a command status wrapper has 13 bytes, this one has " +
                                          std::to_string(bytes.size()));
  }
  if (signature != StatusBlock::signature) {
    return fail(ErrorCode::malformed, "command status wrapper without the signature USBS");
  }
  if (block.tag != command.tag) {
    return fail(ErrorCode::protocol, "command status wrapper of another command");
  }
  if (status > static_cast<std::uint8_t>(CommandStatus::phase_error)) {
    return fail(ErrorCode::malformed,
                "command status wrapper with unknown status " + std::to_string(status));
  }
  block.status = static_cast<CommandStatus>(status);
  if (block.status != CommandStatus::phase_error && block.residue > command.data_length) {
    return fail(ErrorCode::malformed, "command status wrapper with a residue of " +
                                          std::to_string(block.residue) + " of " +
                                          std::to_string(command.data_length) + " bytes");
  }
  return block;
}

}  // namespace tillbridge::massstorage
