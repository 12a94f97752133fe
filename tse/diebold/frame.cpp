#include "tse/diebold/frame.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "tse/diebold/fields.hpp"

namespace tillbridge::tse::diebold {
namespace {

constexpr std::size_t command_digits = 3;
constexpr std::size_t id_bytes = 64;  // a GUID has 36 characters
/// Command 004 answers with its raw bytes in the last of five parameters, their number before it.
constexpr std::size_t raw_parameter = 5;
constexpr std::string_view fetch_buffer_digits = "004";

/// A marker and the text up to the next one.
struct Piece {
  std::uint8_t marker = 0;
  ByteView text;
};

std::string text_of(ByteView bytes) {
  return {bytes.begin(), bytes.end()};
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char character) { return static_cast<unsigned char>(character) < 0x20; });
}

std::optional<std::uint16_t> command_number(ByteView digits) {
  if (digits.size() != command_digits) return std::nullopt;
  const auto number = parse_number(text_of(digits));
  if (!number) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

/// Cuts a frame from its first escape to its last marker. Nothing: text outside of pieces, raw
/// data that is longer than the frame, too many pieces.
std::optional<std::vector<Piece>> pieces_of(ByteView frame) {
  std::vector<Piece> pieces;
  ByteReader reader(frame);
  if (reader.u8() != escape) return std::nullopt;
  bool raw = false;
  while (reader.ok()) {
    Piece piece;
    piece.marker = reader.u8();
    if (pieces.size() == raw_parameter && piece.marker == marker::parameter &&
        pieces[0].marker == marker::response && text_of(pieces[0].text) == fetch_buffer_digits) {
      const auto size = parse_number(text_of(pieces.back().text));
      if (!size || *size > reader.remaining()) return std::nullopt;
      piece.text = reader.take(static_cast<std::size_t>(*size));
      raw = true;
    }
    const std::size_t begin = reader.position();
    bool more = false;
    while (reader.remaining() > 0 && !more) more = reader.u8() == escape;
    const std::size_t end = reader.position() - (more ? 1 : 0);
    if (!raw) {
      piece.text = frame.subspan(begin, end - begin);
    } else if (end != begin) {
      return std::nullopt;  // more raw data than announced
    }
    raw = false;
    if (pieces.size() > limits::diebold_parameters + 3) return std::nullopt;
    pieces.push_back(piece);
    if (!more) return reader.ok() ? std::optional(std::move(pieces)) : std::nullopt;
  }
  return std::nullopt;
}

FrameFault fault(DeviceError error, std::string text) {
  return {error, std::move(text)};
}

/// Takes the parameters, and then the id if there is one. Returns what follows.
std::size_t take_parameters(const std::vector<Piece>& pieces, std::vector<std::string>& parameters,
                            std::optional<std::string>& id) {
  std::size_t at = 1;
  for (; at < pieces.size() && pieces[at].marker == marker::parameter; ++at) {
    parameters.push_back(text_of(pieces[at].text));
  }
  if (at < pieces.size() && pieces[at].marker == marker::request_id &&
      pieces[at].text.size() <= id_bytes) {
    id = text_of(pieces[at].text);
    ++at;
  }
  return at;
}

bool ends_at(const std::vector<Piece>& pieces, std::size_t at) {
  return at + 1 == pieces.size() && pieces[at].marker == marker::end && pieces[at].text.empty();
}

std::variant<Request, FrameFault> parse_request(ByteView frame) {
  const auto pieces = pieces_of(frame);
  if (!pieces) return fault(DeviceError::parameter_count, "the request has too many parameters");
  const auto command = command_number(pieces->front().text);
  if (!command) {
    return fault(DeviceError::unknown_command, "the request does not begin with three digits");
  }
  Request request;
  request.command = *command;
  std::size_t at = take_parameters(*pieces, request.parameters, request.id);
  const FrameFault bad_end = fault(
      DeviceError::bad_end, "the request does not end with its id and where its answer shall go");
  if (at >= pieces->size()) return bad_end;
  const Piece& answer = pieces->at(at);
  if (answer.marker == marker::answer_in_buffer) {
    const auto buffer = parse_number(text_of(answer.text));
    constexpr std::uint64_t most = 0xFFFFFFFFU;
    if (!buffer || *buffer > most) {
      return fault(DeviceError::parameter_value, "the request's buffer is no number");
    }
    request.answer = AnswerMode::in_buffer;
    request.buffer = static_cast<std::uint32_t>(*buffer);
  } else if (answer.marker == marker::no_answer && answer.text.empty()) {
    request.answer = AnswerMode::none;
  } else if (answer.marker != marker::answer_now || !answer.text.empty()) {
    return bad_end;
  }
  if (!ends_at(*pieces, at + 1)) return bad_end;
  return request;
}

class FrameWriter {
 public:
  FrameWriter& mark(std::uint8_t value) {
    writer_.u8(escape);
    writer_.u8(value);
    return *this;
  }
  FrameWriter& text(std::string_view value) {
    for (const char character : value) writer_.u8(static_cast<std::uint8_t>(character));
    return *this;
  }
  /// Whatever could be taken for a marker is replaced.
  FrameWriter& clean_text(std::string_view value) {
    for (const char character : value) {
      const auto byte = static_cast<std::uint8_t>(character);
      writer_.u8(byte < 0x20 ? std::uint8_t{'?'} : byte);
    }
    return *this;
  }
  FrameWriter& command(std::uint16_t number) {
    assert(number <= 999);
    const std::string digits = std::to_string(number);
    return text(std::string(command_digits - digits.size(), '0')).text(digits);
  }
  Bytes finish() { return mark(marker::end).writer_.finish(); }

 private:
  ByteWriter writer_;
};

}  // namespace

Request make_request(Command command, std::vector<std::string> parameters, std::string id) {
  Request request;
  request.command = static_cast<std::uint16_t>(command);
  request.parameters = std::move(parameters);
  request.id = std::move(id);
  return request;
}

Result<Bytes> encode(const Request& request) {
  FrameWriter frame;
  frame.mark(marker::request).command(request.command);
  for (const std::string& parameter : request.parameters) {
    if (has_control(parameter)) {
      return fail(ErrorCode::refused,
                  "the TSE's protocol has no way to carry control characters: remove them from " +
                      std::string(name_of(static_cast<Command>(request.command))) +
                      "'s client name, type or texts");
    }
    frame.mark(marker::parameter).text(parameter);
  }
  if (request.id) frame.mark(marker::request_id).clean_text(*request.id);
  switch (request.answer) {
    case AnswerMode::now:
      frame.mark(marker::answer_now);
      break;
    case AnswerMode::in_buffer:
      frame.mark(marker::answer_in_buffer).text(std::to_string(request.buffer));
      break;
    case AnswerMode::none:
      frame.mark(marker::no_answer);
      break;
  }
  Bytes bytes = frame.finish();
  if (bytes.size() > limits::diebold_request_bytes) {
    return fail(ErrorCode::refused, "a request of " + std::to_string(bytes.size()) +
                                        " bytes is longer than the TSE takes (" +
                                        std::to_string(limits::diebold_request_bytes) + ")");
  }
  return bytes;
}

Bytes encode(const Response& response) {
  FrameWriter frame;
  frame.mark(marker::response).command(response.command);
  const bool has_raw = response.command == static_cast<std::uint16_t>(Command::fetch_buffer) &&
                       response.parameters.size() == raw_parameter;
  for (std::size_t i = 0; i < response.parameters.size(); ++i) {
    frame.mark(marker::parameter);
    if (has_raw && i + 1 == raw_parameter) {
      frame.text(response.parameters[i]);
    } else {
      frame.clean_text(response.parameters[i]);
    }
  }
  return frame.mark(marker::request_id).clean_text(response.id).finish();
}

Bytes encode(const StatusReport& report) {
  return FrameWriter().mark(marker::status_report).clean_text(report.text).finish();
}

Result<Response> parse_response(ByteView frame) {
  const auto bad = [](const char* why) {
    return fail(ErrorCode::malformed, std::string("the TSE's answer ") + why);
  };
  const auto pieces = pieces_of(frame);
  if (!pieces) return bad("is cut or has too many parameters");
  if (pieces->front().marker != marker::response) return bad("does not begin as one");
  const auto command = command_number(pieces->front().text);
  if (!command) return bad("does not begin with three digits");
  Response response;
  response.command = *command;
  std::optional<std::string> id;
  const std::size_t at = take_parameters(*pieces, response.parameters, id);
  if (!id || !ends_at(*pieces, at)) return bad("does not end with the request's id");
  response.id = *std::move(id);
  return response;
}

namespace detail {

void FrameCollector::clear() {
  frame_.clear();
  inside_ = escaped_ = complete_ = false;
  parameters_ = parameter_begin_ = raw_bytes_ = 0;
}

FrameCollector::Found FrameCollector::next(ByteReader& input) {
  if (complete_) clear();
  while (input.remaining() > 0) {
    const Found found = take(input.u8());
    if (found != Found::nothing) return found;
  }
  return Found::nothing;
}

FrameCollector::Found FrameCollector::take(std::uint8_t byte) {
  if (!inside_) {  // what stands between frames means nothing
    const bool starts =
        escaped_ && std::find(starts_.begin(), starts_.end(), byte) != starts_.end();
    escaped_ = byte == escape;
    if (starts) begin(byte);
    return Found::nothing;
  }
  if (frame_.size() >= most_bytes_) {
    clear();
    return Found::too_long;
  }
  frame_.push_back(byte);
  if (raw_bytes_ > 0) {
    --raw_bytes_;
    return Found::nothing;
  }
  if (std::exchange(escaped_, false)) return take_marker(byte);
  escaped_ = byte == escape;
  return Found::nothing;
}

FrameCollector::Found FrameCollector::take_marker(std::uint8_t byte) {
  if (byte == marker::end) {
    complete_ = true;
    inside_ = false;
    return Found::frame;
  }
  if (std::find(starts_.begin(), starts_.end(), byte) != starts_.end()) {
    begin(byte);
    return Found::restarted;
  }
  if (byte == marker::parameter) count_parameter();
  return Found::nothing;
}

void FrameCollector::begin(std::uint8_t byte) {
  clear();
  inside_ = true;
  frame_ = {escape, byte};
}

void FrameCollector::count_parameter() {
  ++parameters_;
  const std::size_t previous = std::exchange(parameter_begin_, frame_.size());
  if (parameters_ != raw_parameter || frame_[1] != marker::response) return;
  const ByteView frame(frame_);
  if (text_of(frame.subspan(2, command_digits)) != fetch_buffer_digits) return;
  constexpr std::size_t marker_bytes = 2;
  const auto size =
      parse_number(text_of(frame.subspan(previous, frame.size() - marker_bytes - previous)));
  // A size above the limit makes the frame too long, which ends it.
  if (size) raw_bytes_ = static_cast<std::size_t>(std::min<std::uint64_t>(*size, most_bytes_ + 1));
}

}  // namespace detail

RequestParser::RequestParser() : collector_({marker::request}, limits::diebold_request_bytes) {}

std::optional<std::variant<Request, FrameFault>> RequestParser::next(ByteReader& input) {
  using Found = detail::FrameCollector::Found;
  switch (collector_.next(input)) {
    case Found::frame:
      return parse_request(collector_.frame());
    case Found::restarted:
      return fault(DeviceError::bad_end, "a request began before the one before it had ended");
    case Found::too_long:
      return fault(DeviceError::command_too_long, "the request is too long");
    case Found::nothing:
      break;
  }
  return std::nullopt;
}

ResponseParser::ResponseParser()
    : collector_({marker::response, marker::status_report}, limits::diebold_response_bytes) {}

std::optional<ResponseParser::Event> ResponseParser::next(ByteReader& input) {
  using Found = detail::FrameCollector::Found;
  switch (collector_.next(input)) {
    case Found::frame: {
      const ByteView frame(collector_.frame());
      if (frame[1] == marker::status_report) {
        constexpr std::size_t around = 2 /* begin */ + 2 /* end */;
        return StatusReport{text_of(frame.subspan(2, frame.size() - around))};
      }
      auto response = parse_response(frame);
      if (response) return *std::move(response);
      return fault(DeviceError::general, response.error().message);
    }
    case Found::restarted:
      return fault(DeviceError::general, "the TSE began an answer before the one before had ended");
    case Found::too_long:
      return fault(DeviceError::general, "the TSE's answer is too long");
    case Found::nothing:
      break;
  }
  return std::nullopt;
}

}  // namespace tillbridge::tse::diebold
