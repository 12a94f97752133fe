// How long a till has been in each of its states.
#pragma once

#include <array>
#include <cstddef>

#include "channel/bytes/instant.hpp"
#include "server/admin/state.hpp"

namespace tillbridge::admin {

/// From its first enter() on. The values that it gives never fall.
class StateClock {
 public:
  /// It is in `state` now, maybe as before. `wall`: the same moment, for people.
  void enter(TillState state, Instant now, Time wall) {
    if (entered_ && state == state_) return;
    if (entered_) before_.at(static_cast<std::size_t>(state_)) += now - since_;
    entered_ = true;
    state_ = state;
    since_ = now;
    wall_since_ = wall;
  }
  [[nodiscard]] TillTimes times(Instant now) const {
    return {wall_since_, before_, entered_ ? now - since_ : Duration(0)};
  }

 private:
  bool entered_ = false;
  TillState state_ = TillState::never_seen;
  Instant since_{};
  Time wall_since_{};
  std::array<Duration, till_states> before_{};
};

}  // namespace tillbridge::admin
