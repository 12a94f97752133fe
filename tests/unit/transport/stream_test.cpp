// Streams without TLS: what every stream does, shown over TCP and over a socket pair.
#include "channel/transport/stream.hpp"

#include <array>
#include <chrono>
#include <thread>

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/bytes/limits.hpp"
#include "tests/unit/transport/stream_fixture.hpp"

namespace tillbridge::transport {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class PlainStreamTest : public test::StreamTest {
 protected:
  void connect_pair() {
    std::array<int, 2> fds{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
    client_.stream = adopt_socket(loop_, fds[0]);
    server_.stream = adopt_socket(loop_, fds[1]);
    start(client_);
    start(server_);
  }
  void connect_tcp() {
    listen(std::nullopt);
    connect(std::nullopt);
    ASSERT_NE(client_.stream, nullptr);
    run_until([&] { return server_.stream != nullptr; });
  }
};

TEST_F(PlainStreamTest, CarriesBytesBothWaysOverTcp) {
  connect_tcp();
  client_.stream->write(test::bytes_of("hello, "));
  client_.stream->write({});
  client_.stream->write(test::bytes_of("server"));
  server_.stream->write(test::bytes_of("hello, client"));
  run_until([&] { return server_.received.size() == 13 && client_.received.size() == 13; });
  EXPECT_EQ(server_.received, test::bytes_of("hello, server"));
  EXPECT_EQ(client_.received, test::bytes_of("hello, client"));
  EXPECT_EQ(client_.stream->peer().address, "127.0.0.1:" + std::to_string(acceptor_->port()));
  EXPECT_THAT(server_.stream->peer().address, StartsWith("127.0.0.1:"));
  EXPECT_EQ(client_.stream->peer().name, "");
}

TEST_F(PlainStreamTest, WhatIsQueuedArrivesBeforeTheEnd) {
  connect_pair();
  const Bytes sent = test::pattern(std::size_t{3} << 20U, 1);
  client_.stream->write(sent);
  client_.stream->close();
  client_.stream->write(test::bytes_of("too late"));
  EXPECT_FALSE(client_.closed) << "called from within close()";
  run_until([&] { return server_.closed && client_.closed; });
  EXPECT_EQ(server_.received, sent);
  EXPECT_FALSE(server_.error.has_value());
  EXPECT_FALSE(client_.error.has_value());
}

TEST_F(PlainStreamTest, AStreamDestroyedAfterCloseStillSendsWhatIsQueued) {
  connect_tcp();
  const Bytes sent = test::pattern(std::size_t{3} << 20U, 2);
  client_.stream->write(sent);
  client_.stream->close();
  client_.stream.reset();
  run_until([&] { return server_.closed; });
  EXPECT_EQ(server_.received, sent);
  EXPECT_FALSE(client_.closed);
}

TEST_F(PlainStreamTest, ADestroyedStreamIsSilentAndItsPeerLearnsOfTheEnd) {
  connect_pair();
  server_.stream->write(test::bytes_of("on its way"));
  client_.stream.reset();
  run_until([&] { return server_.closed; });
  EXPECT_TRUE(client_.received.empty());
  EXPECT_FALSE(client_.closed);
}

TEST_F(PlainStreamTest, CallbacksMayDestroyTheStream) {
  std::array<int, 2> fds{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  client_.stream = adopt_socket(loop_, fds[0]);
  server_.stream = adopt_socket(loop_, fds[1]);
  start(client_);
  // What the callback captured must live until it returns, so that the memory checkers see it if it
  // does not.
  const auto witness = std::make_shared<int>(1);
  server_.stream->start(
      {[this, witness](ByteView) {
         server_.stream.reset();
         EXPECT_EQ(*witness, 1);
       },
       {},
       [](std::optional<Error>) { ADD_FAILURE() << "closed() of a destroyed stream"; }});
  client_.stream->write(test::bytes_of("x"));
  run_until([&] { return client_.closed; });
  EXPECT_EQ(server_.stream, nullptr);

  connect_pair();
  bool destroyed = false;
  End third;
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  third.stream = adopt_socket(loop_, fds[0]);
  third.stream->start({{}, {}, [&, witness](std::optional<Error>) {
                         third.stream.reset();
                         destroyed = *witness == 1;
                         progress();
                       }});
  ::close(fds[1]);
  run_until([&] { return destroyed; });
}

TEST_F(PlainStreamTest, APausedStreamKeepsTheBytesAndAResumedOneDeliversThem) {
  connect_pair();
  server_.stream->pause_reading();
  client_.stream->write(test::bytes_of("patience"));
  run_posted();
  EXPECT_EQ(client_.stream->queued_bytes(), 0U);
  run_posted();
  EXPECT_TRUE(server_.received.empty());
  server_.stream->resume_reading();
  run_until([&] { return !server_.received.empty(); });
  EXPECT_EQ(server_.received, test::bytes_of("patience"));
}

TEST_F(PlainStreamTest, TheEndThatCameBeforeStartIsToldAfterIt) {
  std::array<int, 2> fds{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0);
  client_.stream = adopt_socket(loop_, fds[0]);
  ::close(fds[1]);
  client_.stream->write(test::bytes_of("into the void"));
  run_posted();
  start(client_);
  EXPECT_FALSE(client_.closed);
  run_until([&] { return client_.closed; });
  ASSERT_TRUE(client_.error.has_value());
  EXPECT_THAT(client_.error->message, HasSubstr("was lost"));
}

TEST_F(PlainStreamTest, AQueueThatNobodyBoundsEndsTheStream) {
  connect_pair();
  server_.stream->pause_reading();
  const std::size_t piece = std::size_t{8} << 20U;
  for (std::size_t sent = 0; sent <= limits::stream_write_queue_bytes; sent += piece) {
    client_.stream->write(Bytes(piece));
  }
  run_until([&] { return client_.closed; });
  ASSERT_TRUE(client_.error.has_value());
  EXPECT_EQ(client_.error->code, ErrorCode::limit);
}

TEST_F(PlainStreamTest, ClosingTowardsAPeerThatNeverReadsGivesUpInTheEnd) {
  connect_pair();
  server_.stream->pause_reading();
  client_.stream->write(Bytes(std::size_t{8} << 20U));
  const Instant begin = loop_.now();
  client_.stream->close();
  run_until([&] { return client_.closed; });
  EXPECT_GE(loop_.now() - begin, Stream::close_timeout);
  ASSERT_TRUE(client_.error.has_value());
  EXPECT_THAT(client_.error->message, HasSubstr("did not take the last"));
}

TEST_F(PlainStreamTest, DestroyingAConnectionBeingMadeGivesUpSilently) {
  listen(std::nullopt);
  connecting_ =
      transport::connect(loop_, "127.0.0.1", acceptor_->port(), std::nullopt, "",
                         [](Result<std::unique_ptr<Stream>>) { ADD_FAILURE() << "called"; });
  connecting_.reset();
  connecting_ =
      transport::connect(loop_, "localhost", acceptor_->port(), std::nullopt, "",
                         [](Result<std::unique_ptr<Stream>>) { ADD_FAILURE() << "called"; });
  connecting_.reset();
  run_posted();
}

TEST_F(PlainStreamTest, ARefusedConnectionSaysWhomAndWhatToLookAt) {
  listen(std::nullopt);
  const std::uint16_t port = acceptor_->port();
  acceptor_.reset();
  std::optional<Error> error;
  for (const char* host : {"127.0.0.1", "localhost"}) {
    error.reset();
    connecting_ = transport::connect(loop_, host, port, std::nullopt, "",
                                     [&](Result<std::unique_ptr<Stream>> result) {
                                       ASSERT_FALSE(result.ok());
                                       error = result.error();
                                       progress();
                                     });
    run_until([&] { return error.has_value(); });
    EXPECT_EQ(error->code, ErrorCode::unavailable);
    EXPECT_THAT(error->message,
                HasSubstr("USB server " + std::string(host) + ":" + std::to_string(port) +
                          " does not answer: connection refused"));
  }
}

TEST_F(PlainStreamTest, AnImpossibleNameSaysSo) {
  std::optional<Error> error;
  connecting_ = transport::connect(loop_, "no..such..host", 4711, std::nullopt, "",
                                   [&](Result<std::unique_ptr<Stream>> result) {
                                     ASSERT_FALSE(result.ok());
                                     error = result.error();
                                     progress();
                                   });
  run_until([&] { return error.has_value(); });
  EXPECT_EQ(error->code, ErrorCode::unavailable);
  EXPECT_THAT(error->message, HasSubstr("no..such..host:4711 cannot be found"));
}

TEST_F(PlainStreamTest, AnAddressThatCannotBeListenedOnIsNamed) {
  for (const char* address : {"tse.example", "192.0.2.1", ""}) {
    auto acceptor = Acceptor::listen(loop_, address, 0, std::nullopt, {});
    ASSERT_FALSE(acceptor.ok());
    EXPECT_EQ(acceptor.error().code, ErrorCode::config);
    EXPECT_THAT(acceptor.error().message, HasSubstr(address));
  }
  listen(std::nullopt);
  auto second = Acceptor::listen(loop_, "127.0.0.1", acceptor_->port(), std::nullopt, {});
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.error().message, HasSubstr("in use"));
}

TEST_F(PlainStreamTest, AcceptedMayDestroyTheAcceptor) {
  bool accepted = false;
  auto acceptor = Acceptor::listen(loop_, "127.0.0.1", 0, std::nullopt,
                                   {[&](std::unique_ptr<Stream>) {
                                      acceptor_.reset();
                                      accepted = true;
                                      progress();
                                    },
                                    {}});
  ASSERT_TRUE(acceptor.ok());
  acceptor_ = std::move(*acceptor);
  connect(std::nullopt);
  run_until([&] { return accepted; });
  EXPECT_EQ(acceptor_, nullptr);
}

TEST_F(PlainStreamTest, AStreamMayBeUsedFromTasksOfOtherThreads) {
  connect_pair();
  constexpr std::size_t writes = 500;
  std::thread other([&] {
    for (std::size_t i = 0; i < writes; ++i) {
      loop_.post([&] { client_.stream->write(test::bytes_of("0123456789")); });
    }
  });
  run_until([&] { return server_.received.size() == writes * 10; });
  other.join();
}

}  // namespace
}  // namespace tillbridge::transport
