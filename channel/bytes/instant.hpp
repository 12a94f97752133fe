// Time as a parameter: protocol rooms never look at a clock.
#pragma once

#include <chrono>

namespace tillbridge {

/// A point in monotonic time, since an epoch of the caller's choice. Never goes backwards between
/// two calls.
using Instant = std::chrono::microseconds;
using Duration = std::chrono::microseconds;

}  // namespace tillbridge
