// /api/v1 without HTTP: a request in, a reply out.
#pragma once

#include "server/admin/administration.hpp"
#include "server/admin/reply.hpp"
#include "server/admin/request.hpp"

namespace tillbridge::admin {

/// Everything below /api/v1 but logins, the stream of events, the OpenAPI document and captures,
/// which are HTTP's own affairs. On the loop's thread. The actor is known to be who he says; what
/// he may is decided here. Bodies, names and numbers are checked before anything happens; a Problem
/// says which and what to write instead.
class Api {
 public:
  explicit Api(Administration& administration) : administration_(administration) {}
  [[nodiscard]] Reply handle(const Request& request);

 private:
  Administration& administration_;
};

}  // namespace tillbridge::admin
