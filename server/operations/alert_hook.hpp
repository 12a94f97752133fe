// Sends alerts to one place, on a thread of its own: nothing that a receiver does keeps a stick
// waiting.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "channel/bytes/result.hpp"
#include "server/operations/alert.hpp"
#include "server/usb/config.hpp"

namespace tillbridge::operations {

/// Takes one message, within its time limit. An error is for the log; `refused` is one that another
/// attempt does not better.
class AlertSender {
 public:
  AlertSender() = default;
  virtual ~AlertSender() = default;
  AlertSender(const AlertSender&) = delete;
  AlertSender& operator=(const AlertSender&) = delete;
  /// On the hook's thread.
  [[nodiscard]] virtual Status send(const Alert& alert) = 0;
  /// From any thread: a running send() ends as soon as it can.
  virtual void stop() = 0;
  [[nodiscard]] virtual std::string name() const = 0;
};

/// POSTs the JSON. 2xx is success; 408, 429 and 5xx are worth another attempt. A redirect is
/// followed to nowhere: what is posted may name people's tills.
[[nodiscard]] std::unique_ptr<AlertSender> make_webhook(const server::Config::Alert& settings);
/// Runs the command, without a shell: in a session of its own, with nothing open but /dev/null and
/// pipes, and with nothing in its environment but PATH, LANG and the message. Exit code 0 is
/// success. After the time limit it is killed with all that it started.
[[nodiscard]] std::unique_ptr<AlertSender> make_command(const server::Config::Alert& settings);

/// A queue in front of a sender. One message for an alarm's beginning and one for its end. An alarm
/// that ends while its beginning still waits to be sent is not worth a message: both are dropped.
/// Sends at most limits::alerts_at_once in a row, then one each limits::alert_interval.
class AlertHook {
 public:
  struct Pace {
    unsigned at_once;
    std::chrono::milliseconds interval;    ///< between messages after that
    std::chrono::milliseconds first_wait;  ///< before a second attempt; doubles
  };
  using Report = std::function<void(bool failed, const std::string& text)>;

  /// `report` is called on the hook's thread, once when deliveries begin to fail and once when they
  /// work again.
  AlertHook(std::unique_ptr<AlertSender> sender, Report report);
  AlertHook(std::unique_ptr<AlertSender> sender, Report report, Pace pace);
  /// What waits is not sent any more. Waits a moment for the thread; a sender that hangs in the
  /// system is left behind.
  ~AlertHook();
  AlertHook(const AlertHook&) = delete;
  AlertHook& operator=(const AlertHook&) = delete;
  AlertHook(AlertHook&&) = delete;
  AlertHook& operator=(AlertHook&&) = delete;

  /// From the loop's thread; never waits.
  void take(Alert alert);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace tillbridge::operations
