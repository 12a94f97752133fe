// What a broken or malicious peer may send, and what the endpoint says of it.
#include <random>

#include <gmock/gmock.h>

#include "channel/bytes/limits.hpp"
#include "channel/link/endpoint.hpp"
#include "tests/unit/link/link_pair.hpp"

namespace tillbridge::link {
namespace {

using test::frame;
using test::hello_frame;
using test::hello_payload;
using test::operator+;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr std::uint8_t hello = 1, data = 2, ack = 3, ping = 4, pong = 5, abort_frame = 6;

/// Feeds `bytes` to a fresh endpoint and expects it to fail with `words`, tell the peer, and be
/// deaf from then on.
void expect_failure(Side side, const Bytes& bytes, const std::string& words, bool greeted = true) {
  Endpoint endpoint(side, side == Side::till ? test::session_id : SessionId{});
  endpoint.connected(0s);
  static_cast<void>(endpoint.take_output());
  test::Heard heard;
  if (greeted) {
    endpoint.receive(hello_frame(), 0s);
    heard.poll(endpoint);
    ASSERT_EQ(heard.established.size(), 1U);
    endpoint.send(1, Bytes{1}, 0s);
    static_cast<void>(endpoint.take_output());
  }
  endpoint.receive(bytes, 0s);
  heard.poll(endpoint);
  ASSERT_TRUE(heard.failed.has_value()) << "expected: " << words;
  EXPECT_THAT(heard.failed->message, HasSubstr(words));
  const Bytes output = endpoint.take_output();
  ASSERT_GE(output.size(), 16U);
  EXPECT_EQ(output[0], abort_frame);
  EXPECT_THAT(std::string(output.begin() + 16, output.end()), HasSubstr(words));

  endpoint.receive(hello_frame() + frame(data, 1, 0, Bytes{1}), 0s);
  endpoint.send(1, Bytes{1}, 0s);
  endpoint.advance(100s);
  EXPECT_FALSE(endpoint.poll_event().has_value());
  EXPECT_TRUE(endpoint.take_output().empty());
  EXPECT_FALSE(endpoint.can_send());
  EXPECT_FALSE(endpoint.next_deadline().has_value());
}

void expect_failure_at_both(const Bytes& bytes, const std::string& words, bool greeted = true) {
  expect_failure(Side::till, bytes, words, greeted);
  expect_failure(Side::server, bytes, words, greeted);
}

TEST(EndpointHostileTest, FrameTypesThatDoNotExist) {
  for (const int type : {0, 7, 128, 255}) {
    expect_failure_at_both(frame(static_cast<std::uint8_t>(type), 0, 0),
                           "of type " + std::to_string(type));
  }
}

TEST(EndpointHostileTest, Flags) {
  expect_failure_at_both(frame(ping, 0, 1, {}, {}, 1), "expected 0");
}

TEST(EndpointHostileTest, AnythingBeforeTheHello) {
  for (const std::uint8_t type : {data, ack, ping, pong}) {
    expect_failure_at_both(frame(type, 0, 0, Bytes{1}), "before the hello", false);
  }
}

TEST(EndpointHostileTest, ASecondHello) {
  expect_failure_at_both(hello_frame(), "a second hello");
}

TEST(EndpointHostileTest, HellosThatAreNone) {
  expect_failure_at_both(frame(hello, 0, 0, Bytes(32)), "some other protocol", false);
  expect_failure_at_both(frame(hello, 0, 0, Bytes(5)), "5 bytes of payload", false);
  expect_failure_at_both(frame(hello, 0, 0, {}, 257), "257 bytes of payload", false);
  expect_failure_at_both(frame(hello, 3, 0, hello_payload()), "on stream 3", false);
  const Bytes good = hello_payload();
  for (std::size_t size = 6; size < good.size(); ++size) {
    expect_failure_at_both(frame(hello, 0, 0, ByteView(good).first(size)),
                           "a hello of " + std::to_string(size), false);
  }
  expect_failure_at_both(frame(hello, 0, 0, good + Bytes{0}), "a hello of 33", false);
  expect_failure(Side::server, frame(hello, 0, 0, hello_payload(1, 0, SessionId{})),
                 "without a session id", false);
  expect_failure_at_both(frame(hello, 0, 0, good), "connection", false);
  expect_failure(Side::till, frame(hello, 0, 1, hello_payload(1, 0, SessionId{9})),
                 "another session", false);
  expect_failure(Side::till, hello_frame(2), "the hello of connection 2, expected 1", false);
  expect_failure(Side::till, hello_frame(1, 1), "resumed", false);
  expect_failure(Side::till, hello_frame(1, 0, 5), "data frame 5", false);
}

TEST(EndpointHostileTest, GapsAndDuplicatesNameWhatWasExpected) {
  const Bytes first = frame(data, 1, 0, Bytes{1});
  expect_failure_at_both(frame(data, 1, 1, Bytes{1}), "number 1, expected 0");
  expect_failure_at_both(first + first, "number 0, expected 1");
  expect_failure_at_both(first + frame(data, 1, 2, Bytes{1}), "number 2, expected 1");
  expect_failure_at_both(frame(data, 1, ~std::uint64_t{0}, Bytes{1}), "expected 0");
}

TEST(EndpointHostileTest, PayloadsThatAreTooShortOrTooLong) {
  expect_failure_at_both(frame(data, 1, 0), "with 0 bytes");
  expect_failure_at_both(frame(data, 1, 0, {}, limits::link_frame_payload_bytes + 1),
                         "65537 bytes");
  expect_failure_at_both(frame(data, 1, 0, {}, 0xFFFFFFFF), "4294967295 bytes");
  expect_failure_at_both(frame(data, 0, 0, {}, limits::link_control_message_bytes + 1),
                         "16385 bytes");
  for (const std::uint8_t type : {ack, ping, pong})
    expect_failure_at_both(frame(type, 0, 0, Bytes{1}), "1 bytes");
  expect_failure_at_both(frame(abort_frame, 0, 0, {}, limits::link_text_bytes + 1), "1025 bytes");
}

TEST(EndpointHostileTest, StreamsOfFramesThatHaveNone) {
  for (const std::uint8_t type : {ack, ping, pong, abort_frame}) {
    expect_failure_at_both(frame(type, 7, 0), "on stream 7, expected 0");
  }
}

TEST(EndpointHostileTest, AcknowledgementsOfWhatWasNeverSentOrTakenBack) {
  expect_failure_at_both(frame(ack, 0, 2), "up to data frame 2, expected 0 to 1");
  expect_failure_at_both(frame(ack, 0, 1) + frame(ack, 0, 0),
                         "up to data frame 0, expected 1 to 1");
  expect_failure_at_both(frame(ack, 0, ~std::uint64_t{0}), "expected 0 to 1");
}

TEST(EndpointHostileTest, AnAcknowledgementOfWhatIsStillInTheQueue) {
  Endpoint till(Side::till, test::session_id);
  till.connected(0s);
  till.receive(hello_frame(), 0s);
  till.send(1, Bytes{1}, 0s);  // not taken yet
  till.receive(frame(ack, 0, 1), 0s);
  test::Heard heard;
  heard.poll(till);
  EXPECT_TRUE(heard.failed.has_value());
}

TEST(EndpointHostileTest, AnswersToPingsThatWereNotSent) {
  expect_failure_at_both(frame(pong, 0, 1), "ping 1; 0 were sent");
  expect_failure_at_both(frame(pong, 0, 0), "ping 0");
}

TEST(EndpointHostileTest, ControlMessagesThatAreNone) {
  const auto control = [](const std::string& text) {
    return frame(data, 0, 0, Bytes(text.begin(), text.end()));
  };
  expect_failure_at_both(control("x"), "not a JSON object");
  expect_failure_at_both(control("[]"), "not a JSON object");
  expect_failure_at_both(control(R"({"type":"released","stream":0})"), "1 to 65535");
}

TEST(EndpointHostileTest, APingFloodIsAnsweredOnce) {
  Endpoint server(Side::server);
  server.connected(0s);
  server.receive(hello_frame(), 0s);
  static_cast<void>(server.take_output());
  for (std::uint64_t i = 1; i <= 10'000; ++i) server.receive(frame(ping, 0, i), 0s);
  EXPECT_EQ(server.take_output(), frame(pong, 0, 10'000));
}

TEST(EndpointHostileTest, AnAbortIsShownPrintableAndNotAnswered) {
  Endpoint till(Side::till, test::session_id);
  till.connected(0s);
  static_cast<void>(till.take_output());
  till.receive(frame(abort_frame, 0, 0, Bytes{'n', 'o', '\n', 0x1B, '[', 0xC3}), 0s);
  test::Heard heard;
  heard.poll(till);
  ASSERT_TRUE(heard.failed.has_value());
  EXPECT_THAT(heard.failed->message, HasSubstr("the USB server ended the link: no??["));
  EXPECT_TRUE(till.take_output().empty());
}

TEST(EndpointHostileTest, EveryTruncationWaitsAndFailsOnSilenceOnly) {
  const Bytes whole = hello_frame() + frame(data, 1, 0, Bytes(300)) + frame(ping, 0, 1);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    Endpoint server(Side::server);
    server.connected(0s);
    server.receive(ByteView(whole).first(size), 0s);
    test::Heard heard;
    heard.poll(server);
    EXPECT_FALSE(heard.failed.has_value()) << size;
    EXPECT_EQ(heard.established.size(), size >= 48 ? 1U : 0U) << size;
    EXPECT_EQ(heard.data.size(), size >= 48 + 316 ? 1U : 0U) << size;
    server.advance(Endpoint::silence_limit);
    heard.poll(server);
    EXPECT_EQ(heard.lost.size(), 1U) << size;
    EXPECT_FALSE(heard.failed.has_value()) << size;
  }
}

TEST(EndpointHostileTest, FlippedBitsNeverBreakAnythingButTheLink) {
  std::mt19937 random(11);
  const Bytes good = hello_frame() + frame(data, 0, 0, encode(Released{7})) +
                     frame(data, 3, 1, Bytes(100)) + frame(ping, 0, 1) + frame(ack, 0, 0);
  for (int round = 0; round < 20'000; ++round) {
    Bytes bad = good;
    for (std::uint32_t flips = random() % 4 + 1; flips > 0; --flips) {
      bad[random() % bad.size()] ^= static_cast<std::uint8_t>(1U << (random() % 8));
    }
    Endpoint server(Side::server);
    server.connected(0s);
    server.receive(bad, 0s);
    test::Heard heard;
    heard.poll(server);
    EXPECT_LE(heard.data.size(), 2U);
    EXPECT_LE(server.take_output().size(), 2048U);
  }
}

}  // namespace
}  // namespace tillbridge::link
