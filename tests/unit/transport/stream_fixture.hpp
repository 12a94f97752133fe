// Two ends of a connection in one loop, and what they heard.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "channel/transport/stream.hpp"
#include "tests/unit/transport/loop_fixture.hpp"

namespace tillbridge::test {

inline Bytes pattern(std::size_t size, std::uint32_t seed) {
  Bytes bytes(size);
  std::generate(bytes.begin(), bytes.end(), [&seed] {
    seed = seed * 1664525U + 1013904223U;
    return static_cast<std::uint8_t>(seed >> 24U);
  });
  return bytes;
}

inline Bytes bytes_of(const std::string& text) {
  return {text.begin(), text.end()};
}

class StreamTest : public LoopTest {
 protected:
  /// A stream and all that it told.
  struct End {
    std::unique_ptr<transport::Stream> stream;
    Bytes received;
    bool closed = false;
    std::optional<Error> error;
    std::size_t drained = 0;
  };

  void start(End& end) {
    end.stream->start({[this, &end](ByteView bytes) {
                         end.received.insert(end.received.end(), bytes.begin(), bytes.end());
                         progress();
                       },
                       [this, &end] {
                         ++end.drained;
                         progress();
                       },
                       [this, &end](std::optional<Error> error) {
                         EXPECT_FALSE(end.closed) << "closed twice";
                         end.closed = true;
                         end.error = std::move(error);
                         progress();
                       }});
  }

  /// Listens, and keeps what comes in `server_` and `refused_`.
  void listen(std::optional<transport::TlsContext> tls, transport::AcceptorLimits limits = {}) {
    auto acceptor =
        transport::Acceptor::listen(loop_, "127.0.0.1", 0, std::move(tls),
                                    {[this](std::unique_ptr<transport::Stream> stream) {
                                       server_ = {};
                                       server_.stream = std::move(stream);
                                       start(server_);
                                       progress();
                                     },
                                     [this](const std::string& address, const Error& error) {
                                       refused_address_ = address;
                                       refused_.push_back(error);
                                       progress();
                                     }},
                                    limits);
    ASSERT_TRUE(acceptor.ok()) << acceptor.error().message;
    acceptor_ = std::move(*acceptor);
  }

  /// Connects; the outcome is in `client_` or `connect_error_`.
  void connect(std::optional<transport::TlsContext> tls,
               const std::string& server_name = "localhost") {
    bool done = false;
    connecting_ =
        transport::connect(loop_, "127.0.0.1", acceptor_->port(), std::move(tls), server_name,
                           [&](Result<std::unique_ptr<transport::Stream>> result) {
                             done = true;
                             if (result) {
                               client_.stream = std::move(*result);
                               start(client_);
                             } else {
                               connect_error_ = result.error();
                             }
                             progress();
                           });
    EXPECT_FALSE(done) << "called from within connect()";
    run_until([&] { return done; });
  }

  std::unique_ptr<transport::Acceptor> acceptor_;
  std::unique_ptr<transport::Connecting> connecting_;
  End server_;
  End client_;
  std::vector<Error> refused_;
  std::string refused_address_;
  std::optional<Error> connect_error_;
};

}  // namespace tillbridge::test
