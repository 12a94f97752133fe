// A shop on a virtual clock: tills that reconnect, a USB server that keeps their sessions, and a
// network that delays, cuts, swallows and delivers late. One seed, one run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "channel/link/endpoint.hpp"

namespace tillbridge::test {

/// What the network and the ends do to each other in a run.
enum class Weather : std::uint8_t {
  cuts,       ///< connections break every 50 to 500 ms, both ends notice soon
  half_open,  ///< one end does not notice; bytes of old connections arrive late, hellos too
  holes,      ///< nothing passes for up to 20 s
  failures,   ///< the server restarts, the grace time passes, the till begins anew
};

/// A link that is broken on purpose, to see that the checks notice.
enum class Sabotage : std::uint8_t { none, drop_frame, replay_frame };

struct SimulationOutcome {
  /// Empty if everything held that must.
  std::string violation;
  std::size_t transfers = 0, connections = 0, resumed = 0, failed_transfers = 0;
};

/// Each till submits transfers on the stream of its stick; a stick carries each out once and
/// answers with bytes that derive from it. The checks: a stick sees each transfer at most once and
/// in order; each completes exactly once at the till, and with success only if the stick saw it,
/// with the right bytes; in all weathers but `failures` none fails and no stick leaves its till; in
/// the end nothing is kept or under way. A link never fails.
[[nodiscard]] SimulationOutcome simulate(std::uint32_t seed, Weather weather,
                                         Sabotage sabotage = Sabotage::none);

}  // namespace tillbridge::test
