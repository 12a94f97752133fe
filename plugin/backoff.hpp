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

  explicit Backoff(std::uint32_t seed) : random_(seed) {}

  [[nodiscard]] Duration next() {
    const Duration ceiling = wait_;
    wait_ = std::min(wait_ * 2, longest);
    std::uniform_int_distribution<Duration::rep> draw(ceiling.count() / 2, ceiling.count());
    return Duration(draw(random_));
  }
  void reset() noexcept { wait_ = shortest; }

 private:
  std::minstd_rand random_;
  Duration wait_ = shortest;
};

}  // namespace tillbridge::plugin
