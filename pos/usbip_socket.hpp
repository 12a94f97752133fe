// A TCP connection to a USB/IP server, for one thread that waits.
#pragma once

#include <cstdint>
#include <string>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::pos {

struct UsbipAddress {
  std::string host;
  std::uint16_t port = 0;
  [[nodiscard]] std::string text() const;  ///< "127.0.0.1:3240", "[::1]:3240"
};

class UsbipSocket {
 public:
  /// For each of the addresses of a name.
  static constexpr Duration connect_patience = std::chrono::seconds(5);

  [[nodiscard]] static Result<UsbipSocket> connect(const UsbipAddress& address);
  /// Takes over a connected stream socket (one half of a socket pair).
  explicit UsbipSocket(int connected_socket);
  ~UsbipSocket();
  UsbipSocket(UsbipSocket&& other) noexcept;
  UsbipSocket& operator=(UsbipSocket&& other) noexcept;
  UsbipSocket(const UsbipSocket&) = delete;
  UsbipSocket& operator=(const UsbipSocket&) = delete;

  /// All of it. ErrorCode::unavailable: the connection is gone, or the server does not read.
  [[nodiscard]] Status send(ByteView bytes);
  /// What has come, at least one byte; empty when nothing did within `patience`. The end of the
  /// connection is ErrorCode::unavailable.
  [[nodiscard]] Result<Bytes> receive(Duration patience);

 private:
  int socket_;
};

/// The monotonic clock.
[[nodiscard]] Instant steady_now();

}  // namespace tillbridge::pos
