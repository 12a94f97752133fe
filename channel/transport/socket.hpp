// What every connected socket of this folder has set, and addresses as people write them.
#pragma once

#include <cstdint>
#include <string>

#include <asio/ip/tcp.hpp>

namespace tillbridge::transport {

/// "192.0.2.7:51344", "[2001:db8::1]:51344"; an IPv4 client of an IPv6 listener is shown as what it
/// is.
[[nodiscard]] std::string printed(const asio::ip::tcp::endpoint& endpoint);
/// "host:4711", "[2001:db8::1]:4711"
[[nodiscard]] std::string printed(const std::string& host, std::uint16_t port);

/// Non-blocking, not inherited by programs that the process starts; for TCP no delay, and dead
/// peers are noticed.
void prepare_connected_socket(int fd);
void prepare_listening_socket(int fd);

}  // namespace tillbridge::transport
