// /api/v1 without HTTP: a request in, a reply out.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "server/admin/administration.hpp"
#include "server/admin/reply.hpp"
#include "server/admin/request.hpp"

namespace tillbridge::admin {

/// Everything below /api/v1 but logins, the stream of events and the OpenAPI document, which are
/// HTTP's own affairs, and what rooms above this one add: /metrics, /healthz, captures. On the
/// loop's thread. The actor is known to be who he says; what he may is decided here. Bodies, names
/// and numbers are checked before anything happens; a Problem says which and what to write instead.
class Api {
 public:
  explicit Api(Administration& administration) : administration_(administration) {}
  [[nodiscard]] Reply handle(const Request& request);
  /// Requests of exactly this path ("/metrics", "/api/v1/capture") are answered by `handler` from
  /// now on. It checks methods and roles itself.
  void add(const std::string& path, std::function<Reply(const Request&)> handler);

 private:
  Administration& administration_;
  std::map<std::string, std::function<Reply(const Request&)>> added_;
};

}  // namespace tillbridge::admin
