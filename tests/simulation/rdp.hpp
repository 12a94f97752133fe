// The RDP connection between a till's program and its session at the terminal server: messages of
// dynamic channels, in order, each a little later than it was sent.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "tests/simulation/world.hpp"

namespace tillbridge::simulation {

class Till;
class Terminal;

/// Ends with whoever ends first; what is on its way then goes nowhere.
class Rdp : public std::enable_shared_from_this<Rdp> {
 public:
  explicit Rdp(World& world) : world_(world) {}

  Till* till = nullptr;
  Terminal* terminal = nullptr;

  void to_till(std::function<void(Till&)> message) {
    later(till_, [self = shared_from_this(), message = std::move(message)] {
      if (self->till != nullptr) message(*self->till);
    });
  }
  void to_terminal(std::function<void(Terminal&)> message) {
    later(terminal_, [self = shared_from_this(), message = std::move(message)] {
      if (self->terminal != nullptr) message(*self->terminal);
    });
  }
  [[nodiscard]] std::uint32_t next_channel() { return ++last_channel_; }

 private:
  void later(Instant& last, std::function<void()> task) {
    last = std::max(last, world_.now() + world_.between(std::chrono::microseconds(20),
                                                        std::chrono::milliseconds(3)));
    world_.at(last, std::move(task));
  }

  World& world_;
  Instant till_{}, terminal_{};
  std::uint32_t last_channel_ = 0;
};

}  // namespace tillbridge::simulation
