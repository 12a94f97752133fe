// The server's API from a program: by its Unix socket, or from afar by HTTPS with a login.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "channel/bytes/result.hpp"

namespace tillbridge::cli {

/// Which server, and how it is known to be the right one.
struct ServerOptions {
  std::filesystem::path socket = "/run/tillbridge/admin";
  std::string server;  ///< HOST[:PORT] or https://HOST[:PORT]; empty: the socket
  /// SHA-256 of its authority or its certificate, as the page and `tillbridge status` show it, in
  /// hex with or without colons. Without it: an authority of `authority`, or of the system.
  std::string fingerprint;
  std::filesystem::path authority;      ///< PEM
  std::string login;                    ///< the account
  std::filesystem::path password_file;  ///< its first line; without it the terminal is asked
};

/// What came of a request. `unavailable` in a Result: the server does not answer.
struct ApiAnswer {
  int status = 0;
  std::string body;
  [[nodiscard]] bool ok() const noexcept { return status >= 200 && status < 300; }
};

class ApiClient {
 public:
  explicit ApiClient(ServerOptions options);
  /// Logs out, if it logged in.
  ~ApiClient();
  ApiClient(const ApiClient&) = delete;
  ApiClient& operator=(const ApiClient&) = delete;
  ApiClient(ApiClient&&) = delete;
  ApiClient& operator=(ApiClient&&) = delete;

  /// `path` below /api/v1, encoded: "/sticks/1209%3A0001%3A5A2F". Logs in before the first one.
  [[nodiscard]] Result<ApiAnswer> get(const std::string& path);
  [[nodiscard]] Result<ApiAnswer> send(const std::string& method, const std::string& path,
                                       const nlohmann::json& body);
  /// An answer that may have no end, piece by piece; `take` says false to end it. Of an answer that
  /// is an error the body is in the result, and nothing is taken.
  [[nodiscard]] Result<ApiAnswer> stream(const std::string& path,
                                         const std::function<bool(std::string_view)>& take);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// One segment of a path or one value of a query, percent-encoded.
[[nodiscard]] std::string encoded(std::string_view text);

}  // namespace tillbridge::cli
