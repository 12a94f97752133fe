// A request and a reply as the server's own thread sees them, without the HTTP library.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/admin/download.hpp"

namespace tillbridge::http {

/// Who is at the other end of a connection.
struct Peer {
  std::string address;  ///< "192.0.2.7", "2001:db8::7"; "local" for the Unix socket
  int port = 0;
  bool local = false;  ///< by the Unix socket: `user` is who the system says it is
  std::string user;    ///< "root", or "uid 1000" without a name
  /// "192.0.2.7:51344", "[2001:db8::7]:51344", "local"
  [[nodiscard]] std::string text() const;
};

struct WebRequest {
  std::string method;
  std::string path;                            ///< as it came, without the query, still encoded
  std::map<std::string, std::string> query;    ///< decoded
  std::map<std::string, std::string> headers;  ///< names in lower case; the first of each name
  std::string body;
  Peer peer;
  [[nodiscard]] std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
};

struct WebReply {
  int status = 200;
  std::string content_type;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::shared_ptr<admin::Download> download;  ///< instead of `body`
};

}  // namespace tillbridge::http
