#include "pos/usbip_socket.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tillbridge::pos {
namespace {

/// A server that takes nothing for this long is not there any more.
constexpr Duration send_patience = std::chrono::seconds(30);
constexpr std::size_t read_bytes = 128U << 10U;

std::string words_for(int error_number) {
  return std::error_code(error_number, std::generic_category()).message();
}

/// False after `patience`. A signal does not end the wait.
bool wait_for(int socket, short events, Duration patience) {
  const Instant end = steady_now() + patience;
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(std::max(end - steady_now(), Duration(0)));
    pollfd polled{socket, events, 0};
    const int ready =
        ::poll(&polled, 1, static_cast<int>(std::min<std::int64_t>(left.count(), 3'600'000)));
    if (ready > 0) return true;
    if (ready == 0 && steady_now() >= end) return false;
    if (ready < 0 && errno != EINTR) return true;  // the next call on the socket says what it is
  }
}

/// 0, or why not.
int connect_one(int socket, const addrinfo& address) {
  if (::connect(socket, address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!wait_for(socket, POLLOUT, UsbipSocket::connect_patience)) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof(error);
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

}  // namespace

std::string UsbipAddress::text() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<UsbipSocket> UsbipSocket::connect(const UsbipAddress& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int resolved =
      ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (resolved != 0) {
    return fail(ErrorCode::config, "the USB/IP server's address " + address.text() +
                                       " cannot be resolved: " + ::gai_strerror(resolved));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> own(found, &::freeaddrinfo);
  int why = ECONNREFUSED;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    UsbipSocket socket(::socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                                one->ai_protocol));
    why = socket.socket_ < 0 ? errno : connect_one(socket.socket_, *one);
    if (why == 0) return socket;
  }
  return fail(ErrorCode::unavailable,
              "the USB/IP server " + address.text() + " does not answer: " + words_for(why) +
                  "; is tillbridged (with [usbip] listen) or tillbridge-terminal --sink usbip "
                  "running there?");
}

UsbipSocket::UsbipSocket(int connected_socket) : socket_(connected_socket) {
  if (socket_ < 0) return;
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));  // no TCP in a socket pair
  const int flags = ::fcntl(socket_, F_GETFL);
  ::fcntl(socket_, F_SETFL, flags | O_NONBLOCK);
}

UsbipSocket::~UsbipSocket() {
  if (socket_ >= 0) ::close(socket_);
}

UsbipSocket::UsbipSocket(UsbipSocket&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)) {}

UsbipSocket& UsbipSocket::operator=(UsbipSocket&& other) noexcept {
  std::swap(socket_, other.socket_);
  return *this;
}

Status UsbipSocket::send(ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!wait_for(socket_, POLLOUT, send_patience)) {
        return fail(ErrorCode::unavailable, "the USB/IP server does not take anything any more");
      }
    } else if (errno != EINTR) {
      return fail(ErrorCode::unavailable,
                  "the connection to the USB/IP server broke: " + words_for(errno));
    }
  }
  return {};
}

Result<Bytes> UsbipSocket::receive(Duration patience) {
  if (!wait_for(socket_, POLLIN, patience)) return Bytes{};
  Bytes bytes(read_bytes);
  const ssize_t received = ::recv(socket_, bytes.data(), bytes.size(), 0);
  if (received > 0) {
    bytes.resize(static_cast<std::size_t>(received));
    return bytes;
  }
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return Bytes{};
  return fail(ErrorCode::unavailable,
              received == 0 ? "the USB/IP server ended the connection: the stick is gone"
                            : "the connection to the USB/IP server broke: " + words_for(errno));
}

Instant steady_now() {
  return std::chrono::duration_cast<Instant>(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace tillbridge::pos
