#include "server/terminal/listening.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

namespace tillbridge::terminal {
namespace {

constexpr int backlog = 16;

SocketAddress socket_address(const std::string& address, std::uint16_t port) {
  SocketAddress result;
  sockaddr_in6 ipv6{};
  sockaddr_in ipv4{};
  if (inet_pton(AF_INET6, address.c_str(), &ipv6.sin6_addr) == 1) {
    ipv6.sin6_family = AF_INET6;
    ipv6.sin6_port = htons(port);
    result.size = sizeof(ipv6);
    std::memcpy(&result.storage, &ipv6, sizeof(ipv6));
  } else {
    inet_pton(AF_INET, address.c_str(), &ipv4.sin_addr);
    ipv4.sin_family = AF_INET;
    ipv4.sin_port = htons(port);
    result.size = sizeof(ipv4);
    std::memcpy(&result.storage, &ipv4, sizeof(ipv4));
  }
  return result;
}

}  // namespace

Descriptor::~Descriptor() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

std::uint16_t SocketAddress::port() const {
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 ipv6{};
    std::memcpy(&ipv6, &storage, sizeof(ipv6));
    return ntohs(ipv6.sin6_port);
  }
  sockaddr_in ipv4{};
  std::memcpy(&ipv4, &storage, sizeof(ipv4));
  return ntohs(ipv4.sin_port);
}

std::string SocketAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> buffer{};
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 ipv6{};
    std::memcpy(&ipv6, &storage, sizeof(ipv6));
    inet_ntop(AF_INET6, &ipv6.sin6_addr, buffer.data(), buffer.size());
    return "[" + std::string(buffer.data()) + "]:" + std::to_string(port());
  }
  sockaddr_in ipv4{};
  std::memcpy(&ipv4, &storage, sizeof(ipv4));
  inet_ntop(AF_INET, &ipv4.sin_addr, buffer.data(), buffer.size());
  return std::string(buffer.data()) + ":" + std::to_string(port());
}

Result<Listener> listen_on(const std::string& address, std::uint16_t port,
                           const std::string& option) {
  Listener listener;
  listener.address = socket_address(address, port);
  listener.socket = Descriptor(
      ::socket(listener.address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  ::setsockopt(listener.socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(listener.socket.get(), listener.address.get(), listener.address.size) != 0 ||
      ::listen(listener.socket.get(), backlog) != 0) {
    const int why = errno;
    return fail(
        ErrorCode::io,
        "cannot listen on " + listener.address.text() + ": " +
            std::error_code(why, std::generic_category()).message() +
            (why == EADDRINUSE ? "; another server runs there, choose another port with " + option
                               : ""));
  }
  ::getsockname(listener.socket.get(), listener.address.get(), &listener.address.size);
  return listener;
}

bool is_exhausted(int error_number) {
  return error_number == EMFILE || error_number == ENFILE || error_number == ENOMEM ||
         error_number == ENOBUFS;
}

bool is_loopback(const std::string& numeric_address) {
  return numeric_address.rfind("127.", 0) == 0 || numeric_address == "::1";
}

}  // namespace tillbridge::terminal
