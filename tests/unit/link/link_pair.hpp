// A till and a server back to back, with a wire between them that cuts bytes as it likes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "channel/bytes/writer.hpp"
#include "channel/link/endpoint.hpp"

namespace tillbridge::test {

inline constexpr link::SessionId session_id{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

inline Bytes random_bytes(std::mt19937& random, std::size_t size) {
  Bytes bytes(size);
  std::generate(bytes.begin(), bytes.end(),
                [&random] { return static_cast<std::uint8_t>(random()); });
  return bytes;
}

/// A frame as PROTOCOL.md has it, written down here a second time: the tests must not share a
/// mistake with the code.
inline Bytes frame(std::uint8_t type, std::uint16_t stream, std::uint64_t number,
                   ByteView payload = {}, std::optional<std::uint32_t> payload_bytes = {},
                   std::uint8_t flags = 0) {
  ByteWriter writer;
  writer.u8(type);
  writer.u8(flags);
  writer.u16be(stream);
  writer.u32be(payload_bytes.value_or(static_cast<std::uint32_t>(payload.size())));
  writer.u64be(number);
  writer.bytes(payload);
  return writer.finish();
}

inline Bytes hello_payload(std::uint16_t version = 1, std::uint16_t flags = 0,
                           link::SessionId id = session_id, std::uint64_t next_expected = 0) {
  ByteWriter writer;
  writer.u32be(0x54424C4B);
  writer.u16be(version);
  writer.u16be(flags);
  writer.bytes(id);
  writer.u64be(next_expected);
  return writer.finish();
}

inline Bytes hello_frame(std::uint64_t connection = 1, std::uint16_t flags = 0,
                         std::uint64_t next_expected = 0) {
  return frame(1, 0, connection, hello_payload(1, flags, session_id, next_expected));
}

inline Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

/// All events so far, sorted.
struct Heard {
  std::vector<link::Endpoint::Established> established;
  std::vector<link::ControlMessage> control;
  std::vector<link::Endpoint::Data> data;
  std::vector<Error> lost;
  std::optional<Error> failed;

  void poll(link::Endpoint& endpoint) {
    while (auto event = endpoint.poll_event()) {
      EXPECT_FALSE(failed.has_value()) << "an event after Failed";
      if (auto* up = std::get_if<link::Endpoint::Established>(&*event)) established.push_back(*up);
      if (auto* said = std::get_if<link::Endpoint::Control>(&*event))
        control.push_back(std::move(said->message));
      if (auto* bytes = std::get_if<link::Endpoint::Data>(&*event))
        data.push_back(std::move(*bytes));
      if (auto* gone = std::get_if<link::Endpoint::Lost>(&*event)) lost.push_back(gone->error);
      if (auto* end = std::get_if<link::Endpoint::Failed>(&*event)) failed = std::move(end->error);
    }
  }
  [[nodiscard]] Bytes bytes_of(link::StreamId stream) const {
    Bytes all;
    for (const auto& part : data) {
      if (part.stream == stream) all.insert(all.end(), part.bytes.begin(), part.bytes.end());
    }
    return all;
  }
};

struct LinkPair {
  link::Endpoint till{link::Side::till, session_id};
  link::Endpoint server{link::Side::server};
  Heard at_till, at_server;
  Instant now{1'000'000};

  /// Moves what is there, in pieces of at most `piece` bytes; true if anything moved.
  bool move(link::Endpoint& from, link::Endpoint& to, Heard& heard, std::size_t piece) {
    const Bytes output = from.take_output();
    ByteReader reader(output);
    while (reader.remaining() > 0) {
      to.receive(reader.take(std::min(piece, reader.remaining())), now);
      heard.poll(to);
    }
    return !output.empty();
  }
  void settle(std::size_t piece = 65536) {
    at_till.poll(till);
    at_server.poll(server);
    bool moved = true;
    while (moved) {
      moved = move(till, server, at_server, piece);
      moved = move(server, till, at_till, piece) || moved;
    }
  }
  /// The connection breaks: what is on its way is lost. Both ends notice.
  void cut() {
    till.disconnected(now);
    server.disconnected(now);
  }
  void connect() {
    till.connected(now);
    server.connected(now);
    settle();
  }
  void advance(Duration by) {
    now += by;
    till.advance(now);
    server.advance(now);
    settle();
  }
};

}  // namespace tillbridge::test
