// Where clients come in: listening sockets, and a thread for each connection, bounded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "channel/bytes/result.hpp"
#include "server/http/connection.hpp"

namespace tillbridge::http {

/// Threads of its own; its methods are for one thread.
class Doors {
 public:
  /// On the connection's thread, after the TLS handshake; the connection is closed when it returns.
  using Serve = std::function<void(Connection&)>;
  explicit Doors(Serve serve);
  ~Doors();
  Doors(const Doors&) = delete;
  Doors& operator=(const Doors&) = delete;
  Doors(Doors&&) = delete;
  Doors& operator=(Doors&&) = delete;

  /// For connections that come from now on: TLS 1.3, or 1.2 with forward secrecy.
  [[nodiscard]] Status use_certificate(const std::filesystem::path& certificate,
                                       const std::filesystem::path& key);
  [[nodiscard]] Result<std::uint16_t> listen_tls(const std::string& host, std::uint16_t port);
  [[nodiscard]] Status listen_unix(const std::filesystem::path& path);
  /// Cuts all connections and waits for their threads. Nothing comes in any more.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tillbridge::http
