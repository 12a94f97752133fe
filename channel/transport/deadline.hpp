// A timer for a state machine that says after each step when it wants to be woken next.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "channel/transport/loop.hpp"

namespace tillbridge::transport {

/// Deadlines move with almost every message and nearly always to later: a timer that is armed for
/// an earlier instant is left alone, wakes up once in vain and is armed anew. So a message costs no
/// timer operation.
class Deadline {
 public:
  Deadline(transport::Loop& loop, std::function<void()> expired)
      : timer_(loop), expired_(std::move(expired)) {}

  void set(std::optional<Instant> when) {
    if (!when || (armed_ && *armed_ <= *when)) return;
    armed_ = when;
    timer_.arm(*when, [this] {
      armed_.reset();
      expired_();
    });
  }
  void cancel() {
    armed_.reset();
    timer_.cancel();
  }

 private:
  transport::Timer timer_;
  std::function<void()> expired_;
  std::optional<Instant> armed_;
};

}  // namespace tillbridge::transport
