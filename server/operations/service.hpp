// What systemd is told (Type=notify or notify-reload, WatchdogSec=). Without systemd all of it does
// nothing.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "channel/bytes/instant.hpp"
#include "channel/transport/loop.hpp"

namespace tillbridge::operations {

/// On the loop's thread. The watchdog's sign of life comes from the loop itself, three times in
/// each period: a loop that is stuck is noticed, whatever other threads do.
class Service {
 public:
  /// `status`: a line for `systemctl status`, looked at every few seconds.
  Service(transport::Loop& loop, std::function<std::string()> status);
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  Service(Service&&) = delete;
  Service& operator=(Service&&) = delete;
  ~Service() = default;

  void ready();
  /// Around reading the configuration again.
  void reloading();
  void stopping(const std::string& status);

 private:
  void beat();
  void tell(const std::string& lines);

  transport::Loop& loop_;
  std::function<std::string()> status_;
  std::string told_;
  bool stopping_ = false;
  Duration every_;
  bool watched_ = false;
  transport::Timer timer_;
};

/// If stderr is the journal: log lines go there with their priority and with the fields STICK= and
/// TILL=, so that `journalctl STICK=...` finds all of a stick. Before any thread is started.
void log_to_journal_if_there();

}  // namespace tillbridge::operations
