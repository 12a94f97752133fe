#include "channel/transport/socket.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace tillbridge::transport {
namespace {

// The link has its own heartbeat and is faster; these notice the dead peer of a plain USB/IP
// connection.
constexpr int keepalive_idle_s = 15;
constexpr int keepalive_interval_s = 5;
constexpr int keepalive_probes = 3;
/// How long sent bytes may stay unacknowledged by the peer's TCP.
constexpr int unacknowledged_timeout_ms = 30'000;

// A refused option costs comfort, not correctness.
void set_option(int fd, int level, int option, int value) {
  static_cast<void>(::setsockopt(fd, level, option, &value, sizeof value));
}

}  // namespace

std::string printed(const asio::ip::tcp::endpoint& endpoint) {
  asio::ip::address address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  return printed(address.to_string(), endpoint.port());
}

std::string printed(const std::string& host, std::uint16_t port) {
  const bool needs_brackets = host.find(':') != std::string::npos;
  return (needs_brackets ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

void prepare_listening_socket(int fd) {
  static_cast<void>(::fcntl(fd, F_SETFD, FD_CLOEXEC));
}

void prepare_connected_socket(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0)
    static_cast<void>(::fcntl(fd, F_SETFL, static_cast<unsigned>(flags) | O_NONBLOCK));
  static_cast<void>(::fcntl(fd, F_SETFD, FD_CLOEXEC));
  int family = AF_UNSPEC;
  socklen_t size = sizeof family;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0) return;
  if (family != AF_INET && family != AF_INET6) return;
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_idle_s);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive_interval_s);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, keepalive_probes);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, unacknowledged_timeout_ms);
}

}  // namespace tillbridge::transport
