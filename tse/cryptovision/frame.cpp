#include "tse/cryptovision/frame.hpp"

#include <algorithm>
#include <cassert>
#include <string>

#include "channel/bytes/writer.hpp"

namespace tillbridge::tse::cryptovision {

Bytes encode(const RequestFrame& frame, std::size_t padding) {
  assert(frame.data.size() <= most_request_bytes && padding > 0);
  ByteWriter writer(file_bytes);
  writer.bytes(magic);
  writer.u32be(frame.token);
  writer.u16be(static_cast<std::uint16_t>(frame.data.size()));
  writer.u16be(static_cast<std::uint16_t>(frame.mode));
  writer.bytes(frame.data);
  writer.zeros((padding - writer.size() % padding) % padding);
  return writer.finish();
}

bool has_magic(ByteView bytes) {
  return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
}

Result<RequestHeader> parse_request_header(ByteView bytes) {
  if (!has_magic(bytes)) return fail(ErrorCode::malformed, "no frame begins here");
  ByteReader reader(bytes);
  reader.skip(magic.size());
  RequestHeader header;
  header.token = reader.u32be();
  header.length = reader.u16be();
  header.mode = reader.u16be();
  if (!reader.ok()) return fail(ErrorCode::malformed, "the frame ends inside its header");
  if (header.length > most_request_bytes) {
    return fail(ErrorCode::limit, "a frame of " + std::to_string(header.length) +
                                      " bytes does not fit into the file");
  }
  return header;
}

Result<RequestFrame> parse_request(ByteView bytes) {
  const auto header = parse_request_header(bytes);
  if (!header) return header.error();
  ByteReader reader(bytes);
  reader.skip(request_header_bytes);
  const ByteView data = reader.take(header->length);
  if (!reader.ok()) return fail(ErrorCode::malformed, "the frame ends before its data");
  RequestFrame frame;
  frame.token = header->token;
  frame.mode = static_cast<Mode>(header->mode);
  frame.data.assign(data.begin(), data.end());
  return frame;
}

Result<ResponseFrame> parse_response(ByteView bytes, std::optional<std::uint32_t> sent_token) {
  ResponseFrame frame;
  ByteReader reader(bytes);
  const ByteView begin = reader.take(magic.size());
  frame.token = reader.u32be();
  frame.code = reader.u16be();
  if (!reader.ok()) return fail(ErrorCode::malformed, "the answer is shorter than its header");
  if (!has_magic(begin)) return frame;  // lost
  if (sent_token && frame.token == *sent_token) {
    frame.state = ResponseState::not_taken;
  } else if (frame.code == length_busy) {
    frame.state = ResponseState::busy;
  } else if (frame.code == length_element_timeout) {
    frame.state = ResponseState::element_timeout;
  } else if ((frame.code & 0xFF00U) == 0xFF00U) {
    frame.state = ResponseState::controller_fault;
  } else if (frame.code == 0) {
    frame.state = ResponseState::acknowledged;
  } else {
    const ByteView data = reader.take(frame.code);
    if (!reader.ok() || frame.code > most_response_bytes) {
      return fail(ErrorCode::malformed,
                  "an answer of " + std::to_string(frame.code) + " bytes does not fit");
    }
    frame.state = ResponseState::data;
    frame.data.assign(data.begin(), data.end());
  }
  return frame;
}

Bytes encode_response(std::uint16_t code, ByteView data, std::uint32_t token) {
  assert(data.size() <= most_response_bytes);
  ByteWriter writer(response_header_bytes + data.size());
  writer.bytes(magic);
  writer.u32be(token);
  writer.u16be(code);
  writer.bytes(data);
  return writer.finish();
}

}  // namespace tillbridge::tse::cryptovision
