#include "channel/transport/tls_handshake.hpp"

#include <utility>

#include <sys/socket.h>

#include "channel/transport/socket_stream.hpp"

namespace tillbridge::transport {

using Descriptor = asio::posix::stream_descriptor;

std::shared_ptr<TlsHandshake> TlsHandshake::start(Loop::Impl& loop, Descriptor descriptor,
                                                  Setting setting, Done done) {
  auto self = std::make_shared<TlsHandshake>(loop, std::move(descriptor), std::move(setting),
                                             std::move(done));
  self->timer_.expires_after(self->setting_.timeout);
  self->timer_.async_wait([self](const asio::error_code& cancelled) {
    if (cancelled || self->over_) return;
    self->failed(fail(ErrorCode::unavailable,
                      self->setting_.peer_label + " did not finish the TLS handshake within " +
                          std::to_string(self->setting_.timeout.count()) + " ms"));
  });
  self->wait(self->setting_.tls.impl()->side == TlsContext::Side::client ? Descriptor::wait_write
                                                                         : Descriptor::wait_read);
  return self;
}

TlsHandshake::TlsHandshake(Loop::Impl& loop, Descriptor descriptor, Setting setting, Done done)
    : loop_(loop),
      descriptor_(std::move(descriptor)),
      timer_(loop.context),
      setting_(std::move(setting)),
      wire_(std::make_unique<TlsWire>(descriptor_.native_handle(), setting_.tls.impl(),
                                      setting_.peer_label, setting_.server_name)),
      done_(std::move(done)) {}

void TlsHandshake::abandon() {
  done_ = {};
  if (!over_) close();
}

void TlsHandshake::wait(Descriptor::wait_type type) {
  descriptor_.async_wait(type, [self = shared_from_this()](const asio::error_code& /*cancelled*/) {
    if (!self->over_) self->step();
  });
}

void TlsHandshake::step() {
  WireResult result = wire_->handshake();
  switch (result.status) {
    case WireStatus::would_block:
      return wait(wire_->held_bytes() > 0 ? Descriptor::wait_write : Descriptor::wait_read);
    case WireStatus::done: {
      over_ = true;
      timer_.cancel();
      wire_->describe_peer(setting_.peer);
      const Done done = std::exchange(done_, {});
      setting_.slot.reset();
      done(make_socket_stream(loop_, std::move(descriptor_), std::move(wire_),
                              std::move(setting_.peer)));
      return;
    }
    case WireStatus::closed:
      return failed(fail(ErrorCode::unavailable,
                         setting_.peer_label + " closed the connection during the TLS handshake"));
    case WireStatus::failed:
      return failed(std::move(*result.error));
  }
}

void TlsHandshake::failed(Error error) {
  over_ = true;
  const Done done = std::exchange(done_, {});
  static_cast<void>(wire_->flush());
  static_cast<void>(::shutdown(descriptor_.native_handle(), SHUT_WR));
  timer_.expires_after(linger_timeout);
  timer_.async_wait([self = shared_from_this()](const asio::error_code& cancelled) {
    if (!cancelled) self->close();
  });
  linger();
  if (done) done(std::move(error));
}

void TlsHandshake::linger() {
  descriptor_.async_wait(
      Descriptor::wait_read, [self = shared_from_this()](const asio::error_code& cancelled) {
        if (cancelled) return;
        const SocketResult got =
            socket_receive(self->descriptor_.native_handle(), self->loop_.read_buffer);
        if (got.status == WireStatus::closed || got.status == WireStatus::failed) {
          self->close();
        } else {
          self->linger();
        }
      });
}

void TlsHandshake::close() {
  over_ = true;
  timer_.cancel();
  asio::error_code ignored;
  descriptor_.close(ignored);
}

}  // namespace tillbridge::transport
