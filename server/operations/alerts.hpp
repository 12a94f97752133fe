// From the administration's alarms to all that wants to hear of them.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "channel/transport/loop.hpp"
#include "server/admin/state.hpp"
#include "server/operations/alert_hook.hpp"
#include "server/usb/config.hpp"

namespace tillbridge::operations {

/// On the loop's thread.
class Alerts {
 public:
  Alerts(transport::Loop& loop, std::string server_name);
  ~Alerts();
  Alerts(const Alerts&) = delete;
  Alerts& operator=(const Alerts&) = delete;
  Alerts(Alerts&&) = delete;
  Alerts& operator=(Alerts&&) = delete;

  /// Hooks that are new begin with the next alarm; those that stay as they are keep their queues.
  void use(const std::vector<server::Config::Alert>& settings);
  /// What waits is not sent any more. Waits a moment for what is being sent.
  void stop();
  /// For Administration::on_alarm().
  void heard(const admin::Alarm& alarm, bool raised);

 private:
  struct Hook;
  transport::Loop& loop_;
  std::string server_name_;
  std::vector<std::unique_ptr<Hook>> hooks_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillbridge::operations
