// A session over several connections: what is sent again, what is not, and who may not go on.
#include <random>

#include <gmock/gmock.h>

#include "channel/bytes/limits.hpp"
#include "channel/link/endpoint.hpp"
#include "tests/unit/link/link_pair.hpp"

namespace tillbridge::link {
namespace {

using test::frame;
using test::hello_frame;
using test::LinkPair;
using test::operator+;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr std::uint8_t data = 2, ack = 3, abort_frame = 6;
constexpr std::uint16_t resumed = 1;

/// A session in which both ends were heard.
struct Resumable : LinkPair {
  Resumable() {
    connect();
    till.send(1, Bytes{1}, now);
    settle();
    server.send(1, Bytes{101}, now);
    settle();
    advance(Endpoint::ack_delay);
  }
};

TEST(EndpointResumeTest, EachEndSendsAgainWhatTheOtherDoesNotHave) {
  Resumable pair;
  pair.till.send(1, Bytes{2}, pair.now);
  pair.till.send_control(Released{7}, pair.now);
  pair.server.send(1, Bytes{102}, pair.now);
  static_cast<void>(pair.till.take_output());  // on their way when the connection breaks
  static_cast<void>(pair.server.take_output());
  pair.cut();
  pair.till.send(1, Bytes{3}, pair.now);
  pair.server.send(1, Bytes{103}, pair.now);
  EXPECT_TRUE(pair.till.take_output().empty());
  EXPECT_FALSE(pair.till.is_connected());
  EXPECT_FALSE(pair.till.next_deadline().has_value());

  pair.connect();
  EXPECT_EQ(pair.at_server.bytes_of(1), (Bytes{1, 2, 3}));
  EXPECT_EQ(pair.at_till.bytes_of(1), (Bytes{101, 102, 103}));
  EXPECT_EQ(pair.at_server.control.size(), 1U);
  ASSERT_EQ(pair.at_till.established.size(), 2U);
  ASSERT_EQ(pair.at_server.established.size(), 2U);
  EXPECT_TRUE(pair.at_till.established[1].resumed && pair.at_server.established[1].resumed);
  pair.advance(Endpoint::ack_delay);
  EXPECT_EQ(pair.till.kept_bytes(), 0U);
  EXPECT_EQ(pair.server.kept_bytes(), 0U);
}

TEST(EndpointResumeTest, TheFramesAreThoseOfTheDocument) {
  Resumable pair;
  pair.till.send(1, Bytes{2}, pair.now);
  static_cast<void>(pair.till.take_output());
  pair.cut();
  pair.till.connected(pair.now);
  EXPECT_EQ(pair.till.take_output(), hello_frame(2, 0, 1));
  pair.server.connected(pair.now);
  pair.server.receive(hello_frame(2, 0, 1), pair.now);
  EXPECT_EQ(pair.server.take_output(), hello_frame(2, resumed, 1));
  pair.till.receive(hello_frame(2, resumed, 1), pair.now);
  EXPECT_EQ(pair.till.take_output(), frame(data, 1, 1, Bytes{2}));
}

TEST(EndpointResumeTest, ACutAtEveryByteLosesNothingAndRepeatsNothing) {
  // The whole conversation: hello, frames of several sizes, acknowledgements. Cut after every
  // number of bytes, in one direction at a time, the other having arrived as far as it got.
  const auto conversation = [](std::size_t cut_at, bool upwards) {
    LinkPair pair;
    Bytes up;
    Bytes down;
    const auto say = [&](std::uint8_t value) {
      const Bytes bytes(value % 7U + 1, value);
      pair.till.send(1, ByteView(bytes), pair.now);
      up.insert(up.end(), bytes.begin(), bytes.end());
      pair.server.send(1, ByteView(bytes), pair.now);
      down.insert(down.end(), bytes.begin(), bytes.end());
      if (value % 3 == 0) pair.till.send_control(Released{value}, pair.now);
    };
    std::size_t passed = 0;
    bool is_cut = false;
    const auto pass = [&](Endpoint& from, Endpoint& to, test::Heard& heard, bool is_up) {
      const Bytes output = from.take_output();
      ByteView view(output);
      if (!is_cut && is_up == upwards && passed + view.size() >= cut_at) {
        view = view.first(cut_at - passed);
        is_cut = true;
      }
      if (is_up == upwards) passed += view.size();
      to.receive(view, pair.now);
      heard.poll(to);
      return !output.empty();
    };
    pair.till.connected(pair.now);
    pair.server.connected(pair.now);
    for (std::uint8_t value = 1; value <= 6; ++value) {
      // The server has nothing to say before the till did, as everywhere.
      if (value == 1) {
        pair.till.send(1, Bytes{0}, pair.now);
        up.push_back(0);
      } else {
        say(value);
      }
      for (bool moved = true; moved && !is_cut;) {
        moved = pass(pair.till, pair.server, pair.at_server, true);
        if (!is_cut) moved = pass(pair.server, pair.till, pair.at_till, false) || moved;
      }
      if (is_cut && pair.till.is_connected()) {
        pair.cut();
        pair.connect();
        if (pair.at_till.established.size() == 2 && !pair.at_till.established[1].resumed) {
          // Nothing was heard of the till yet: it begins anew.
          EXPECT_EQ(value, 1);
          pair.till.send(1, ByteView(up), pair.now);
        }
      }
      pair.now += Endpoint::ack_delay;
      pair.till.advance(pair.now);
      pair.server.advance(pair.now);
      if (is_cut) pair.settle();
    }
    if (!is_cut) return false;
    pair.advance(Endpoint::ack_delay);
    EXPECT_FALSE(pair.at_till.failed || pair.at_server.failed) << "cut at " << cut_at;
    EXPECT_EQ(pair.at_server.bytes_of(1), up) << "cut at " << cut_at;
    EXPECT_EQ(pair.at_till.bytes_of(1), down) << "cut at " << cut_at;
    EXPECT_EQ(pair.at_server.control.size(), 2U) << "cut at " << cut_at;
    EXPECT_EQ(pair.till.kept_bytes() + pair.server.kept_bytes(), 0U) << "cut at " << cut_at;
    return true;
  };
  for (const bool upwards : {true, false}) {
    std::size_t cut_at = 0;
    while (conversation(cut_at, upwards)) ++cut_at;
    EXPECT_GT(cut_at, 150U) << "the conversation is too short to prove anything";
  }
}

TEST(EndpointResumeTest, AServerThatDoesNotHaveTheSessionBeginsANewOne) {
  Resumable pair;
  pair.till.send(1, Bytes{2}, pair.now);
  pair.cut();
  pair.server = Endpoint(Side::server);  // restarted
  pair.connect();
  ASSERT_EQ(pair.at_till.established.size(), 2U);
  EXPECT_FALSE(pair.at_till.established[1].resumed);
  EXPECT_EQ(pair.at_server.bytes_of(1), (Bytes{1})) << "what was for dead streams is forgotten";
  EXPECT_EQ(pair.till.kept_bytes(), 0U);
  pair.till.send(1, Bytes{9}, pair.now);
  pair.settle();
  EXPECT_EQ(pair.at_server.bytes_of(1), (Bytes{1, 9}));
  EXPECT_FALSE(pair.at_server.failed || pair.at_till.failed);
}

TEST(EndpointResumeTest, AServersNewSessionThatTheTillNeverHeardOfIsNotResumed) {
  Resumable pair;
  pair.cut();
  pair.server = Endpoint(Side::server);
  pair.till.connected(pair.now);
  pair.server.connected(pair.now);
  pair.server.receive(pair.till.take_output(), pair.now);
  static_cast<void>(pair.server.take_output());  // its hello is lost
  EXPECT_FALSE(pair.server.can_resume());
  pair.cut();
  pair.connect();
  ASSERT_EQ(pair.at_till.established.size(), 2U);
  EXPECT_FALSE(pair.at_till.established[1].resumed);
  pair.till.send(1, Bytes{9}, pair.now);
  pair.settle();
  EXPECT_EQ(pair.at_server.bytes_of(1), (Bytes{1, 9}));
}

TEST(EndpointResumeTest, WhatWasSentBeforeTheFirstConnectionWaitsOverSeveralAttempts) {
  LinkPair pair;
  pair.till.send(1, Bytes{1}, pair.now);
  pair.till.connected(pair.now);
  static_cast<void>(pair.till.take_output());
  pair.till.disconnected(pair.now);
  pair.connect();
  EXPECT_EQ(pair.at_server.bytes_of(1), (Bytes{1}));
}

TEST(EndpointResumeTest, ANewConnectionTakesOverFromOneThatIsBelievedAlive) {
  Resumable pair;
  pair.till.disconnected(pair.now);  // the server did not notice
  EXPECT_TRUE(pair.server.is_connected());
  pair.server.receive(ByteView(frame(data, 1, 1, Bytes(100))).first(50), pair.now);  // half a frame
  pair.till.send(1, Bytes{2}, pair.now);
  pair.connect();
  EXPECT_EQ(pair.at_server.bytes_of(1), (Bytes{1, 2}));
  EXPECT_TRUE(pair.at_server.established.back().resumed);
}

TEST(EndpointResumeTest, AConnectionThatComesLateIsTurnedAwayAndTheSessionGoesOn) {
  Resumable pair;
  pair.cut();
  pair.till.connected(pair.now);
  const Bytes late = pair.till.take_output();  // connection 2 is slow
  pair.till.disconnected(pair.now);
  pair.connect();  // connection 3 is not
  const auto caller = identify(late);
  ASSERT_TRUE(caller && caller->ok());
  EXPECT_EQ((*caller)->connection, 2U);
  EXPECT_TRUE(pair.server.is_outdated(**caller));
  // An owner that does not ask loses the connection, not the session.
  pair.server.connected(pair.now);
  pair.server.receive(late, pair.now);
  pair.at_server.poll(pair.server);
  ASSERT_EQ(pair.at_server.lost.size(), 1U);
  EXPECT_THAT(pair.at_server.lost[0].message, HasSubstr("connection 2 of the till came after"));
  EXPECT_EQ(pair.server.take_output()[0], abort_frame);
  EXPECT_TRUE(pair.server.take_output().empty());
  pair.connect();
  pair.till.send(1, Bytes{2}, pair.now);
  pair.settle();
  EXPECT_EQ(pair.at_server.bytes_of(1), (Bytes{1, 2}));
  EXPECT_TRUE(pair.at_server.established.back().resumed);
}

TEST(EndpointResumeTest, ClaimsThatCannotBeTrueAreRefused) {
  struct Claim {
    std::uint64_t next_expected;
    bool acceptable;
  };
  // The other end has acknowledged 1 of 3 frames, the last of which no connection was given.
  for (const Claim claim : {Claim{0, false}, Claim{1, true}, Claim{2, true}, Claim{3, false},
                            Claim{4, false}, Claim{~std::uint64_t{0}, false}}) {
    for (const Side side : {Side::till, Side::server}) {
      Resumable pair;
      Endpoint& endpoint = side == Side::till ? pair.till : pair.server;
      test::Heard& heard = side == Side::till ? pair.at_till : pair.at_server;
      endpoint.send(1, Bytes{2}, pair.now);
      static_cast<void>(endpoint.take_output());
      endpoint.send(1, Bytes{3}, pair.now);
      pair.cut();
      endpoint.connected(pair.now);
      static_cast<void>(endpoint.take_output());
      endpoint.receive(
          hello_frame(2, side == Side::till ? resumed : std::uint16_t{0}, claim.next_expected),
          pair.now);
      heard.poll(endpoint);
      ASSERT_EQ(heard.failed.has_value(), !claim.acceptable) << claim.next_expected;
      if (claim.acceptable) continue;
      EXPECT_THAT(heard.failed->message, HasSubstr("which is not one of 1 to 2"));
      const Bytes output = endpoint.take_output();
      EXPECT_EQ(output[0], abort_frame);
      EXPECT_FALSE(endpoint.can_resume());
      endpoint.connected(pair.now);
      EXPECT_FALSE(endpoint.is_connected()) << "the session is over";
    }
  }
}

TEST(EndpointResumeTest, TheHelloOfAnotherSessionDoesNotGetThisOne) {
  Resumable pair;
  pair.cut();
  pair.server.connected(pair.now);
  pair.server.receive(frame(1, 0, 2, test::hello_payload(1, 0, SessionId{9})), pair.now);
  pair.at_server.poll(pair.server);
  EXPECT_TRUE(pair.at_server.failed.has_value());
  EXPECT_EQ(pair.server.take_output()[0], abort_frame) << "and no data of it";
}

TEST(EndpointResumeTest, AcknowledgementsGoOnAcrossConnections) {
  Resumable pair;
  pair.till.send(1, Bytes{2}, pair.now);
  pair.settle();  // arrived, not acknowledged
  EXPECT_NE(pair.till.kept_bytes(), 0U);
  pair.cut();
  pair.connect();
  EXPECT_EQ(pair.till.kept_bytes(), 0U) << "the hello acknowledged it";
  EXPECT_EQ(pair.at_server.bytes_of(1), (Bytes{1, 2}));
  // An acknowledgement below that of an earlier connection is as wrong as before.
  pair.till.receive(frame(ack, 0, 1), pair.now);
  pair.at_till.poll(pair.till);
  EXPECT_TRUE(pair.at_till.failed.has_value());
}

TEST(EndpointResumeTest, WithoutAConnectionLessIsKeptAndNothingIsDropped) {
  Resumable pair;
  pair.cut();
  const Bytes piece(limits::link_frame_payload_bytes, 5);
  std::size_t pieces = 0;
  for (; pair.till.can_send(); ++pieces) pair.till.send(2, ByteView(piece), pair.now);
  EXPECT_GE(pair.till.kept_bytes(), limits::link_kept_bytes_waiting);
  EXPECT_LT(pair.till.kept_bytes(), limits::link_kept_bytes_waiting + 2 * piece.size());
  pair.connect();
  EXPECT_TRUE(pair.till.can_send());
  EXPECT_EQ(pair.at_server.bytes_of(2).size(), pieces * piece.size());
}

TEST(EndpointResumeTest, SilenceLosesTheConnectionAndTheNextOneGoesOn) {
  Resumable pair;
  pair.till.send(1, Bytes{2}, pair.now);
  static_cast<void>(pair.till.take_output());  // into a network that swallows it
  const Instant quiet = pair.now;
  for (int second = 0; second < 6; ++second) {
    pair.now += 1s;
    pair.till.advance(pair.now);
    pair.server.advance(pair.now);
    static_cast<void>(pair.till.take_output());
    static_cast<void>(pair.server.take_output());
  }
  pair.at_till.poll(pair.till);
  pair.at_server.poll(pair.server);
  EXPECT_EQ(pair.at_till.lost.size(), 1U);
  EXPECT_EQ(pair.at_server.lost.size(), 1U);
  EXPECT_LE(pair.now, quiet + Endpoint::silence_limit);
  EXPECT_FALSE(pair.till.is_connected());
  pair.connect();
  EXPECT_EQ(pair.at_server.bytes_of(1), (Bytes{1, 2}));
}

TEST(EndpointResumeTest, WhoCallsIsKnownFromAWholeHelloOnly) {
  const Bytes hello = hello_frame(5, 0, 77);
  for (std::size_t size = 0; size < hello.size(); ++size) {
    EXPECT_FALSE(identify(ByteView(hello).first(size)).has_value()) << size;
  }
  const auto caller = identify(hello + Bytes{1, 2, 3});
  ASSERT_TRUE(caller && caller->ok());
  EXPECT_EQ((*caller)->session, test::session_id);
  EXPECT_EQ((*caller)->connection, 5U);
  for (const Bytes& other : {frame(data, 1, 0, Bytes{1}), frame(1, 0, 1, test::hello_payload(2)),
                             frame(1, 0, 1, Bytes(32)), frame(1, 0, 1, Bytes(31)), Bytes{0x16}}) {
    const auto refused = identify(other);
    ASSERT_TRUE(refused.has_value());
    EXPECT_FALSE(refused->ok());
  }
}

}  // namespace
}  // namespace tillbridge::link
