// One end of the link between a till and the USB server: frames that are counted, acknowledged and
// kept until then, so that a later connection goes on where a lost one stopped.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/queue.hpp"
#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "channel/bytes/writer.hpp"
#include "channel/link/control_message.hpp"

namespace tillbridge::link {

/// 0 is control; n carries the USB/IP conversation of one stick, beginning with OP_REQ_IMPORT. The
/// server numbers them and never uses a number twice in a session.
using StreamId = std::uint16_t;
inline constexpr StreamId control_stream = 0;

/// ALPN of the TLS connection below.
inline constexpr const char* alpn = "tillbridge/1";

enum class Side : std::uint8_t { till, server };
/// Made by the till from real randomness; names the session across connections. Not a secret: a
/// session also belongs to the certificate that opened it.
using SessionId = std::array<std::uint8_t, 16>;

/// What the first bytes of a connection say, before its server knows which session they are for.
struct Caller {
  SessionId session{};
  std::uint64_t connection = 0;  ///< counts the till's connections of this session from 1
};
/// Nothing: `first_bytes` does not hold a whole hello yet. An error: it is none of this version; an
/// Endpoint that is given these bytes tells the peer so.
[[nodiscard]] std::optional<Result<Caller>> identify(ByteView first_bytes);

/// Sans-I/O. Bytes of the TLS connection in, bytes out; see channel/link/PROTOCOL.md for the
/// frames.
///
/// An endpoint is one session and outlives its connections: each data frame is delivered once and
/// in order over any number of them. How long it may be without one, its owner decides.
///
/// After each call that takes `now`: poll_event() until empty, then write take_output(), then look
/// at next_deadline(). Do not stop reading the connection: a peer that is not read looks silent.
class Endpoint {
 public:
  /// Both ends greeted each other: streams may be used. Not resumed: the peer knows nothing of what
  /// was before, so all streams are dead, and what was sent on them is forgotten.
  struct Established {
    SessionId session;
    bool resumed;
  };
  struct Control {
    ControlMessage message;
  };
  struct Data {
    StreamId stream;
    Bytes bytes;
  };
  /// The connection is of no use: the peer is silent for too long, or it is an older one. Write
  /// what take_output() still has (it tells the peer why) and close it. The session waits for the
  /// next connection.
  struct Lost {
    Error error;
  };
  /// One of the two broke the protocol or ended the link: write what take_output() still has and
  /// close the connection. The session is over. The last event.
  struct Failed {
    Error error;
  };
  using Event = std::variant<Established, Control, Data, Lost, Failed>;

  /// The other end is asked for a sign of life after this long without one, and given up after
  /// silence_limit.
  static constexpr Duration ping_after = std::chrono::seconds(2);
  static constexpr Duration silence_limit = std::chrono::seconds(6);
  /// From connected() to the peer's hello.
  static constexpr Duration hello_timeout = std::chrono::seconds(10);
  /// An acknowledgement rides along with the next data; it goes alone after ack_delay, or once this
  /// much waits for it.
  static constexpr Duration ack_delay = std::chrono::milliseconds(25);
  static constexpr std::size_t ack_bytes = std::size_t{256} << 10U;
  static constexpr std::uint64_t ack_frames = 64;

  /// The till passes its session id, which is not all zeros; the server learns it from the peer.
  explicit Endpoint(Side side, SessionId session = {});

  /// A connection is there, in place of an earlier one if there still is one. What was sent before
  /// waits for it.
  void connected(Instant now);
  /// It is gone. What was sent is kept, and what is sent from now on as well.
  void disconnected(Instant now);
  [[nodiscard]] bool is_connected() const noexcept { return connection_.open && !failed_; }
  /// At a server: whether the till can go on with this session. Not before it was heard in it: till
  /// then it may not know that an earlier session of the same id was lost.
  [[nodiscard]] bool can_resume() const noexcept { return !failed_ && session_.received > 0; }
  /// At a server: this connection of the till was made before the present one, and its bytes came
  /// late.
  [[nodiscard]] bool is_outdated(const Caller& caller) const noexcept {
    return caller.connection <= connections_;
  }
  [[nodiscard]] const SessionId& session() const noexcept { return session_.id; }
  /// The frame with which a server ends a connection that gets no endpoint; `why` is for a person.
  [[nodiscard]] static Bytes refusal(const std::string& why);
  void receive(ByteView bytes, Instant now);
  void advance(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Event> poll_event();
  /// The buffer of a Data event back, if its owner needs it no longer: for what comes next.
  void recycle(Bytes&& bytes) noexcept {
    if (bytes.capacity() <= spare_.capacity()) return;
    spare_ = std::move(bytes);
    spare_.clear();
  }
  /// What a newer peer said that this version does not know: worth a log line, nothing else.
  [[nodiscard]] std::optional<Error> poll_warning();

  void send_control(const ControlMessage& message, Instant now);
  /// `bytes` of a stream (not control_stream); split into frames here. Check can_send() first:
  /// nothing is dropped, but past twice limits::link_kept_bytes the link fails. The second form
  /// keeps the buffer instead of copying it.
  void send(StreamId stream, ByteView bytes, Instant now);
  void send(StreamId stream, Bytes&& bytes, Instant now);
  /// False while limits::link_kept_bytes are unacknowledged (link_kept_bytes_waiting without a
  /// connection): stop reading from the source of the data.
  [[nodiscard]] bool can_send() const noexcept;
  /// Bytes kept for the peer's acknowledgement, frame headers included.
  [[nodiscard]] std::size_t kept_bytes() const noexcept { return session_.kept_bytes; }

  /// What is to be written to the connection, oldest first; empty if nothing. Stops after the frame
  /// that reaches `enough` bytes; the rest comes with the next call.
  [[nodiscard]] Bytes take_output(std::size_t enough = std::numeric_limits<std::size_t>::max());

 private:
  /// A data frame that the peer has not acknowledged. Its number is its place in Session::kept.
  struct KeptFrame {
    StreamId stream;
    Bytes payload;
  };
  /// What outlives a lost connection.
  struct Session {
    SessionId id{};
    bool established = false;
    Queue<KeptFrame> kept;
    std::uint64_t first_kept = 0;  ///< number of kept.front(): all before are acknowledged
    std::size_t kept_bytes = 0;
    std::uint64_t sent = 0;      ///< number of the first data frame that no connection was given
    std::uint64_t received = 0;  ///< data frames that arrived, and so the number of the next
  };
  struct FrameHeader {
    std::uint8_t type = 0;
    StreamId stream = 0;
    std::uint32_t payload_bytes = 0;
    std::uint64_t number = 0;
  };
  /// What dies with it.
  struct Connection {
    bool open = false;
    bool greeted = false;
    Instant since{};
    Instant last_received{};
    Instant last_ping{};
    std::uint64_t pings = 0;
    std::optional<std::uint64_t> pong;  ///< the newest ping that is to be answered
    bool ping_wanted = false;
    ByteWriter first_output;         ///< hello or abort, before anything else
    std::uint64_t next_sent = 0;     ///< number of the first data frame not yet handed out
    std::uint64_t acknowledged = 0;  ///< what the peer was told of Session::received
    std::size_t unacknowledged_bytes = 0;
    std::optional<Instant> ack_deadline;
    bool ack_wanted = false;

    // The frame that is arriving.
    std::array<std::uint8_t, 16> header_bytes{};
    std::size_t header_filled = 0;
    FrameHeader header;
    Bytes payload;
  };

  void keep(StreamId stream, Bytes payload);
  void begin_frame();
  void end_frame(Instant now);
  void hello_received();
  void hello_of_till(const SessionId& id, std::uint64_t next_expected);
  void hello_of_server(const SessionId& id, bool resumed, std::uint64_t next_expected);
  void resume(std::uint64_t next_expected);
  void forget(std::uint64_t below);
  void established(bool resumed);
  void data_received(Instant now);
  void ack_received(std::uint64_t received);
  void say_hello(bool resumed);
  void lose_connection(Error error);
  void fail_link(ErrorCode code, const std::string& message);
  void fail_silently(Error error);
  [[nodiscard]] std::string peer() const {
    return side_ == Side::till ? "the USB server" : "the till";
  }

  Side side_;
  bool failed_ = false;
  /// The till's connections of this session; at the server, the newest that said hello.
  std::uint64_t connections_ = 0;
  Session session_;
  Connection connection_;
  Queue<Event> events_;
  Bytes spare_;  ///< empty, its memory is for the next frame
  Queue<Error> warnings_;
};

}  // namespace tillbridge::link
