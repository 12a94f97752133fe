// Clock: time and waiting of the POS, so that tests need neither.
#pragma once

#include <cstdint>
#include <memory>

#include "channel/bytes/instant.hpp"

namespace tillbridge::pos {

class Clock {
 public:
  Clock() = default;
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  Clock(Clock&&) = delete;
  Clock& operator=(Clock&&) = delete;
  virtual ~Clock() = default;
  [[nodiscard]] virtual Instant now() = 0;
  virtual void wait(Duration duration) = 0;
  /// The time of day that a stick is given.
  [[nodiscard]] virtual std::uint64_t unix_s() = 0;
};

[[nodiscard]] std::unique_ptr<Clock> system_clock();

}  // namespace tillbridge::pos
