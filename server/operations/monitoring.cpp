#include "server/operations/monitoring.hpp"

#include <chrono>

#include "server/operations/metrics.hpp"

namespace tillbridge::operations {

namespace {

admin::Reply only_get() {
  return admin::reply_to({405, "method", "this address takes GET", "use GET"});
}

}  // namespace

admin::Reply Monitoring::metrics(const admin::Request& request) const {
  if (request.method != "GET" && request.method != "HEAD") return only_get();
  admin::Reply reply;
  reply.content_type = metrics_content_type;
  reply.body = operations::metrics(admin_.state(), totals_, admin_.counts(),
                                   std::chrono::system_clock::now());
  return reply;
}

admin::Reply Monitoring::health(const admin::Request& request) const {
  if (request.method != "GET" && request.method != "HEAD") return only_get();
  std::string problems;
  for (const admin::Alarm& alarm : admin_.state().alarms) {
    if (alarm.kind != "store_unwritable" && alarm.kind != "audit_unwritable") continue;
    problems += (problems.empty() ? "\"" : ", \"") + alarm.kind + "\"";
  }
  admin::Reply reply;
  if (problems.empty()) {
    reply.body = "{\"status\": \"ok\"}\n";
  } else {
    reply.status = 503;
    reply.body = "{\"status\": \"failing\", \"problems\": [" + problems + "]}\n";
  }
  return reply;
}

}  // namespace tillbridge::operations
