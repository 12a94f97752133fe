// tillbridged as an object: the rooms of the server, put together in the order in which they need
// each other.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "channel/transport/loop.hpp"
#include "server/admin/administration.hpp"
#include "server/admin/api.hpp"
#include "server/audit/audit_log.hpp"
#include "server/enrolment/desk.hpp"
#include "server/http/logins.hpp"
#include "server/http/server.hpp"
#include "server/operations/operations.hpp"
#include "server/store/store.hpp"
#include "server/usb/config.hpp"
#include "server/usb/usb_server.hpp"

namespace tillbridge::server {

/// Used on the loop's thread, or before it runs. Destroy it after the loop has returned.
class Daemon {
 public:
  Daemon(transport::Loop& loop, Config config);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  Daemon(Daemon&&) = delete;
  Daemon& operator=(Daemon&&) = delete;

  /// Makes the state folder and all that is in it if this is the first start.
  [[nodiscard]] std::optional<StartFailure> start();
  void reload();
  /// Says goodbye to all tills, writes the audit's end, then calls `stopped`.
  void stop(std::function<void()> stopped);
  [[nodiscard]] std::string status() const { return usb_->status(); }

 private:
  [[nodiscard]] std::optional<StartFailure> open_state();
  [[nodiscard]] std::optional<StartFailure> let_administrators_in();

  void use_scrape_tokens();

  transport::Loop& loop_;
  Config config_;
  std::optional<store::Store> store_;
  std::optional<audit::AuditLog> audit_;
  std::unique_ptr<enrolment::Desk> desk_;
  std::unique_ptr<http::Logins> logins_;
  std::unique_ptr<UsbServer> usb_;
  std::unique_ptr<admin::Administration> administration_;
  std::unique_ptr<operations::Operations> operations_;
  std::unique_ptr<admin::Api> api_;
  std::unique_ptr<http::Server> http_;
};

}  // namespace tillbridge::server
