#include "server/operations/alerts.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "server/usb/log.hpp"

namespace tillbridge::operations {

struct Alerts::Hook {
  server::Config::Alert settings;
  AlertHook hook;
  Hook(const server::Config::Alert& wanted, std::unique_ptr<AlertSender> sender,
       AlertHook::Report report)
      : settings(wanted), hook(std::move(sender), std::move(report)) {}
};

Alerts::Alerts(transport::Loop& loop, std::string server_name)
    : loop_(loop), server_name_(std::move(server_name)) {}

Alerts::~Alerts() = default;

void Alerts::use(const std::vector<server::Config::Alert>& settings) {
  std::vector<std::unique_ptr<Hook>> before = std::exchange(hooks_, {});
  for (const server::Config::Alert& wanted : settings) {
    const auto same = std::find_if(before.begin(), before.end(), [&](const auto& hook) {
      return hook && hook->settings == wanted;
    });
    if (same != before.end()) {
      hooks_.push_back(std::move(*same));
      continue;
    }
    auto sender = wanted.webhook.empty() ? make_command(wanted) : make_webhook(wanted);
    auto report = [loop = &loop_, alive = std::weak_ptr<bool>(alive_)](bool failed,
                                                                       const std::string& text) {
      // The loop is there as long as the hook is: its end silences it.
      loop->post([alive, failed, text] {
        if (alive.expired()) return;
        (failed ? server::log::warning : server::log::info)(text, {});
      });
    };
    hooks_.push_back(std::make_unique<Hook>(wanted, std::move(sender), std::move(report)));
  }
  // A hook's end waits for its sender; that is nothing for this thread.
  std::erase(before, nullptr);
  if (before.empty()) return;
  std::thread([gone = std::move(before)]() mutable { gone.clear(); }).detach();
}

void Alerts::stop() {
  hooks_.clear();
}

void Alerts::heard(const admin::Alarm& alarm, bool raised) {
  for (const auto& hook : hooks_) {
    const std::set<std::string>& kinds = hook->settings.kinds;
    if (!kinds.empty() && !kinds.contains(alarm.kind)) continue;
    hook->hook.take({alarm, raised, std::chrono::system_clock::now(), server_name_, 0});
  }
}

}  // namespace tillbridge::operations
