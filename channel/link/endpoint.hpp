// One end of the link between a till and the USB server: frames that are counted and acknowledged, so that a later
// connection can go on where a lost one stopped.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "channel/link/control_message.hpp"

namespace tillbridge::link {

/// 0 is control; n carries the USB/IP conversation of one stick, beginning with OP_REQ_IMPORT. The server numbers them
/// and never uses a number twice in a session.
using StreamId = std::uint16_t;
inline constexpr StreamId control_stream = 0;

/// ALPN of the TLS connection below.
inline constexpr const char* alpn = "tillbridge/1";

enum class Side : std::uint8_t { till, server };
/// Made by the till from real randomness; names the session across connections. Not a secret: a session also belongs
/// to the certificate that opened it.
using SessionId = std::array<std::uint8_t, 16>;

/// Sans-I/O. Bytes of the TLS connection in, bytes out; see channel/link/PROTOCOL.md for the frames.
class Endpoint {
 public:
  /// Both ends greeted each other: streams may be used.
  struct Established { SessionId session; bool resumed; };
  struct Control { ControlMessage message; };
  struct Data { StreamId stream; Bytes bytes; };
  /// The peer broke the protocol or is silent for too long: close the connection.
  struct Failed { Error error; };
  using Event = std::variant<Established, Control, Data, Failed>;

  /// The till passes its session id; the server learns it from the peer.
  explicit Endpoint(Side side, SessionId session = {});

  void connected(Instant now);
  void receive(ByteView bytes, Instant now);
  void advance(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Event> poll_event();

  void send_control(const ControlMessage& message, Instant now);
  /// `bytes` of a stream; split into frames here. Check can_send() first.
  void send(StreamId stream, ByteView bytes, Instant now);
  /// False while limits::link_kept_bytes are unacknowledged: stop reading from the source of the data.
  [[nodiscard]] bool can_send() const noexcept;

  /// What is to be written to the connection, oldest first; empty if nothing.
  [[nodiscard]] Bytes take_output();
};

}  // namespace tillbridge::link
