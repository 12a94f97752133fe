// How long to wait before the next attempt to connect.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

#include "channel/bytes/instant.hpp"

namespace tillbridge::plugin {

/// Doubles from 100 ms to 5 s. Each wait is drawn from its upper half, so that the tills of a shop
/// do not all come back in the same instant after their USB server restarted.
class Backoff {
 public:
  static constexpr Duration shortest = std::chrono::milliseconds(100);
  static constexpr Duration longest = std::chrono::seconds(5);
  /// A connection that lasted this long was a good one: the next attempt is a quick one again.
  static constexpr Duration good_connection = std::chrono::seconds(10);

  /// A restart that was announced: about five seconds of quick attempts.
  static constexpr Duration longest_when_soon = std::chrono::milliseconds(200);
  static constexpr int attempts_when_soon = 32;

  explicit Backoff(std::uint32_t seed) : random_(seed) {}

  [[nodiscard]] Duration next() {
    const bool soon = soon_ > 0;
    if (soon) --soon_;
    const Duration ceiling = wait_;
    wait_ = std::min(wait_ * 2, soon ? longest_when_soon : longest);
    std::uniform_int_distribution<Duration::rep> draw(ceiling.count() / 2, ceiling.count());
    return Duration(draw(random_));
  }
  void reset() noexcept {
    wait_ = shortest;
    soon_ = 0;
  }
  /// The server said that it will be there again in a moment, and a session waits for each reply.
  void expect_soon() noexcept {
    wait_ = shortest;
    soon_ = attempts_when_soon;
  }

 private:
  std::minstd_rand random_;
  Duration wait_ = shortest;
  int soon_ = 0;  ///< attempts that do not wait longer
};

}  // namespace tillbridge::plugin
