// Limits of this room.
#pragma once

#include <chrono>
#include <cstddef>

namespace tillbridge::limits {

/// How long a restart waits until what the tills have begun has come to its end. A TSE signs within
/// three seconds; systemd ends a service by force after 15 s (tillbridged.service), and three of
/// these are for goodbyes.
inline constexpr std::chrono::seconds pause_within{10};

/// How long a stick may take to end a command that its till left in the middle: as long as Linux'
/// usb-storage waits for one. And how long for the class's own reset after that.
inline constexpr std::chrono::seconds command_end{30};
inline constexpr std::chrono::seconds command_abort{5};

/// How long a stick that left the bus while it was used is kept for its till: one that enumerates
/// itself anew is back within a few seconds.
inline constexpr std::chrono::seconds enumerates_within{10};

/// Peers of which the last refusal is remembered, so that only what is new is logged.
inline constexpr std::size_t refused_peers = 256;
/// One that did not try for so long begins anew.
inline constexpr std::chrono::minutes refusal_remembered{10};

}  // namespace tillbridge::limits
