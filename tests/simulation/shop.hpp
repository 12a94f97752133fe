// A shop in a simulation: TSE sticks at a USB server, tills, their sessions at the terminal server,
// and the POS software that signs receipts there, all of them the real ones but for the wires
// between them. One seed, one run.
#pragma once

#include <cstdint>

#include "tests/simulation/network.hpp"
#include "tests/simulation/outcome.hpp"
#include "tests/simulation/weather.hpp"

namespace tillbridge::simulation {

/// What must hold in every weather: what reaches a stick was asked of it by the session that has
/// it, in that order, at most once, and not after the session heard that it failed; each transfer
/// completes exactly once in the session; no session goes on with a stick that was pulled or used
/// by another one meanwhile; the stick's witness saw no frame twice, no gap of the counter, no
/// reset, and no power cycle that was none of the weather; every receipt is verified, or was
/// reported to the POS as not made (and is not in the stick's log) or not known; in the end every
/// stick is in one session, and its POS can sign. In a harmless weather nothing is lost on the way
/// to the stick, and it never leaves the session. In `server_deaths` it only leaves when the server
/// was away for longer than the grace time, and each death costs each till one receipt at most.
[[nodiscard]] Outcome simulate(std::uint32_t seed, Weather weather,
                               Sabotage sabotage = Sabotage::none);

}  // namespace tillbridge::simulation
