#include "server/operations/alert_hook.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "server/operations/limits.hpp"

namespace tillbridge::operations {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds patience_at_the_end{3};

}  // namespace

/// Owned by the hook and by its thread: one that hangs outlives the hook.
struct AlertHook::Shared {
  std::unique_ptr<AlertSender> sender;
  Report report;
  Pace pace{};
  std::mutex mutex;
  std::condition_variable news;
  std::deque<Alert> waiting;
  std::uint64_t lost = 0;
  bool stopping = false, finished = false;

  void run();
  /// False: the hook is over.
  bool wait_until(std::unique_lock<std::mutex>& lock, Clock::time_point when) {
    news.wait_until(lock, when, [&] { return stopping; });
    return !stopping;
  }
  void deliver(std::unique_lock<std::mutex>& lock, const Alert& alert);
  bool failing = false;
};

void AlertHook::Shared::run() {
  std::unique_lock lock(mutex);
  // A bucket of tokens: each message takes one, each interval brings one.
  double tokens = pace.at_once;
  Clock::time_point filled = Clock::now();
  while (!stopping) {
    news.wait(lock, [&] { return stopping || !waiting.empty(); });
    if (stopping) break;
    const auto fill = [&] {
      const Clock::time_point now = Clock::now();
      const std::chrono::duration<double> passed = now - filled;
      const std::chrono::duration<double> each = pace.interval;
      tokens = std::min<double>(pace.at_once, tokens + passed / each);
      filled = now;
    };
    fill();
    if (tokens < 1) {
      const std::chrono::duration<double> wait = std::chrono::duration<double>(pace.interval);
      const auto missing = std::chrono::duration_cast<Clock::duration>(wait * (1 - tokens));
      if (!wait_until(lock, Clock::now() + missing + std::chrono::milliseconds(1))) break;
      continue;  // what waited may have become pointless
    }
    tokens -= 1;
    Alert alert = std::move(waiting.front());
    waiting.pop_front();
    alert.lost = std::exchange(lost, 0);
    deliver(lock, alert);
  }
  finished = true;
  news.notify_all();
}

void AlertHook::Shared::deliver(std::unique_lock<std::mutex>& lock, const Alert& alert) {
  std::chrono::milliseconds wait = pace.first_wait;
  for (unsigned attempt = 1;; ++attempt) {
    lock.unlock();
    const Status status = sender->send(alert);
    lock.lock();
    if (stopping) return;
    if (status) {
      if (std::exchange(failing, false)) report(false, sender->name() + " takes alerts again");
      return;
    }
    const bool last =
        attempt >= limits::alert_attempts || status.error().code == ErrorCode::refused;
    if (!std::exchange(failing, true)) {
      report(true, "alert '" + alert.alarm.kind + "' was not taken by " + sender->name() + ": " +
                       status.error().message + (last ? "" : "; it is tried again"));
    }
    if (last) {
      lost += alert.lost + 1;
      return;
    }
    if (!wait_until(lock, Clock::now() + wait)) return;
    wait *= 2;
  }
}

AlertHook::AlertHook(std::unique_ptr<AlertSender> sender, Report report)
    : AlertHook(std::move(sender), std::move(report),
                {limits::alerts_at_once, limits::alert_interval, limits::alert_first_wait}) {}

AlertHook::AlertHook(std::unique_ptr<AlertSender> sender, Report report, Pace pace)
    : shared_(std::make_shared<Shared>()) {
  shared_->sender = std::move(sender);
  shared_->report = std::move(report);
  shared_->pace = pace;
  std::thread([shared = shared_] { shared->run(); }).detach();
}

AlertHook::~AlertHook() {
  shared_->sender->stop();
  std::unique_lock lock(shared_->mutex);
  shared_->stopping = true;
  shared_->waiting.clear();
  shared_->report = [](bool, const std::string&) {};
  shared_->news.notify_all();
  shared_->news.wait_for(lock, patience_at_the_end, [&] { return shared_->finished; });
}

void AlertHook::take(Alert alert) {
  const std::lock_guard lock(shared_->mutex);
  auto& waiting = shared_->waiting;
  const auto opposite = std::find_if(waiting.begin(), waiting.end(), [&](const Alert& other) {
    return other.alarm.id == alert.alarm.id && other.raised != alert.raised;
  });
  if (opposite != waiting.end()) {
    waiting.erase(opposite);
    return;
  }
  if (waiting.size() >= limits::alerts_waiting) {
    waiting.pop_front();
    shared_->lost += 1;
  }
  waiting.push_back(std::move(alert));
  shared_->news.notify_all();
}

}  // namespace tillbridge::operations
