#include "channel/link/endpoint.hpp"

#include <random>

#include <gmock/gmock.h>

#include "channel/bytes/limits.hpp"
#include "tests/unit/link/link_pair.hpp"

namespace tillbridge::link {
namespace {

using test::frame;
using test::hello_frame;
using test::LinkPair;
using test::operator+;
using test::random_bytes;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr std::size_t header_bytes = 16;

TEST(EndpointTest, BothEndsGreetAndAgreeOnTheSession) {
  LinkPair pair;
  pair.connect();
  ASSERT_EQ(pair.at_till.established.size(), 1U);
  ASSERT_EQ(pair.at_server.established.size(), 1U);
  EXPECT_EQ(pair.at_till.established[0].session, test::session_id);
  EXPECT_EQ(pair.at_server.established[0].session, test::session_id);
  EXPECT_FALSE(pair.at_till.established[0].resumed);
  EXPECT_FALSE(pair.at_server.established[0].resumed);
}

TEST(EndpointTest, TheFramesAreThoseOfTheDocument) {
  Endpoint till(Side::till, test::session_id);
  till.connected(0s);
  EXPECT_EQ(till.take_output(), hello_frame());
  till.receive(hello_frame(), 0s);
  till.send(7, Bytes{0xAA, 0xBB}, 0s);
  till.send_control(Released{7}, 0s);
  const Bytes released = encode(Released{7});
  EXPECT_EQ(till.take_output(), frame(2, 7, 0, Bytes{0xAA, 0xBB}) + frame(2, 0, 1, released));
  till.receive(frame(4, 0, 9) + frame(2, 3, 0, Bytes{1}), 0s);
  EXPECT_EQ(till.take_output(), frame(5, 0, 9));
  till.advance(Endpoint::ack_delay);
  EXPECT_EQ(till.take_output(), frame(3, 0, 1));
  till.advance(Endpoint::ping_after);
  EXPECT_EQ(till.take_output(), frame(4, 0, 1));
}

TEST(EndpointTest, WhatIsSentBeforeTheConnectionWaitsForIt) {
  LinkPair pair;
  pair.till.send_control(Hello{"tillbridge 1", "kasse-03", "anna", "SHOP", "ts.example"}, pair.now);
  EXPECT_TRUE(pair.till.take_output().empty());
  pair.connect();
  ASSERT_EQ(pair.at_server.control.size(), 1U);
  EXPECT_EQ(std::get<Hello>(pair.at_server.control[0]).client_name, "kasse-03");
}

TEST(EndpointTest, StreamsArriveWholeAndInOrderHoweverTheBytesAreCut) {
  for (std::uint32_t seed = 1; seed <= 60; ++seed) {
    std::mt19937 random(seed);
    LinkPair pair;
    pair.connect();
    std::array<Bytes, 4> sent_up;
    std::array<Bytes, 4> sent_down;
    std::size_t controls = 0;
    for (int round = 0; round < 40; ++round) {
      const auto stream = static_cast<StreamId>(random() % 3 + 1);
      const Bytes bytes = random_bytes(random, random() % (random() % 8 == 0 ? 200'000 : 600));
      const bool up = random() % 2 == 0;
      Bytes& all = (up ? sent_up : sent_down).at(stream);
      all.insert(all.end(), bytes.begin(), bytes.end());
      Endpoint& from = up ? pair.till : pair.server;
      if (random() % 2 == 0) {
        from.send(stream, ByteView(bytes), pair.now);
      } else {
        from.send(stream, Bytes(bytes), pair.now);
      }
      if (random() % 8 == 0) {
        pair.till.send_control(Goodbye{std::to_string(controls++)}, pair.now);
      }
      if (random() % 3 == 0) pair.settle(random() % 5000 + 1);
      if (random() % 4 == 0) pair.advance(Duration(random() % 3'000'000));
    }
    pair.settle(seed == 1 ? 1 : 4096);
    for (StreamId stream = 1; stream <= 3; ++stream) {
      EXPECT_EQ(pair.at_server.bytes_of(stream), sent_up.at(stream)) << "seed " << seed;
      EXPECT_EQ(pair.at_till.bytes_of(stream), sent_down.at(stream)) << "seed " << seed;
    }
    ASSERT_EQ(pair.at_server.control.size(), controls);
    for (std::size_t i = 0; i < controls; ++i) {
      EXPECT_EQ(std::get<Goodbye>(pair.at_server.control[i]).reason, std::to_string(i));
    }
    pair.advance(Endpoint::ack_delay);
    EXPECT_EQ(pair.till.kept_bytes(), 0U);
    EXPECT_EQ(pair.server.kept_bytes(), 0U);
    EXPECT_FALSE(pair.at_till.failed || pair.at_server.failed);
  }
}

TEST(EndpointTest, ByteByByte) {
  LinkPair pair;
  pair.till.connected(pair.now);
  pair.server.connected(pair.now);
  std::mt19937 random(5);
  const Bytes bytes = random_bytes(random, 70'000);
  pair.till.send(9, ByteView(bytes), pair.now);
  pair.settle(1);
  EXPECT_EQ(pair.at_server.bytes_of(9), bytes);
  EXPECT_EQ(pair.at_server.data.size(), 2U) << "split at 64 KiB";
}

TEST(EndpointTest, OutputCanBeTakenInPortions) {
  LinkPair pair;
  pair.connect();
  std::mt19937 random(6);
  const Bytes bytes = random_bytes(random, 1'000'000);
  pair.till.send(1, ByteView(bytes), pair.now);
  std::size_t portions = 0;
  for (Bytes part = pair.till.take_output(100'000); !part.empty();
       part = pair.till.take_output(100'000)) {
    EXPECT_LE(part.size(), 100'000 + header_bytes + limits::link_frame_payload_bytes);
    pair.server.receive(part, pair.now);
    ++portions;
  }
  pair.at_server.poll(pair.server);
  EXPECT_EQ(pair.at_server.bytes_of(1), bytes);
  EXPECT_GE(portions, 7U);
}

TEST(EndpointTest, AnAcknowledgementRidesWithDataOrWaitsALittle) {
  LinkPair pair;
  pair.connect();
  pair.till.send(1, Bytes{1}, pair.now);
  pair.settle();
  EXPECT_EQ(pair.till.kept_bytes(), header_bytes + 1) << "no acknowledgement of its own yet";
  pair.server.send(1, Bytes{2}, pair.now);
  pair.settle();
  EXPECT_EQ(pair.till.kept_bytes(), 0U) << "it rode with the answer";

  pair.till.send(1, Bytes{3}, pair.now);
  pair.settle();
  EXPECT_EQ(pair.server.next_deadline(), pair.now + Endpoint::ack_delay);
  pair.advance(Endpoint::ack_delay - 1us);
  EXPECT_NE(pair.till.kept_bytes(), 0U);
  pair.advance(1us);
  EXPECT_EQ(pair.till.kept_bytes(), 0U);
}

TEST(EndpointTest, MuchDataIsAcknowledgedAtOnce) {
  LinkPair pair;
  pair.connect();
  pair.till.send(1, Bytes(Endpoint::ack_bytes), pair.now);
  pair.settle();
  EXPECT_EQ(pair.till.kept_bytes(), 0U);
  for (std::uint64_t i = 0; i < Endpoint::ack_frames; ++i) pair.till.send(1, Bytes{1}, pair.now);
  pair.settle();
  EXPECT_EQ(pair.till.kept_bytes(), 0U);
}

TEST(EndpointTest, KeptBytesPushBackAndAcknowledgementsFreeThem) {
  LinkPair pair;
  pair.connect();
  const Bytes mebibyte(std::size_t{1} << 20U);
  std::size_t sent = 0;
  while (pair.till.can_send()) {
    pair.till.send(1, ByteView(mebibyte), pair.now);
    static_cast<void>(pair.till.take_output());  // on its way, and lost
    sent += mebibyte.size();
    ASSERT_LE(sent, 2 * limits::link_kept_bytes);
  }
  EXPECT_GE(pair.till.kept_bytes(), limits::link_kept_bytes);
  EXPECT_LE(pair.till.kept_bytes(), limits::link_kept_bytes + 2 * mebibyte.size());
  const std::uint64_t frames = sent / limits::link_frame_payload_bytes;
  pair.till.receive(frame(3, 0, frames - 1), pair.now);
  EXPECT_TRUE(pair.till.can_send());
  EXPECT_EQ(pair.till.kept_bytes(), header_bytes + limits::link_frame_payload_bytes);
}

TEST(EndpointTest, AnOwnerThatIgnoresPushBackEndsTheLink) {
  LinkPair pair;
  pair.connect();
  const Bytes piece(std::size_t{4} << 20U);
  for (std::size_t sent = 0; sent <= 2 * limits::link_kept_bytes; sent += piece.size()) {
    pair.till.send(1, ByteView(piece), pair.now);
  }
  pair.at_till.poll(pair.till);
  ASSERT_TRUE(pair.at_till.failed.has_value());
  EXPECT_EQ(pair.at_till.failed->code, ErrorCode::limit);
  EXPECT_EQ(pair.till.kept_bytes(), 0U);
}

TEST(EndpointTest, PingsKeepAnIdleLinkAlive) {
  LinkPair pair;
  pair.connect();
  for (int second = 0; second < 60; ++second) {
    const Instant deadline = pair.till.next_deadline().value_or(0s);
    EXPECT_GT(deadline, pair.now);
    EXPECT_LE(deadline, pair.now + Endpoint::ping_after);
    pair.advance(1s);
  }
  EXPECT_FALSE(pair.at_till.failed.has_value());
  EXPECT_FALSE(pair.at_server.failed.has_value());
}

TEST(EndpointTest, ASilentPeerIsAskedTwiceAndThenGivenUp) {
  for (const Side side : {Side::till, Side::server}) {
    LinkPair pair;
    pair.connect();
    Endpoint& endpoint = side == Side::till ? pair.till : pair.server;
    const Instant quiet = pair.now;
    std::size_t pings = 0;
    test::Heard heard;
    // Driven by nothing but its own deadlines.
    while (heard.lost.empty()) {
      const std::optional<Instant> deadline = endpoint.next_deadline();
      ASSERT_TRUE(deadline.has_value());
      ASSERT_GT(*deadline, pair.now) << "a deadline that does not move would spin";
      pair.now = *deadline;
      endpoint.advance(pair.now);
      heard.poll(endpoint);
      if (endpoint.take_output() == frame(4, 0, pings + 1)) ++pings;
    }
    EXPECT_EQ(pings, 2U);
    EXPECT_EQ(pair.now, quiet + Endpoint::silence_limit);
    EXPECT_EQ(heard.lost[0].code, ErrorCode::unavailable);
    EXPECT_THAT(heard.lost[0].message,
                HasSubstr(side == Side::till ? "the USB server" : "the till"));
    EXPECT_FALSE(heard.failed.has_value()) << "the session goes on";
    EXPECT_FALSE(endpoint.next_deadline().has_value());
  }
}

TEST(EndpointTest, APeerThatTricklesItsHelloIsGivenUp) {
  Endpoint server(Side::server);
  server.connected(0s);
  test::Heard heard;
  const Bytes hello = hello_frame();
  Instant now{};
  for (std::size_t i = 0; i < hello.size() && heard.lost.empty(); ++i, now += 1s) {
    server.receive(ByteView(hello).subspan(i, 1), now);
    server.advance(now);
    heard.poll(server);
  }
  ASSERT_EQ(heard.lost.size(), 1U);
  EXPECT_LE(now, Endpoint::hello_timeout + 1s);
}

TEST(EndpointTest, AnotherVersionTellsBothPersonsWhatToUpdate) {
  struct Case {
    Side side;
    std::uint16_t version;
    const char* update;
  };
  for (const Case& c :
       {Case{Side::server, 2, "update the USB server"}, Case{Side::server, 0, "update the till"},
        Case{Side::till, 2, "update the till"}, Case{Side::till, 0, "update the USB server"}}) {
    Endpoint endpoint(c.side, c.side == Side::till ? test::session_id : SessionId{});
    Endpoint other(c.side == Side::till ? Side::server : Side::till, test::session_id);
    endpoint.connected(0s);
    other.connected(0s);
    static_cast<void>(endpoint.take_output());
    // A later version's hello may be longer.
    endpoint.receive(frame(1, 0, 0, test::hello_payload(c.version) + Bytes(40)), 0s);
    test::Heard heard;
    heard.poll(endpoint);
    ASSERT_TRUE(heard.failed.has_value());
    EXPECT_EQ(heard.failed->code, ErrorCode::refused);
    EXPECT_THAT(heard.failed->message, HasSubstr(c.update));
    other.receive(endpoint.take_output(), 0s);
    test::Heard at_other;
    at_other.poll(other);
    ASSERT_TRUE(at_other.failed.has_value());
    EXPECT_THAT(at_other.failed->message, HasSubstr(c.update));
    EXPECT_TRUE(other.take_output().empty() || c.side == Side::server)
        << "an abort is not answered";
  }
}

TEST(EndpointTest, AControlMessageOfALaterVersionIsAWarningOnly) {
  LinkPair pair;
  pair.connect();
  const std::string later = R"({"type":"reboot_the_moon","stream":"x"})";
  pair.server.receive(frame(2, 0, 0, Bytes(later.begin(), later.end())), pair.now);
  pair.till.connected(pair.now);
  const auto warning = pair.server.poll_warning();
  ASSERT_TRUE(warning.has_value());
  EXPECT_EQ(warning->code, ErrorCode::protocol);
  EXPECT_THAT(warning->message, HasSubstr("reboot_the_moon"));
  EXPECT_FALSE(pair.server.poll_warning().has_value());
  EXPECT_FALSE(pair.server.poll_event().has_value());
}

}  // namespace
}  // namespace tillbridge::link
