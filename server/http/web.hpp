// HTTP itself: what cpp-httplib understands of a connection becomes a WebRequest, and a WebReply is
// written. The only file that includes the library is web.cpp.
#pragma once

#include <functional>
#include <memory>

#include "server/http/connection.hpp"
#include "server/http/message.hpp"

namespace tillbridge::http {

class Web {
 public:
  /// On the connection's thread. What it throws is answered with 500 and a line in the journal.
  using Handler = std::function<WebReply(const WebRequest&)>;
  explicit Web(Handler handler);
  ~Web();
  Web(const Web&) = delete;
  Web& operator=(const Web&) = delete;
  Web(Web&&) = delete;
  Web& operator=(Web&&) = delete;

  /// Requests of this connection, until it ends, is idle for too long, or breaks a rule. Any
  /// thread.
  void serve(Connection& connection);
  /// Replies without an end are over soon.
  void stop();

 private:
  class Library;
  std::unique_ptr<Library> library_;
};

/// {"error": {...}}, as the API says it.
[[nodiscard]] WebReply web_problem(int status, const char* code, const std::string& message,
                                   const std::string& remedy);

}  // namespace tillbridge::http
