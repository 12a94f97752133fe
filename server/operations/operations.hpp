// All that this room adds to a server, put together.
#pragma once

#include <functional>
#include <string>

#include "channel/transport/loop.hpp"
#include "server/admin/administration.hpp"
#include "server/admin/api.hpp"
#include "server/operations/alerts.hpp"
#include "server/operations/audit_inspection.hpp"
#include "server/operations/captures.hpp"
#include "server/operations/monitoring.hpp"
#include "server/usb/config.hpp"
#include "server/usb/observers.hpp"

namespace tillbridge::operations {

/// On the loop's thread. Outlives the UsbServer, since it observes it; the administration outlives
/// this.
class Operations {
 public:
  Operations(transport::Loop& loop, admin::Administration& administration, std::string server_name);
  Operations(const Operations&) = delete;
  Operations& operator=(const Operations&) = delete;
  Operations(Operations&&) = delete;
  Operations& operator=(Operations&&) = delete;
  ~Operations() = default;

  /// After Administration::start(), before UsbServer::start(). Adds /metrics, /healthz and
  /// /api/v1/capture to `api`, which must not be asked any more once this is gone.
  void start(admin::Api& api, const server::Config& config);
  /// The configuration was read again.
  void use(const server::Config& config) { alerts_.use(config.alerts); }
  /// Captures end, their readers get the files' ends, and no alert goes out any more; then
  /// `stopped` is called, at once if nobody reads, within half a second otherwise. While the
  /// UsbServer is still there, and before HTTP is stopped.
  void stop(std::function<void()> stopped);

 private:
  void wait_for_readers(Instant until, const std::function<void()>& stopped);

  admin::Administration& admin_;
  Monitoring monitoring_;
  Captures captures_;
  Alerts alerts_;
  AuditInspection inspection_;
  server::Observers observers_;
  transport::Loop& loop_;
  transport::Timer stopping_;
};

}  // namespace tillbridge::operations
