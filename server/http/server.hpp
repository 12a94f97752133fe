// The administrators' way in: HTTPS and a Unix socket, the page, logins, the API and its events.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "channel/bytes/result.hpp"
#include "channel/transport/loop.hpp"
#include "server/admin/administration.hpp"
#include "server/admin/api.hpp"

namespace tillbridge::http {

class Logins;

/// Who has not logged in gets nothing but the page's files, the login and /healthz; on the Unix
/// socket the system says who it is, and the socket's mode who may. What Api::add() knows outside
/// /api/v1 (/metrics) needs a login as well, or, for reading /metrics, a token of Logins. Every
/// thread of HTTP is in here; all methods are for the loop's thread.
class Server {
 public:
  Server(transport::Loop& loop, admin::Administration& administration, admin::Api& api,
         Logins& logins);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  Server(Server&&) = delete;
  Server& operator=(Server&&) = delete;

  /// Both as PEM; the key's file must be its owner's only. For a renewed certificate call it again:
  /// connections that are there keep the old one.
  [[nodiscard]] Status use_certificate(const std::filesystem::path& certificate,
                                       const std::filesystem::path& key);
  /// Where people reach the page: "https://usb.example:4712". Login links begin with it.
  void reached_at(std::string address);
  /// `host` is numeric. Port 0: the system chooses. Gives the port. Needs a certificate.
  [[nodiscard]] Result<std::uint16_t> listen_https(const std::string& host, std::uint16_t port);
  /// Makes the socket, mode 0660. `unavailable`: another program listens there.
  [[nodiscard]] Status listen_socket(const std::filesystem::path& path);

  /// Connections are cut, threads end; within a second, unless a long file is just being read. The
  /// destructor does the same.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tillbridge::http
