#include "channel/transport/socket_stream.hpp"

#include <utility>

#include <asio/post.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/bytes/limits.hpp"
#include "channel/transport/socket.hpp"

namespace tillbridge::transport {
namespace {

using Descriptor = asio::posix::stream_descriptor;

/// Read in one go before others of the loop have their turn.
constexpr std::size_t read_budget = std::size_t{256} << 10U;
constexpr std::size_t drained_below = Stream::write_queue_high_water / 2;

class SocketStream final : public Stream {
 public:
  explicit SocketStream(std::shared_ptr<SocketConnection> connection)
      : connection_(std::move(connection)) {}
  SocketStream(const SocketStream&) = delete;
  SocketStream& operator=(const SocketStream&) = delete;
  ~SocketStream() override { connection_->abandon(); }

  void start(Events events) override { connection_->start(std::move(events)); }
  void write(Bytes bytes) override { connection_->write(std::move(bytes)); }
  [[nodiscard]] std::size_t queued_bytes() const override { return connection_->queued_bytes(); }
  void pause_reading() override { connection_->pause_reading(); }
  void resume_reading() override { connection_->resume_reading(); }
  void close() override { connection_->close(); }
  [[nodiscard]] const Peer& peer() const override { return connection_->peer(); }

 private:
  std::shared_ptr<SocketConnection> connection_;
};

}  // namespace

std::unique_ptr<Stream> make_socket_stream(Loop::Impl& loop, Descriptor descriptor,
                                           std::unique_ptr<Wire> wire, Peer peer) {
  return std::make_unique<SocketStream>(std::make_shared<SocketConnection>(
      loop, std::move(descriptor), std::move(wire), std::move(peer)));
}

std::unique_ptr<Stream> adopt_socket(Loop& loop, int fd) {
  prepare_connected_socket(fd);
  Peer peer;
  peer.address = "a local program";
  asio::ip::tcp::endpoint endpoint;
  auto size = static_cast<socklen_t>(endpoint.capacity());
  if (::getpeername(fd, endpoint.data(), &size) == 0 &&
      (endpoint.data()->sa_family == AF_INET || endpoint.data()->sa_family == AF_INET6)) {
    peer.address = printed(endpoint);
  }
  auto wire = std::make_unique<PlainWire>(fd, peer.address);
  return make_socket_stream(loop.impl(), Descriptor(loop.impl().context, fd), std::move(wire),
                            std::move(peer));
}

SocketConnection::SocketConnection(Loop::Impl& loop, Descriptor descriptor,
                                   std::unique_ptr<Wire> wire, Peer peer)
    : loop_(loop),
      descriptor_(std::move(descriptor)),
      close_timer_(loop.context),
      wire_(std::move(wire)),
      peer_(std::move(peer)) {}

void SocketConnection::start(Stream::Events events) {
  events_ = std::make_shared<const Stream::Events>(std::move(events));
  started_ = true;
  if (unheard_) {
    asio::post(loop_.context, [self = shared_from_this()] {
      const auto heard = self->events_;
      if (heard && heard->closed) heard->closed(*self->unheard_);
    });
    return;
  }
  read_later();
  if (queued_bytes() > 0) write_later();
}

void SocketConnection::abandon() {
  events_.reset();
  // After close() what is queued still goes out in the background.
  if (state_ == State::flushing || state_ == State::lingering) return;
  if (state_ == State::open && queue_.empty()) wire_->finish();
  end(std::nullopt);
}

// --- reading ---

void SocketConnection::resume_reading() {
  paused_ = false;
  read_later();
}

void SocketConnection::read_later() {
  // Not by waiting for the socket: bytes may already be in the wire.
  if (read_pending_ || !wants_bytes()) return;
  read_pending_ = true;
  asio::post(loop_.context, [self = shared_from_this()] {
    self->read_pending_ = false;
    self->read_or_discard();
  });
}

void SocketConnection::wait_readable() {
  if (read_pending_ || state_ == State::closed) return;
  read_pending_ = true;
  descriptor_.async_wait(Descriptor::wait_read,
                         [self = shared_from_this()](const asio::error_code& /*cancelled*/) {
                           self->read_pending_ = false;
                           self->read_or_discard();
                         });
}

void SocketConnection::read_or_discard() {
  if (state_ == State::open) {
    read_some();
  } else {
    discard_some();
  }
}

void SocketConnection::read_some() {
  std::size_t budget = read_budget;
  while (wants_bytes()) {
    WireResult result = wire_->read(loop_.read_buffer);
    if (wire_->held_bytes() > 0) write_later();  // TLS answers some messages by itself
    if (result.bytes > 0) {
      const auto events = events_;
      if (events->received) events->received(ByteView(loop_.read_buffer).first(result.bytes));
      if (!wants_bytes()) return;
    }
    switch (result.status) {
      case WireStatus::done:
        break;
      case WireStatus::would_block:
        if (write_error_) return end(write_error_);
        return wait_readable();
      case WireStatus::closed:
        return end(std::nullopt);
      case WireStatus::failed:
        return end(std::move(result.error));
    }
    if (result.bytes >= budget) return read_later();
    budget -= result.bytes;
  }
}

void SocketConnection::discard_some() {
  if (state_ != State::flushing && state_ != State::lingering) return;
  // One buffer a turn: a peer that keeps sending is cut off by the close timer.
  const SocketResult result = socket_receive(descriptor_.native_handle(), loop_.read_buffer);
  if (result.status == WireStatus::closed || result.status == WireStatus::failed) {
    // While flushing, the end is met by writing: a peer may close its half and still read ours.
    if (state_ == State::lingering) end(std::nullopt);
    return;
  }
  wait_readable();
}

// --- writing ---

void SocketConnection::write(Bytes bytes) {
  if (state_ != State::open || write_error_) return;
  queue_.push(std::move(bytes));
  if (queued_bytes() > limits::stream_write_queue_bytes) {
    write_error_ =
        fail(ErrorCode::limit, peer_.address + " takes too little of what is sent to it: " +
                                   std::to_string(queued_bytes()) + " bytes wait");
    asio::post(loop_.context, [self = shared_from_this()] { self->end(self->write_error_); });
    return;
  }
  if (queued_bytes() >= drained_below) above_half_ = true;
  write_later();
}

void SocketConnection::write_later() {
  // Not at once: what the running callback writes goes out together.
  if (write_pending_ || state_ == State::closed) return;
  write_pending_ = true;
  loop_.later(std::shared_ptr<Turn>(shared_from_this()));
}

void SocketConnection::come() {
  write_pending_ = false;
  write_some();
}

void SocketConnection::wait_writable() {
  write_pending_ = true;
  descriptor_.async_wait(Descriptor::wait_write,
                         [self = shared_from_this()](const asio::error_code& /*cancelled*/) {
                           self->write_pending_ = false;
                           self->write_some();
                         });
}

void SocketConnection::write_some() {
  if (state_ == State::closed || write_error_) return;
  WireResult result = wire_->write(queue_);
  if (result.status == WireStatus::done && state_ == State::flushing && !finished_) {
    finished_ = true;
    wire_->finish();
    result = wire_->write(queue_);
  }
  if (result.status == WireStatus::failed) return write_failed(std::move(*result.error));
  if (result.status == WireStatus::would_block) {
    wait_writable();
  } else if (state_ == State::flushing) {
    return linger();
  }
  if (above_half_ && queued_bytes() < drained_below) {
    above_half_ = false;
    const auto events = events_;
    if (state_ == State::open && events && events->drained) events->drained();
  }
}

void SocketConnection::write_failed(Error error) {
  queue_.clear();
  if (!wants_bytes()) return end(std::move(error));
  // The peer may have said why before it hung up; above all, that it does not accept our
  // certificate.
  write_error_ = std::move(error);
  read_later();
}

// --- closing ---

void SocketConnection::close() {
  if (state_ != State::open) return;
  state_ = State::flushing;
  close_timer_.expires_after(Stream::close_timeout);
  close_timer_.async_wait([self = shared_from_this()](const asio::error_code& cancelled) {
    if (cancelled || self->state_ == State::closed) return;
    if (self->state_ == State::lingering) return self->end(std::nullopt);
    self->end(fail(ErrorCode::io, self->peer_.address + " did not take the last " +
                                      std::to_string(self->queued_bytes()) +
                                      " bytes before the connection was closed"));
  });
  if (write_error_) {
    asio::post(loop_.context, [self = shared_from_this()] { self->end(self->write_error_); });
    return;
  }
  wait_readable();
  write_later();
}

void SocketConnection::linger() {
  state_ = State::lingering;
  static_cast<void>(::shutdown(descriptor_.native_handle(), SHUT_WR));
  wait_readable();
}

void SocketConnection::end(std::optional<Error> error) {
  if (state_ == State::closed) return;
  const auto self = shared_from_this();  // the handlers that hold us are cancelled
  state_ = State::closed;
  close_timer_.cancel();
  asio::error_code ignored;
  descriptor_.close(ignored);
  queue_.clear();
  if (!started_) {
    unheard_ = std::move(error);
    return;
  }
  const auto events = std::exchange(events_, {});
  if (events && events->closed) events->closed(std::move(error));
}

}  // namespace tillbridge::transport
