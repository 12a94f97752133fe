// What monitoring systems ask: GET /metrics and GET /healthz, outside /api.
#pragma once

#include "server/admin/administration.hpp"
#include "server/admin/reply.hpp"
#include "server/admin/request.hpp"
#include "server/operations/totals.hpp"

namespace tillbridge::operations {

/// On the loop's thread.
class Monitoring {
 public:
  explicit Monitoring(admin::Administration& administration) : admin_(administration) {}

  /// Prometheus' text format. Names of tills and sticks are in it: for whoever may see the state.
  [[nodiscard]] admin::Reply metrics(const admin::Request& request) const;
  /// {"status": "ok"} with 200, or {"status": "failing", "problems": [...]} with 503 if the server
  /// cannot keep its promises (database or audit log not writable). Alarms about sticks and tills
  /// are no illness of the server. Says nothing that a stranger may not hear.
  [[nodiscard]] admin::Reply health(const admin::Request& request) const;
  /// Hears of leases and tills, for the counters.
  [[nodiscard]] server::Observer& observer() noexcept { return totals_; }

 private:
  admin::Administration& admin_;
  Totals totals_;
};

}  // namespace tillbridge::operations
