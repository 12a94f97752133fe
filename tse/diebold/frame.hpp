// Frames of the Diebold Nixdorf TSE: ASCII text cut by escape pairs, over a serial line whose
// packet boundaries mean nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "tse/diebold/command.hpp"

namespace tillbridge::tse::diebold {

inline constexpr std::uint8_t escape = 0x1B;
/// The byte after an escape.
namespace marker {
inline constexpr std::uint8_t status_report = 0x6B;
inline constexpr std::uint8_t request = 0x90;
inline constexpr std::uint8_t response = 0x91;
inline constexpr std::uint8_t parameter = 0x92;
inline constexpr std::uint8_t request_id = 0x99;
inline constexpr std::uint8_t no_answer = 0x9C;
inline constexpr std::uint8_t answer_now = 0x9D;
inline constexpr std::uint8_t answer_in_buffer = 0x9E;
inline constexpr std::uint8_t end = 0x9F;
}  // namespace marker

enum class AnswerMode : std::uint8_t { now, in_buffer, none };

struct Request {
  std::uint16_t command = 0;  ///< 0 to 999; see Command
  std::vector<std::string> parameters;
  /// A GUID's text. The vendor's own service leaves it out.
  std::optional<std::string> id;
  AnswerMode answer = AnswerMode::now;
  std::uint32_t buffer = 0;  ///< for AnswerMode::in_buffer
};

struct Response {
  std::uint16_t command = 0;
  /// The fifth one of command 004 holds raw bytes, all others text.
  std::vector<std::string> parameters;
  std::string id;  ///< of the request; empty when that had none
};

/// Sent without being asked for, until command 003 turns it off.
struct StatusReport {
  std::string text;
};

/// Bytes that make no frame.
struct FrameFault {
  DeviceError error{};  ///< what the device keeps for command 001
  std::string text;     ///< one sentence for a person
};

[[nodiscard]] Request make_request(Command command, std::vector<std::string> parameters,
                                   std::string id);

/// ErrorCode::refused when a parameter has control characters, which would become markers, or when
/// the frame is longer than a device takes.
[[nodiscard]] Result<Bytes> encode(const Request& request);
/// Control characters in text become '?': whoever configured the device put them there.
[[nodiscard]] Bytes encode(const Response& response);
[[nodiscard]] Bytes encode(const StatusReport& report);

/// The whole of one response, as a buffer holds it (up to limits::diebold_buffer_bytes).
[[nodiscard]] Result<Response> parse_response(ByteView frame);

namespace detail {
/// Collects one frame, whatever packets it comes in: from its first marker to ESC 9F.
class FrameCollector {
 public:
  enum class Found : std::uint8_t { nothing, frame, restarted, too_long };
  /// `starts`: second bytes of the frames that this end takes.
  FrameCollector(std::vector<std::uint8_t> starts, std::size_t most_bytes)
      : starts_(std::move(starts)), most_bytes_(most_bytes) {}
  /// Takes from `input` up to the end of the next frame or fault.
  [[nodiscard]] Found next(ByteReader& input);
  [[nodiscard]] const Bytes& frame() const { return frame_; }
  void clear();
  /// Between two frames?
  [[nodiscard]] bool idle() const { return !inside_; }

 private:
  [[nodiscard]] Found take(std::uint8_t byte);
  [[nodiscard]] Found take_marker(std::uint8_t byte);
  void begin(std::uint8_t byte);
  void count_parameter();

  std::vector<std::uint8_t> starts_;
  std::size_t most_bytes_;
  Bytes frame_;
  bool inside_ = false, escaped_ = false, complete_ = false;
  std::size_t parameters_ = 0, parameter_begin_ = 0;
  std::size_t raw_bytes_ = 0;  ///< still to come, of command 004's raw data
};
}  // namespace detail

/// The device's side. Bounded by limits::diebold_request_bytes.
class RequestParser {
 public:
  RequestParser();
  /// Reads on in `input` until a request is complete or something is wrong. Nothing: `input` is
  /// used up.
  [[nodiscard]] std::optional<std::variant<Request, FrameFault>> next(ByteReader& input);
  void clear() { collector_.clear(); }
  [[nodiscard]] bool idle() const { return collector_.idle(); }

 private:
  detail::FrameCollector collector_;
};

/// The client's side. Bounded by limits::diebold_response_bytes.
class ResponseParser {
 public:
  ResponseParser();
  using Event = std::variant<Response, StatusReport, FrameFault>;
  /// As RequestParser::next().
  [[nodiscard]] std::optional<Event> next(ByteReader& input);
  void clear() { collector_.clear(); }
  [[nodiscard]] bool idle() const { return collector_.idle(); }

 private:
  detail::FrameCollector collector_;
};

}  // namespace tillbridge::tse::diebold
