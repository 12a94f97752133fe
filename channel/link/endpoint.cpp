#include "channel/link/endpoint.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::link {
namespace {

enum class FrameType : std::uint8_t { hello = 1, data = 2, ack = 3, ping = 4, pong = 5, abort = 6 };

constexpr std::size_t frame_header_bytes = 1    /* type */
                                           + 1  /* flags, 0 */
                                           + 2  /* stream */
                                           + 4  /* payload size */
                                           + 8; /* number: its meaning depends on the type */

constexpr std::uint32_t hello_magic = 0x54424C4B;  // "TBLK"
constexpr std::uint16_t protocol_version = 1;
constexpr std::size_t hello_bytes = 4    /* magic */
                                    + 2  /* version */
                                    + 2  /* flags */
                                    + 16 /* session id */
                                    + 8; /* number of the next expected data frame */
/// The part of a hello that stays the same in all versions: magic and version.
constexpr std::size_t hello_fixed_bytes = 6;
constexpr std::size_t hello_limit_bytes = 256;
constexpr std::uint16_t hello_flag_resumed = 1;

/// Warnings wait for their reader; more of them say nothing new.
constexpr std::size_t warnings_kept = 16;

void write_header(ByteWriter& output, FrameType type, StreamId stream, std::size_t payload_bytes,
                  std::uint64_t number) {
  output.u8(static_cast<std::uint8_t>(type));
  output.u8(0);  // flags
  output.u16be(stream);
  output.u32be(static_cast<std::uint32_t>(payload_bytes));
  output.u64be(number);
}

std::string printable(ByteView text) {
  std::string result(text.begin(), text.end());
  const auto unprintable = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  std::replace_if(result.begin(), result.end(), unprintable, '?');
  return result;
}

}  // namespace

Endpoint::Endpoint(Side side, SessionId session) : side_(side) {
  session_.id = session;
}

void Endpoint::connected(Instant now) {
  if (connected_before_)
    session_ = Session{side_ == Side::till ? session_.id : SessionId{}, {}, 0, 0, 0};
  connected_before_ = true;
  failed_ = false;
  events_.clear();
  connection_ = Connection{};
  connection_.open = true;
  connection_.since = now;
  connection_.last_received = now;
  connection_.last_ping = now;
  if (side_ == Side::till) say_hello();
}

// --- in ---

void Endpoint::receive(ByteView bytes, Instant now) {
  if (!connection_.open || failed_ || bytes.empty()) return;
  connection_.last_received = now;
  ByteReader reader(bytes);
  const auto missing = [&reader](std::size_t wanted, std::size_t have) {
    return reader.take(std::min(wanted - have, reader.remaining()));
  };
  while (reader.remaining() > 0 && !failed_) {
    if (connection_.header_filled < frame_header_bytes) {
      const ByteView part = missing(frame_header_bytes, connection_.header_filled);
      std::copy(part.begin(), part.end(),
                std::span(connection_.header_bytes).subspan(connection_.header_filled).begin());
      connection_.header_filled += part.size();
      if (connection_.header_filled < frame_header_bytes) return;
      begin_frame();
      if (failed_) return;
    }
    const ByteView part = missing(connection_.header.payload_bytes, connection_.payload.size());
    connection_.payload.insert(connection_.payload.end(), part.begin(), part.end());
    if (connection_.payload.size() < connection_.header.payload_bytes) return;
    end_frame(now);
    connection_.header_filled = 0;
    connection_.payload.clear();
  }
}

/// Everything that the header alone can get wrong, so that no payload is collected for a frame that
/// is refused.
void Endpoint::begin_frame() {
  ByteReader reader(connection_.header_bytes);
  FrameHeader header;
  header.type = reader.u8();
  const std::uint8_t flags = reader.u8();
  header.stream = reader.u16be();
  header.payload_bytes = reader.u32be();
  header.number = reader.u64be();
  connection_.header = header;

  const auto type = static_cast<FrameType>(header.type);
  const auto frame = [&header] { return "a frame of type " + std::to_string(header.type); };
  if (header.type < static_cast<std::uint8_t>(FrameType::hello) ||
      header.type > static_cast<std::uint8_t>(FrameType::abort)) {
    return fail_link(ErrorCode::protocol, frame() + ", which does not exist");
  }
  if (flags != 0) {
    return fail_link(ErrorCode::malformed,
                     frame() + " with flags " + std::to_string(flags) + ", expected 0");
  }
  if (!connection_.greeted && type != FrameType::hello && type != FrameType::abort) {
    return fail_link(ErrorCode::protocol, frame() + " before the hello");
  }
  if (connection_.greeted && type == FrameType::hello)
    return fail_link(ErrorCode::protocol, "a second hello");
  if (type != FrameType::data && header.stream != 0) {
    return fail_link(ErrorCode::malformed,
                     frame() + " on stream " + std::to_string(header.stream) + ", expected 0");
  }

  std::size_t least = 0;
  std::size_t most = 0;
  if (type == FrameType::hello) {
    least = hello_fixed_bytes;
    most = hello_limit_bytes;
  } else if (type == FrameType::data) {
    least = 1;
    most = header.stream == control_stream ? limits::link_control_message_bytes
                                           : limits::link_frame_payload_bytes;
  } else if (type == FrameType::abort) {
    most = limits::link_text_bytes;
  }
  if (header.payload_bytes < least || header.payload_bytes > most) {
    return fail_link(ErrorCode::limit, frame() + " with " + std::to_string(header.payload_bytes) +
                                           " bytes of payload, expected " + std::to_string(least) +
                                           " to " + std::to_string(most));
  }
  if (type == FrameType::data && header.number != session_.received) {
    return fail_link(ErrorCode::protocol, "data frame number " + std::to_string(header.number) +
                                              ", expected " + std::to_string(session_.received));
  }
  connection_.payload.reserve(header.payload_bytes);
}

void Endpoint::end_frame(Instant now) {
  const FrameHeader& header = connection_.header;
  switch (static_cast<FrameType>(header.type)) {
    case FrameType::hello:
      return hello_received();
    case FrameType::data:
      return data_received(now);
    case FrameType::ack:
      return ack_received(header.number);
    case FrameType::ping:
      connection_.pong = header.number;
      return;
    case FrameType::pong:
      if (header.number == 0 || header.number > connection_.pings) {
        fail_link(ErrorCode::protocol, "an answer to ping " + std::to_string(header.number) + "; " +
                                           std::to_string(connection_.pings) + " were sent");
      }
      return;
    case FrameType::abort:
      return fail_silently(
          fail(ErrorCode::protocol, peer() + " ended the link: " + printable(connection_.payload)));
  }
}

void Endpoint::hello_received() {
  ByteReader reader(connection_.payload);
  const std::uint32_t magic = reader.u32be();
  const std::uint16_t version = reader.u16be();
  if (magic != hello_magic)
    return fail_link(ErrorCode::malformed, "a hello of some other protocol");
  if (version != protocol_version) {
    // Both persons read this: ours in Failed, theirs in the abort frame.
    const bool peer_is_older = version < protocol_version;
    const bool update_till = peer_is_older == (side_ == Side::server);
    const std::string theirs = std::to_string(version);
    const std::string ours = std::to_string(protocol_version);
    return fail_link(ErrorCode::refused,
                     std::string("the versions do not match: the till speaks version ") +
                         (side_ == Side::till ? ours : theirs) +
                         " of the link, the USB server version " +
                         (side_ == Side::till ? theirs : ours) + "; update " +
                         (update_till ? "the till" : "the USB server"));
  }
  const std::uint16_t flags = reader.u16be();
  SessionId id{};
  const ByteView id_bytes = reader.take(id.size());
  const std::uint64_t next_expected = reader.u64be();
  if (!reader.finished()) {
    return fail_link(ErrorCode::malformed, "a hello of " +
                                               std::to_string(connection_.payload.size()) +
                                               " bytes, expected " + std::to_string(hello_bytes));
  }
  std::copy(id_bytes.begin(), id_bytes.end(), id.begin());
  if (side_ == Side::server) {
    if (id == SessionId{}) return fail_link(ErrorCode::malformed, "a hello without a session id");
    // Whatever the till still has of an earlier connection, this is a new session, and our hello
    // says so.
    session_.id = id;
    say_hello();
  } else {
    if (id != session_.id) return fail_link(ErrorCode::protocol, "the hello of another session");
    if ((flags & hello_flag_resumed) != 0) {
      return fail_link(ErrorCode::protocol, "a resumed session, where none was to be resumed");
    }
    if (next_expected != 0) {
      return fail_link(ErrorCode::protocol, "a new session that begins with data frame " +
                                                std::to_string(next_expected) + ", expected 0");
    }
  }
  connection_.greeted = true;
  events_.emplace_back(Established{session_.id, false});
}

void Endpoint::data_received(Instant now) {
  session_.received += 1;
  connection_.unacknowledged_bytes += connection_.payload.size();
  if (!connection_.ack_deadline) connection_.ack_deadline = now + ack_delay;
  if (connection_.unacknowledged_bytes >= ack_bytes ||
      session_.received - connection_.acknowledged >= ack_frames) {
    connection_.ack_wanted = true;
  }
  if (connection_.header.stream != control_stream) {
    events_.emplace_back(Data{connection_.header.stream, std::exchange(connection_.payload, {})});
    return;
  }
  Result<ControlMessage> message = decode_control_message(connection_.payload);
  if (message) {
    events_.emplace_back(Control{std::move(*message)});
  } else if (message.error().code != ErrorCode::protocol) {
    fail_link(message.error().code, message.error().message);
  } else if (warnings_.size() < warnings_kept) {
    warnings_.push_back(message.error());
  }
}

void Endpoint::ack_received(std::uint64_t received) {
  if (received < session_.first_kept || received > connection_.next_sent) {
    return fail_link(ErrorCode::protocol, "an acknowledgement up to data frame " +
                                              std::to_string(received) + ", expected " +
                                              std::to_string(session_.first_kept) + " to " +
                                              std::to_string(connection_.next_sent));
  }
  while (session_.first_kept < received) {
    session_.kept_bytes -= frame_header_bytes + session_.kept.front().payload.size();
    session_.kept.pop_front();
    session_.first_kept += 1;
  }
}

// --- out ---

void Endpoint::send_control(const ControlMessage& message, Instant /*now*/) {
  keep(control_stream, encode(message));
}

void Endpoint::send(StreamId stream, ByteView bytes, Instant /*now*/) {
  assert(stream != control_stream);
  for (ByteReader rest(bytes); rest.remaining() > 0;) {
    const ByteView part = rest.take(std::min(rest.remaining(), limits::link_frame_payload_bytes));
    keep(stream, Bytes(part.begin(), part.end()));
  }
}

void Endpoint::send(StreamId stream, Bytes&& bytes, Instant now) {
  if (bytes.empty() || bytes.size() > limits::link_frame_payload_bytes)
    return send(stream, ByteView(bytes), now);
  assert(stream != control_stream);
  keep(stream, std::move(bytes));
}

void Endpoint::keep(StreamId stream, Bytes payload) {
  if (failed_) return;
  session_.kept_bytes += frame_header_bytes + payload.size();
  session_.kept.push_back({stream, std::move(payload)});
  if (session_.kept_bytes > 2 * limits::link_kept_bytes) {
    fail_link(ErrorCode::limit, std::to_string(session_.kept_bytes) + " bytes wait for " + peer() +
                                    ", which acknowledges too few of them");
  }
}

bool Endpoint::can_send() const noexcept {
  return !failed_ && session_.kept_bytes < limits::link_kept_bytes;
}

Bytes Endpoint::take_output(std::size_t enough) {
  if (failed_ || !connection_.greeted) return connection_.first_output.finish();

  const auto first = static_cast<std::size_t>(connection_.next_sent - session_.first_kept);
  std::size_t last = first;
  std::size_t size = connection_.first_output.size() + 3 * frame_header_bytes /* pong, ping, ack */;
  for (std::size_t data_size = 0; last < session_.kept.size() && data_size < enough; ++last) {
    const std::size_t frame_size = frame_header_bytes + session_.kept[last].payload.size();
    data_size += frame_size;
    size += frame_size;
  }
  ByteWriter output(size);
  output.bytes(connection_.first_output.finish());
  // Signs of life and acknowledgements are not numbered and may overtake.
  if (const auto ping = std::exchange(connection_.pong, {})) {
    write_header(output, FrameType::pong, 0, 0, *ping);
  }
  if (std::exchange(connection_.ping_wanted, false)) {
    write_header(output, FrameType::ping, 0, 0, ++connection_.pings);
  }
  const bool ack_pending = connection_.acknowledged != session_.received;
  if (ack_pending && (connection_.ack_wanted || first != last)) {
    write_header(output, FrameType::ack, 0, 0, session_.received);
    connection_.acknowledged = session_.received;
    connection_.unacknowledged_bytes = 0;
    connection_.ack_deadline.reset();
    connection_.ack_wanted = false;
  }
  for (std::size_t i = first; i < last; ++i) {
    const KeptFrame& frame = session_.kept[i];
    write_header(output, FrameType::data, frame.stream, frame.payload.size(),
                 connection_.next_sent++);
    output.bytes(frame.payload);
  }
  return output.finish();
}

void Endpoint::say_hello() {
  ByteWriter& output = connection_.first_output;
  write_header(output, FrameType::hello, 0, hello_bytes, 0);
  output.u32be(hello_magic);
  output.u16be(protocol_version);
  output.u16be(0);  // flags
  output.bytes(session_.id);
  output.u64be(session_.received);
}

// --- time ---

void Endpoint::advance(Instant now) {
  if (!connection_.open || failed_) return;
  if (now >= connection_.last_received + silence_limit) {
    return fail_silently(
        fail(ErrorCode::unavailable, "nothing was heard from " + peer() + " for " +
                                         std::to_string(silence_limit / std::chrono::seconds(1)) +
                                         " s; the network between may be cut"));
  }
  if (!connection_.greeted) {
    if (now >= connection_.since + hello_timeout)
      fail_link(ErrorCode::unavailable, "no hello in time");
    return;
  }
  if (now >= std::max(connection_.last_received, connection_.last_ping) + ping_after) {
    connection_.last_ping = now;
    connection_.ping_wanted = true;
  }
  if (connection_.ack_deadline && now >= *connection_.ack_deadline) connection_.ack_wanted = true;
}

std::optional<Instant> Endpoint::next_deadline() const {
  if (!connection_.open || failed_) return std::nullopt;
  Instant next = connection_.last_received + silence_limit;
  if (!connection_.greeted) return std::min(next, connection_.since + hello_timeout);
  next = std::min(next, std::max(connection_.last_received, connection_.last_ping) + ping_after);
  if (connection_.ack_deadline && !connection_.ack_wanted)
    next = std::min(next, *connection_.ack_deadline);
  return next;
}

// --- events ---

std::optional<Endpoint::Event> Endpoint::poll_event() {
  if (events_.empty()) return std::nullopt;
  std::optional<Event> event(std::move(events_.front()));
  events_.pop_front();
  return event;
}

std::optional<Error> Endpoint::poll_warning() {
  if (warnings_.empty()) return std::nullopt;
  std::optional<Error> warning(std::move(warnings_.front()));
  warnings_.pop_front();
  return warning;
}

void Endpoint::fail_link(ErrorCode code, const std::string& message) {
  if (failed_) return;
  const ByteWriter text = [&message] {
    ByteWriter writer;
    for (const char c : message.substr(0, limits::link_text_bytes))
      writer.u8(static_cast<std::uint8_t>(c));
    return writer;
  }();
  write_header(connection_.first_output, FrameType::abort, 0, text.size(), 0);
  connection_.first_output.bytes(text.view());
  fail_silently(fail(code, "link with " + peer() + " failed: " + message));
}

void Endpoint::fail_silently(Error error) {
  if (failed_) return;
  failed_ = true;
  session_.kept.clear();
  session_.kept_bytes = 0;
  events_.emplace_back(Failed{std::move(error)});
}

}  // namespace tillbridge::link
