// The frames that pass through a cryptovision stick's TSE-IO.bin, both directions.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::tse::cryptovision {

/// How a frame begins: 27 oddly capitalised ASCII characters "Advanced secure SD/MMC card" and 01.
inline constexpr std::array<std::uint8_t, 28> magic{
    0x41, 0x64, 0x56, 0x61, 0x6E, 0x63, 0x45, 0x44, 0x20, 0x53, 0x65, 0x43, 0x75, 0x52,
    0x65, 0x20, 0x53, 0x44, 0x2F, 0x4D, 0x4D, 0x43, 0x20, 0x43, 0x41, 0x72, 0x64, 0x01};

inline constexpr std::size_t file_bytes = 8192;  ///< TSE-IO.bin, and the longest frame
inline constexpr std::size_t block_bytes = 512;  ///< frames are padded to whole blocks

inline constexpr std::size_t response_header_bytes =
    28 /* magic */ + 4 /* token */ + 2 /* length or state */;
inline constexpr std::size_t request_header_bytes = response_header_bytes + 2 /* mode */;
/// 8158: payload of one response frame.
inline constexpr std::size_t most_response_bytes = file_bytes - response_header_bytes;
inline constexpr std::size_t most_request_bytes = file_bytes - request_header_bytes;

/// What C# and Python clients send; the vendor's Java sends DEADBEAF.
inline constexpr std::uint32_t usual_token = 0xDEADBEEF;

enum class Mode : std::uint16_t {
  normal = 0x0000,
  allow_suspend = 0x5345,   ///< two data bytes 0000; answered with length 0
  forbid_suspend = 0x5344,  ///< the same
};

/// One-byte command data, without the 5C54 of a command.
inline constexpr std::uint8_t fetch_more = 0xC5;  ///< the next frame of a long answer
inline constexpr std::uint8_t abandon = 0xC4;     ///< the rest of it is not wanted

struct RequestFrame {
  std::uint32_t token = usual_token;
  Mode mode = Mode::normal;
  Bytes data;  ///< at most most_request_bytes
};
/// Padded with zeros to a multiple of `padding` (512 for most clients, 8192 for python's, the file
/// system's block for the vendor's Java).
[[nodiscard]] Bytes encode(const RequestFrame& frame, std::size_t padding = block_bytes);

/// Does a request begin here? `bytes` is at least one block; only the magic counts.
[[nodiscard]] bool has_magic(ByteView bytes);

/// Fields that stand in the first block. The data may still be on its way.
struct RequestHeader {
  std::uint32_t token = 0;
  std::uint16_t length = 0;  ///< of the command data
  std::uint16_t mode = 0;
};
/// ErrorCode::malformed without magic; ErrorCode::limit for a length above most_request_bytes.
[[nodiscard]] Result<RequestHeader> parse_request_header(ByteView bytes);
/// A whole request; what stands behind its data is ignored.
[[nodiscard]] Result<RequestFrame> parse_request(ByteView bytes);

enum class ResponseState : std::uint8_t {
  data,              ///< `data` holds what the length says, at least 2 bytes in a first frame
  acknowledged,      ///< length 0: suspend modes, and one fetch_more more than needed
  busy,              ///< FFFF: poll again
  element_timeout,   ///< FF45
  controller_fault,  ///< any other FFxx; `code`
  not_taken,         ///< the token that was sent still stands there
  lost,              ///< the magic is gone: zeros after a sleep, or foreign content
};
struct ResponseFrame {
  ResponseState state = ResponseState::lost;
  std::uint16_t code = 0;  ///< the length field as it stood
  std::uint32_t token = 0;
  Bytes data;
};
inline constexpr std::uint16_t length_busy = 0xFFFF, length_element_timeout = 0xFF45;

/// `bytes` is the file's content from its beginning; only the data announced must be there. Any
/// bytes are safe; a length that does not fit is ErrorCode::malformed. `sent_token`: what the
/// request carried, to recognise not_taken.
[[nodiscard]] Result<ResponseFrame> parse_response(ByteView bytes,
                                                   std::optional<std::uint32_t> sent_token = {});
/// Header and data, not padded. `code` is the length field: data.size() unless it is a state.
[[nodiscard]] Bytes encode_response(std::uint16_t code, ByteView data, std::uint32_t token = 0);

}  // namespace tillbridge::tse::cryptovision
