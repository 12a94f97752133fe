#include "server/terminal/rdp/dvc_guard.hpp"

#include <string>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::terminal {
namespace {

/// The Cmd field of a DRDYNVC PDU (MS-RDPEDYC 2.2), those that a client may send to a version 1
/// server.
namespace command {
constexpr std::uint8_t create_response = 1, data_first = 2, data = 3, close = 4, capabilities = 5;
}

/// An unsigned integer whose size is a two-bit code: 0, 1, 2 stand for 1, 2, 4 bytes; 3 is invalid.
std::uint32_t variable_uint(ByteReader& reader, std::uint8_t size_code) {
  switch (size_code) {
    case 0:
      return reader.u8();
    case 1:
      return reader.u16le();
    case 2:
      return reader.u32le();
    default:
      reader.fail();
      return 0;
  }
}

}  // namespace

Result<std::optional<ByteView>> DvcGuard::chunk(ByteView data, std::uint32_t flags,
                                                std::size_t total_size) {
  const bool first = (flags & flag_first) != 0;
  const bool last = (flags & flag_last) != 0;
  if (total_size > limits::dynamic_channel_pdu_bytes || data.size() > total_size) {
    return fail(ErrorCode::limit,
                "dynamic-channel PDU of " + std::to_string(total_size) + " bytes");
  }
  if (first == joining_) {
    return fail(ErrorCode::malformed, first ? "dynamic-channel PDU begins inside another one"
                                            : "dynamic-channel PDU continues but none began");
  }
  if (first && last) {
    if (data.size() != total_size) {
      return fail(ErrorCode::malformed, "dynamic-channel PDU is shorter than it says");
    }
    return whole(data);
  }
  if (first) joined_.clear();
  joining_ = !last;
  if (joined_.size() + data.size() > total_size) {
    return fail(ErrorCode::malformed, "dynamic-channel PDU is longer than it says");
  }
  joined_.insert(joined_.end(), data.begin(), data.end());
  if (!last) return std::optional<ByteView>();
  if (joined_.size() != total_size) {
    return fail(ErrorCode::malformed, "dynamic-channel PDU is shorter than it says");
  }
  return whole(joined_);
}

Result<std::optional<ByteView>> DvcGuard::whole(ByteView pdu) {
  if (pdu.empty()) return fail(ErrorCode::malformed, "empty dynamic-channel PDU");
  ByteReader reader(pdu);
  const std::uint8_t header = reader.u8();
  const auto cmd = static_cast<std::uint8_t>(header >> 4U);
  const auto length_code = static_cast<std::uint8_t>((header >> 2U) & 3U);
  const auto id_code = static_cast<std::uint8_t>(header & 3U);
  if (cmd == command::capabilities) {
    reader.skip(1 /* Pad */ + 2 /* Version */);
  } else {
    const std::uint32_t channel = variable_uint(reader, id_code);
    switch (cmd) {
      case command::create_response:
        reader.skip(4 /* CreationStatus */);
        break;
      case command::data_first: {
        const std::uint32_t length = variable_uint(reader, length_code);
        if (reader.ok() && length > limits::rdpeusb_message_bytes) {
          return fail(ErrorCode::limit, "message of " + std::to_string(length) +
                                            " bytes on dynamic channel " + std::to_string(channel));
        }
        if (reader.remaining() > length) reader.fail();
        if (reader.ok() && length != 0 && reader.remaining() == length) {
          // A whole message in its first fragment is allowed, but FreeRDP then waits for a second
          // one that never comes. The same message as a plain DATA PDU says the same.
          ByteWriter writer(pdu.size());
          writer.u8(static_cast<std::uint8_t>(unsigned{command::data} << 4U | 2U));
          writer.u32le(channel);
          writer.bytes(reader.rest());
          rewritten_ = writer.finish();
          return std::optional<ByteView>(rewritten_);
        }
        break;
      }
      case command::data:
      case command::close:
        break;
      default:
        return fail(ErrorCode::protocol, "dynamic-channel command " + std::to_string(cmd) +
                                             ", which was never negotiated");
    }
  }
  if (!reader.ok()) return fail(ErrorCode::malformed, "dynamic-channel PDU ends inside its header");
  return std::optional<ByteView>(pdu);
}

}  // namespace tillbridge::terminal
