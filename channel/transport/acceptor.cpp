#include <chrono>
#include <string>
#include <utility>

#include <asio/ip/tcp.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>
#include <sys/socket.h>

#include "channel/transport/loop_impl.hpp"
#include "channel/transport/socket.hpp"
#include "channel/transport/socket_stream.hpp"
#include "channel/transport/stream.hpp"
#include "channel/transport/tls_handshake.hpp"

namespace tillbridge::transport {
namespace {

using asio::ip::tcp;

/// When the machine is out of descriptors or memory, accept() fails at once and would again.
constexpr std::chrono::milliseconds accept_pause{100};

class Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(Loop::Impl& loop, std::optional<TlsContext> tls, Acceptor::Events events,
           AcceptorLimits strangers)
      : loop_(loop),
        acceptor_(loop.context),
        pause_(loop.context),
        tls_(std::move(tls)),
        events_(std::make_shared<const Acceptor::Events>(std::move(events))),
        strangers_(strangers) {}

  Status open(const std::string& address, std::uint16_t port);
  void accept_next();
  void close();
  [[nodiscard]] std::uint16_t port() const { return port_; }
  void use(TlsContext tls) { tls_ = std::move(tls); }

 private:
  void welcome(tcp::socket socket);
  void refuse(const std::string& peer, const Error& error);

  Loop::Impl& loop_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::optional<TlsContext> tls_;
  std::shared_ptr<const Acceptor::Events> events_;  ///< none once closed
  AcceptorLimits strangers_;
  std::uint16_t port_ = 0;
  /// Handed to each handshake; its use count tells how many there are.
  std::shared_ptr<void> slots_ = std::make_shared<char>();
};

Status Listener::open(const std::string& address, std::uint16_t port) {
  asio::error_code error;
  const asio::ip::address ip = asio::ip::make_address(address, error);
  if (error) {
    return fail(ErrorCode::config,
                "cannot listen on \"" + address +
                    "\": not an IP address; name one of this machine's, or 0.0.0.0 or :: for all");
  }
  const tcp::endpoint endpoint(ip, port);
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(tcp::acceptor::max_listen_connections, error);
  if (error) {
    return fail(ErrorCode::config,
                "cannot listen on " + printed(endpoint) + ": " + error.message());
  }
  prepare_listening_socket(acceptor_.native_handle());
  port_ = acceptor_.local_endpoint(error).port();
  return {};
}

void Listener::close() {
  events_.reset();
  pause_.cancel();
  asio::error_code ignored;
  acceptor_.close(ignored);
}

void Listener::accept_next() {
  if (!events_) return;
  acceptor_.async_accept([self = shared_from_this()](const asio::error_code& error,
                                                     tcp::socket socket) {
    if (!self->events_) return;
    if (!error) {
      self->welcome(std::move(socket));
      return self->accept_next();
    }
    if (error == asio::error::connection_aborted)
      return self->accept_next();  // gone again before we looked
    self->pause_.expires_after(accept_pause);
    self->pause_.async_wait([self](const asio::error_code& cancelled) {
      if (!cancelled) self->accept_next();
    });
    self->refuse("unknown", fail(ErrorCode::io, "cannot accept a connection: " + error.message()));
  });
}

void Listener::welcome(tcp::socket socket) {
  asio::error_code error;
  const tcp::endpoint remote = socket.remote_endpoint(error);
  if (error) return;  // gone again
  Peer peer;
  peer.address = printed(remote);
  const auto held = static_cast<std::size_t>(slots_.use_count() - 1);
  if (tls_ && held >= strangers_.unauthenticated_connections) {
    return refuse(peer.address, fail(ErrorCode::limit,
                                     std::to_string(held) +
                                         " connections that have not shown a certificate are open "
                                         "already; the till will try again"));
  }
  const int fd = socket.release(error);
  if (error) return;
  prepare_connected_socket(fd);
  asio::posix::stream_descriptor descriptor(loop_.context, fd);
  if (!tls_) {
    auto wire = std::make_unique<PlainWire>(fd, peer.address);
    auto stream =
        make_socket_stream(loop_, std::move(descriptor), std::move(wire), std::move(peer));
    const auto events = events_;
    if (events->accepted) events->accepted(std::move(stream));
    return;
  }
  const std::string address = peer.address;
  TlsHandshake::start(
      loop_, std::move(descriptor),
      {*tls_, "the till at " + address, {}, strangers_.handshake_timeout, std::move(peer), slots_},
      [self = shared_from_this(), address](Result<std::unique_ptr<Stream>> result) {
        const auto events = self->events_;
        if (!events) return;
        if (!result) return self->refuse(address, result.error());
        if (events->accepted) events->accepted(std::move(*result));
      });
}

void Listener::refuse(const std::string& peer, const Error& error) {
  const auto events = events_;
  if (events && events->refused) events->refused(peer, error);
}

class SocketAcceptor final : public Acceptor {
 public:
  explicit SocketAcceptor(std::shared_ptr<Listener> listener) : listener_(std::move(listener)) {}
  SocketAcceptor(const SocketAcceptor&) = delete;
  SocketAcceptor& operator=(const SocketAcceptor&) = delete;
  ~SocketAcceptor() override { listener_->close(); }
  [[nodiscard]] std::uint16_t port() const override { return listener_->port(); }
  void use(TlsContext tls) override { listener_->use(std::move(tls)); }

 private:
  std::shared_ptr<Listener> listener_;
};

}  // namespace

Result<std::unique_ptr<Acceptor>> Acceptor::listen(Loop& loop, const std::string& address,
                                                   std::uint16_t port,
                                                   std::optional<TlsContext> tls, Events events,
                                                   AcceptorLimits strangers) {
  auto listener =
      std::make_shared<Listener>(loop.impl(), std::move(tls), std::move(events), strangers);
  if (Status status = listener->open(address, port); !status) return status.error();
  listener->accept_next();
  return std::unique_ptr<Acceptor>(std::make_unique<SocketAcceptor>(std::move(listener)));
}

}  // namespace tillbridge::transport
