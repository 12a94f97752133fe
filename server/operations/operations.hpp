// All that this room adds to a server, put together.
#pragma once

#include <string>

#include "channel/transport/loop.hpp"
#include "server/admin/administration.hpp"
#include "server/admin/api.hpp"
#include "server/operations/alerts.hpp"
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
  /// Captures end, and no alert goes out any more. While the UsbServer is still there.
  void stop();

 private:
  admin::Administration& admin_;
  Monitoring monitoring_;
  Captures captures_;
  Alerts alerts_;
  server::Observers observers_;
};

}  // namespace tillbridge::operations
