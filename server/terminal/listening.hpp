// Listening sockets of this program, and addresses as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <sys/socket.h>

#include "channel/bytes/result.hpp"

namespace tillbridge::terminal {

/// A descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int descriptor = -1) noexcept : descriptor_(descriptor) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return descriptor_; }
  [[nodiscard]] int release() noexcept { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

/// An address in the form that the socket calls want, and its size.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);

  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] std::uint16_t port() const;
  /// "127.0.0.1:3389", "[::1]:3389".
  [[nodiscard]] std::string text() const;
};

struct Listener {
  Descriptor socket;  ///< non-blocking
  SocketAddress address;
};

/// `address` is numeric; port 0: the system chooses one, see Listener::address. `option` is where a
/// person chooses another port: "--listen".
[[nodiscard]] Result<Listener> listen_on(const std::string& address, std::uint16_t port,
                                         const std::string& option);

/// accept() failed because this machine has no descriptors or memory left: trying again at once is
/// no use.
[[nodiscard]] bool is_exhausted(int error_number);
[[nodiscard]] bool is_loopback(const std::string& numeric_address);

}  // namespace tillbridge::terminal
