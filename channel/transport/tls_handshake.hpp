// From a connected socket to a stream over TLS.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include "channel/transport/loop_impl.hpp"
#include "channel/transport/stream.hpp"
#include "channel/transport/tls_wire.hpp"

namespace tillbridge::transport {

/// Held by the loop's handlers until it is over. After a failure it stays a little, so that the
/// alert that says why reaches the peer.
class TlsHandshake : public std::enable_shared_from_this<TlsHandshake> {
 public:
  using Done = std::function<void(Result<std::unique_ptr<Stream>>)>;
  /// How long a peer whose handshake failed may take to close.
  static constexpr std::chrono::seconds linger_timeout{2};

  struct Setting {
    TlsContext tls;
    std::string peer_label;   ///< for messages
    std::string server_name;  ///< at the client
    std::chrono::milliseconds timeout;
    Peer peer;
    /// Destroyed with the handshake, lingering included: counts what the listener holds of
    /// strangers.
    std::shared_ptr<void> slot;
  };

  /// `done` is called once, from the loop.
  static std::shared_ptr<TlsHandshake> start(Loop::Impl& loop,
                                             asio::posix::stream_descriptor descriptor,
                                             Setting setting, Done done);
  TlsHandshake(Loop::Impl& loop, asio::posix::stream_descriptor descriptor, Setting setting,
               Done done);

  /// Nobody waits for it any more.
  void abandon();

 private:
  void step();
  void wait(asio::posix::stream_descriptor::wait_type type);
  void failed(Error error);
  void linger();
  void close();

  Loop::Impl& loop_;
  asio::posix::stream_descriptor descriptor_;
  asio::steady_timer timer_;
  Setting setting_;
  std::unique_ptr<TlsWire> wire_;
  Done done_;
  bool over_ = false;
};

}  // namespace tillbridge::transport
