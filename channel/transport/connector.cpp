#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <asio/ip/tcp.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include "channel/transport/loop_impl.hpp"
#include "channel/transport/socket.hpp"
#include "channel/transport/socket_stream.hpp"
#include "channel/transport/stream.hpp"
#include "channel/transport/tls_handshake.hpp"

namespace tillbridge::transport {
namespace {

using asio::ip::tcp;
using Done = std::function<void(Result<std::unique_ptr<Stream>>)>;

std::string reason_of(const asio::error_code& error) {
  if (error == asio::error::connection_refused)
    return "connection refused; is the server running, and the port right?";
  if (error == asio::error::host_unreachable || error == asio::error::network_unreachable) {
    return "it cannot be reached (" + error.message() + "); check the network of this machine";
  }
  if (error == asio::error::timed_out)
    return "no answer; is it switched on, and does a firewall let the port through?";
  return error.message();
}

/// Resolves, then tries the addresses in turn.
class Connector : public std::enable_shared_from_this<Connector> {
 public:
  Connector(Loop::Impl& loop, const std::string& host, std::uint16_t port,
            std::optional<TlsContext> tls, std::string server_name, Done done)
      : loop_(loop),
        host_(host),
        port_(port),
        label_("USB server " + printed(host, port)),
        tls_(std::move(tls)),
        server_name_(std::move(server_name)),
        done_(std::move(done)),
        resolver_(loop.context),
        socket_(loop.context),
        timer_(loop.context) {}

  void start();
  void abandon();

 private:
  void resolve();
  void try_next();
  void connected();
  void finish(Result<std::unique_ptr<Stream>> result);
  /// `expired` unless rearmed or cancelled first.
  void limit_to(std::chrono::seconds timeout, std::function<void()> expired);

  Loop::Impl& loop_;
  std::string host_;
  std::uint16_t port_;
  std::string label_;
  std::optional<TlsContext> tls_;
  std::string server_name_;
  Done done_;
  tcp::resolver resolver_;
  tcp::socket socket_;
  asio::steady_timer timer_;
  std::vector<tcp::endpoint> endpoints_;
  std::size_t next_endpoint_ = 0;
  std::uint64_t attempt_ =
      0;  ///< tells the completion of a step that was given up from the one that counts
  asio::error_code last_error_;
  std::shared_ptr<TlsHandshake> handshake_;
};

void Connector::start() {
  asio::error_code not_an_address;
  const asio::ip::address address = asio::ip::make_address(host_, not_an_address);
  if (not_an_address) return resolve();
  endpoints_ = {tcp::endpoint(address, port_)};
  asio::post(loop_.context, [self = shared_from_this()] { self->try_next(); });
}

void Connector::resolve() {
  const std::uint64_t attempt = ++attempt_;
  limit_to(Connecting::resolve_timeout, [this] {
    finish(fail(ErrorCode::unavailable,
                label_ + " cannot be found: the name service gave no answer for \"" + host_ +
                    "\"; check this machine's network and DNS, or configure the IP address"));
  });
  resolver_.async_resolve(
      host_, std::to_string(port_), tcp::resolver::numeric_service,
      [self = shared_from_this(), attempt](const asio::error_code& error,
                                           const tcp::resolver::results_type& results) {
        if (attempt != self->attempt_) return;
        if (error) {
          return self->finish(fail(ErrorCode::unavailable,
                                   self->label_ + " cannot be found: the name \"" + self->host_ +
                                       "\" does not resolve (" + error.message() +
                                       "); check its spelling and this machine's DNS"));
        }
        for (const auto& result : results) {
          if (self->endpoints_.size() == Connecting::addresses_tried) break;
          self->endpoints_.push_back(result.endpoint());
        }
        self->try_next();
      });
}

void Connector::try_next() {
  if (!done_) return;
  if (next_endpoint_ == endpoints_.size()) {
    return finish(
        fail(ErrorCode::unavailable, label_ + " does not answer: " + reason_of(last_error_)));
  }
  const tcp::endpoint endpoint = endpoints_[next_endpoint_++];
  const std::uint64_t attempt = ++attempt_;
  asio::error_code ignored;
  socket_.close(ignored);
  socket_ = tcp::socket(loop_.context);
  limit_to(Connecting::connect_timeout, [this] {
    last_error_ = asio::error::timed_out;
    try_next();
  });
  socket_.async_connect(endpoint,
                        [self = shared_from_this(), attempt](const asio::error_code& error) {
                          if (attempt != self->attempt_) return;
                          if (!error) return self->connected();
                          self->last_error_ = error;
                          self->try_next();
                        });
}

void Connector::connected() {
  ++attempt_;
  timer_.cancel();
  asio::error_code error;
  Peer peer;
  peer.address = printed(socket_.remote_endpoint(error));
  const int fd = error ? -1 : socket_.release(error);
  if (error) {
    last_error_ = error;
    return try_next();
  }
  prepare_connected_socket(fd);
  asio::posix::stream_descriptor descriptor(loop_.context, fd);
  if (!tls_) {
    auto wire = std::make_unique<PlainWire>(fd, label_);
    return finish(
        make_socket_stream(loop_, std::move(descriptor), std::move(wire), std::move(peer)));
  }
  handshake_ = TlsHandshake::start(
      loop_, std::move(descriptor),
      {*tls_, label_, server_name_, Connecting::handshake_timeout, std::move(peer), {}},
      [self = shared_from_this()](Result<std::unique_ptr<Stream>> result) {
        self->finish(std::move(result));
      });
}

void Connector::limit_to(std::chrono::seconds timeout, std::function<void()> expired) {
  timer_.expires_after(timeout);
  timer_.async_wait([self = shared_from_this(), attempt = attempt_,
                     expired = std::move(expired)](const asio::error_code& cancelled) {
    if (!cancelled && attempt == self->attempt_) expired();
  });
}

void Connector::finish(Result<std::unique_ptr<Stream>> result) {
  const Done done = std::exchange(done_, {});
  abandon();
  if (done) done(std::move(result));
}

void Connector::abandon() {
  ++attempt_;
  done_ = {};
  timer_.cancel();
  resolver_.cancel();
  asio::error_code ignored;
  socket_.close(ignored);
  if (const auto handshake = std::exchange(handshake_, {})) handshake->abandon();
}

class SocketConnecting final : public Connecting {
 public:
  explicit SocketConnecting(std::shared_ptr<Connector> connector)
      : connector_(std::move(connector)) {}
  SocketConnecting(const SocketConnecting&) = delete;
  SocketConnecting& operator=(const SocketConnecting&) = delete;
  ~SocketConnecting() override { connector_->abandon(); }

 private:
  std::shared_ptr<Connector> connector_;
};

}  // namespace

std::unique_ptr<Connecting> connect(Loop& loop, const std::string& host, std::uint16_t port,
                                    std::optional<TlsContext> tls, const std::string& server_name,
                                    std::function<void(Result<std::unique_ptr<Stream>>)> done) {
  auto connector = std::make_shared<Connector>(loop.impl(), host, port, std::move(tls), server_name,
                                               std::move(done));
  connector->start();
  return std::make_unique<SocketConnecting>(std::move(connector));
}

}  // namespace tillbridge::transport
