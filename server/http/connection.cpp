#include "server/http/connection.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/http/limits.hpp"

namespace tillbridge::http {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

int left_ms(SteadyTime until) {
  const auto left =
      std::chrono::duration_cast<milliseconds>(until - steady_clock::now()).count() + 1;
  return static_cast<int>(std::clamp<long long>(left, 0, 60000));
}

}  // namespace

std::string Peer::text() const {
  if (local) return "local";
  const bool v6 = address.find(':') != std::string::npos;
  return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

Connection::Connection(int descriptor, Peer peer)
    : descriptor_(descriptor), peer_(std::move(peer)) {
  ::fcntl(descriptor_, F_SETFL, ::fcntl(descriptor_, F_GETFL) | O_NONBLOCK);
  const int on = 1;
  if (!peer_.local) ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  waits(true);
}

Connection::~Connection() {
  if (ssl_ != nullptr) SSL_free(ssl_);
  ::close(descriptor_);
}

void Connection::waits(bool on) noexcept {
  // Who waits already has waited since then: a thread that starts late makes nobody younger.
  if (on && waiting_since_ > 0) return;
  waiting_since_ = on ? steady_clock::now().time_since_epoch().count() : at_work;
}

void Connection::cut() noexcept {
  ::shutdown(descriptor_, SHUT_RDWR);
}

Connection::Ready Connection::wait(short events, SteadyTime until) const {
  pollfd poll{descriptor_, events, 0};
  while (true) {
    const int ready = ::poll(&poll, 1, left_ms(until));
    if (ready > 0) return Ready::yes;  // a broken connection is readable: the next call says so
    if (ready < 0 && errno != EINTR) return Ready::broken;
    if (steady_clock::now() >= until) return Ready::no_time;
  }
}

bool Connection::handshake(ssl_ctx_st* context, SteadyTime until) {
  ssl_ = SSL_new(context);
  if (ssl_ == nullptr || SSL_set_fd(ssl_, descriptor_) != 1) return false;
  while (true) {
    ERR_clear_error();
    const int result = SSL_accept(ssl_);
    if (result == 1) return true;
    const int error = SSL_get_error(ssl_, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return false;
    if (wait(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until) != Ready::yes) return false;
  }
}

bool Connection::await(SteadyTime until) {
  if (taken_ < buffer_.size() || (ssl_ != nullptr && SSL_has_pending(ssl_) == 1)) return true;
  return wait(POLLIN, until) == Ready::yes;
}

ssize_t Connection::receive(char* to, std::size_t size, SteadyTime until) {
  while (true) {
    short wanted = POLLIN;
    if (ssl_ == nullptr) {
      const ssize_t got = ::recv(descriptor_, to, size, 0);
      if (got >= 0) return got;
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return -1;
    } else {
      ERR_clear_error();
      const int got = SSL_read(ssl_, to, static_cast<int>(std::min<std::size_t>(size, 1U << 14U)));
      if (got > 0) return got;
      const int error = SSL_get_error(ssl_, got);
      if (error == SSL_ERROR_WANT_WRITE) {
        wanted = POLLOUT;
      } else if (error != SSL_ERROR_WANT_READ) {
        return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
      }
    }
    if (wait(wanted, until) != Ready::yes) return -1;
  }
}

Connection::Head Connection::collect_head(std::size_t most, SteadyTime until) {
  buffer_.erase(0, taken_);
  taken_ = 0;
  std::size_t looked_at = 0;
  while (true) {
    const auto end = buffer_.find("\r\n\r\n", looked_at < 3 ? 0 : looked_at - 3);
    if (end != std::string::npos && end + 4 <= most) return Head::complete;
    if (buffer_.size() >= most) return Head::too_long;
    looked_at = buffer_.size();
    std::array<char, 4096> piece{};
    const ssize_t got = receive(piece.data(), piece.size(), until);
    if (got <= 0) {
      const bool late = got < 0 && steady_clock::now() >= until;
      return late ? Head::too_slow : Head::gone;
    }
    buffer_.append(piece.data(), static_cast<std::size_t>(got));
  }
}

ssize_t Connection::read(char* to, std::size_t size) {
  if (taken_ < buffer_.size()) {
    const std::size_t piece = std::min(size, buffer_.size() - taken_);
    buffer_.copy(to, piece, taken_);
    taken_ += piece;
    return static_cast<ssize_t>(piece);
  }
  return receive(to, size, read_until_);
}

bool Connection::write(const char* from, std::size_t size) {
  std::string_view left(from, size);
  const auto until =
      steady_clock::now() + limits::unread_answer +
      std::chrono::seconds(static_cast<long>(size / limits::answer_bytes_per_second));
  auto moved = steady_clock::now();
  while (!left.empty()) {
    ssize_t sent = -1;
    short wanted = POLLOUT;
    if (ssl_ == nullptr) {
      sent = ::send(descriptor_, left.data(), left.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK) return false;
    } else {
      ERR_clear_error();
      sent = SSL_write(ssl_, left.data(),
                       static_cast<int>(std::min<std::size_t>(left.size(), 1U << 14U)));
      if (sent <= 0) {
        const int error = SSL_get_error(ssl_, static_cast<int>(sent));
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return false;
        if (error == SSL_ERROR_WANT_READ) wanted = POLLIN;
      }
    }
    if (sent > 0) {
      left.remove_prefix(static_cast<std::size_t>(sent));
      moved = steady_clock::now();
      if (moved >= until) return left.empty();
      continue;
    }
    if (wait(wanted, std::min(until, moved + limits::unread_answer)) != Ready::yes) return false;
  }
  return true;
}

bool Connection::peer_gone() const {
  pollfd poll{descriptor_, POLLRDHUP, 0};
  return ::poll(&poll, 1, 0) > 0 && (poll.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void Connection::close_gently() {
  if (ssl_ != nullptr && SSL_is_init_finished(ssl_) == 1) (void)SSL_shutdown(ssl_);
  ERR_clear_error();
  ::shutdown(descriptor_, SHUT_WR);
  const auto until = steady_clock::now() + milliseconds(500);
  std::array<char, 4096> unread{};
  std::size_t most = 1U << 20U;
  while (most > 0 && wait(POLLIN, until) == Ready::yes) {
    const ssize_t got = ::recv(descriptor_, unread.data(), unread.size(), 0);
    if (got <= 0) return;
    most -= std::min(most, static_cast<std::size_t>(got));
  }
}

}  // namespace tillbridge::http
