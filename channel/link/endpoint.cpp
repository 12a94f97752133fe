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

std::optional<Result<Caller>> identify(ByteView first_bytes) {
  ByteReader reader(first_bytes);
  const std::uint8_t type = reader.u8();
  reader.skip(3);  // flags, stream
  const std::uint32_t payload_bytes = reader.u32be();
  Caller caller;
  caller.connection = reader.u64be();
  if (!first_bytes.empty() && type != static_cast<std::uint8_t>(FrameType::hello))
    return fail(ErrorCode::protocol, "the first frame is no hello");
  if (first_bytes.size() < frame_header_bytes) return std::nullopt;
  if (payload_bytes != hello_bytes) return fail(ErrorCode::protocol, "no hello of this version");
  const std::uint32_t magic = reader.u32be();
  const std::uint16_t version = reader.u16be();
  reader.skip(2);  // flags
  const ByteView id = reader.take(caller.session.size());
  static_cast<void>(reader.u64be());
  if (!reader.ok()) return std::nullopt;
  if (magic != hello_magic || version != protocol_version)
    return fail(ErrorCode::protocol, "no hello of this version");
  std::copy(id.begin(), id.end(), caller.session.begin());
  return caller;
}

Endpoint::Endpoint(Side side, SessionId session) : side_(side) {
  session_.id = session;
}

void Endpoint::connected(Instant now) {
  if (failed_) return;
  connection_ = Connection{};
  connection_.open = true;
  connection_.since = now;
  connection_.last_received = now;
  connection_.last_ping = now;
  if (side_ == Side::till) {
    connections_ += 1;
    say_hello(false);
  }
}

void Endpoint::disconnected(Instant /*now*/) {
  // Half a frame that arrived dies here; all of it comes again.
  connection_ = Connection{};
}

// --- in ---

void Endpoint::receive(ByteView bytes, Instant now) {
  if (!connection_.open || failed_ || bytes.empty()) return;
  connection_.last_received = now;
  ByteReader reader(bytes);
  const auto missing = [&reader](std::size_t wanted, std::size_t have) {
    return reader.take(std::min(wanted - have, reader.remaining()));
  };
  while (reader.remaining() > 0 && connection_.open && !failed_) {
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
  if (type == FrameType::hello && connection_.greeted)
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
  if (connection_.payload.capacity() == 0) connection_.payload.swap(spare_);
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
    hello_of_till(id, next_expected);
  } else {
    hello_of_server(id, (flags & hello_flag_resumed) != 0, next_expected);
  }
}

void Endpoint::hello_of_till(const SessionId& id, std::uint64_t next_expected) {
  const std::uint64_t number = connection_.header.number;
  if (id == SessionId{}) return fail_link(ErrorCode::malformed, "a hello without a session id");
  if (number == 0) return fail_link(ErrorCode::malformed, "a hello without a connection number");
  if (session_.id != SessionId{} && id != session_.id)
    return fail_link(ErrorCode::protocol, "the hello of another session");
  if (number <= connections_) {
    const Error error = fail(ErrorCode::unavailable, "connection " + std::to_string(number) +
                                                         " of the till came after connection " +
                                                         std::to_string(connections_));
    connection_.first_output.bytes(refusal(error.message));
    return lose_connection(error);
  }
  connections_ = number;
  if (can_resume()) {
    resume(next_expected);
    return;
  }
  // Whatever the till still has of an earlier session, this is a new one, and our hello says so.
  // What our owner sent waits for it.
  session_.id = id;
  session_.first_kept = 0;
  session_.sent = 0;
  say_hello(false);
  established(false);
}

void Endpoint::hello_of_server(const SessionId& id, bool resumed, std::uint64_t next_expected) {
  if (id != session_.id) return fail_link(ErrorCode::protocol, "the hello of another session");
  if (connection_.header.number != connections_) {
    return fail_link(ErrorCode::protocol, "the hello of connection " +
                                              std::to_string(connection_.header.number) +
                                              ", expected " + std::to_string(connections_));
  }
  if (resumed) {
    if (session_.established) return resume(next_expected);
    return fail_link(ErrorCode::protocol, "a resumed session, where none was to be resumed");
  }
  if (next_expected != 0) {
    return fail_link(ErrorCode::protocol, "a new session that begins with data frame " +
                                              std::to_string(next_expected) + ", expected 0");
  }
  if (session_.established) {
    // The server restarted, or its patience is over. What is still here belongs to streams that
    // are dead.
    session_ = Session{};
    session_.id = id;
    events_.clear();
  }
  established(false);
}

/// The peer has all below `next_expected`; the rest is sent again.
void Endpoint::resume(std::uint64_t next_expected) {
  if (next_expected < session_.first_kept || next_expected > session_.sent) {
    return fail_link(ErrorCode::protocol,
                     "it wants to go on with data frame " + std::to_string(next_expected) +
                         ", which is not one of " + std::to_string(session_.first_kept) + " to " +
                         std::to_string(session_.sent));
  }
  forget(next_expected);
  connection_.next_sent = next_expected;
  if (side_ == Side::server) say_hello(true);
  established(true);
}

void Endpoint::established(bool resumed) {
  connection_.greeted = true;
  connection_.acknowledged = session_.received;  // as our hello said
  session_.established = true;
  events_.emplace_back(Established{session_.id, resumed});
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
  forget(received);
}

void Endpoint::forget(std::uint64_t below) {
  while (session_.first_kept < below) {
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
  return !failed_ && session_.kept_bytes < (connection_.open ? limits::link_kept_bytes
                                                             : limits::link_kept_bytes_waiting);
}

Bytes Endpoint::take_output(std::size_t enough) {
  if (failed_ || !connection_.open || !connection_.greeted)
    return connection_.first_output.finish();

  const auto first = static_cast<std::size_t>(connection_.next_sent - session_.first_kept);
  std::size_t last = first;
  std::size_t size = connection_.first_output.size() + 3 * frame_header_bytes /* pong, ping, ack */;
  for (std::size_t data_size = 0; last < session_.kept.size() && data_size < enough; ++last) {
    const std::size_t frame_size = frame_header_bytes + session_.kept[last].payload.size();
    data_size += frame_size;
    size += frame_size;
  }
  const bool ack_pending = connection_.acknowledged != session_.received;
  if (first == last && connection_.first_output.size() == 0 && !connection_.pong &&
      !connection_.ping_wanted && !(ack_pending && connection_.ack_wanted)) {
    return {};
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
  session_.sent = std::max(session_.sent, connection_.next_sent);
  return output.finish();
}

void Endpoint::say_hello(bool resumed) {
  ByteWriter& output = connection_.first_output;
  write_header(output, FrameType::hello, 0, hello_bytes, connections_);
  output.u32be(hello_magic);
  output.u16be(protocol_version);
  output.u16be(resumed ? hello_flag_resumed : 0);
  output.bytes(session_.id);
  output.u64be(session_.received);
}

// --- time ---

void Endpoint::advance(Instant now) {
  if (!connection_.open || failed_) return;
  if (now >= connection_.last_received + silence_limit) {
    return lose_connection(
        fail(ErrorCode::unavailable, "nothing was heard from " + peer() + " for " +
                                         std::to_string(silence_limit / std::chrono::seconds(1)) +
                                         " s; the network between may be cut"));
  }
  if (!connection_.greeted) {
    if (now >= connection_.since + hello_timeout) {
      lose_connection(fail(ErrorCode::unavailable, "no hello came from " + peer() + " in time"));
    }
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

Bytes Endpoint::refusal(const std::string& why) {
  ByteWriter output;
  const std::string text = why.substr(0, limits::link_text_bytes);
  write_header(output, FrameType::abort, 0, text.size(), 0);
  for (const char c : text) output.u8(static_cast<std::uint8_t>(c));
  return output.finish();
}

void Endpoint::lose_connection(Error error) {
  // What is in first_output, an abort perhaps, may still be taken.
  ByteWriter last_words = std::move(connection_.first_output);
  connection_ = Connection{};
  connection_.first_output = std::move(last_words);
  events_.emplace_back(Lost{std::move(error)});
}

void Endpoint::fail_link(ErrorCode code, const std::string& message) {
  if (failed_) return;
  connection_.first_output.bytes(refusal(message));
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
