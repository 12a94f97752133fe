// A shop in a simulation: a TSE stick at a USB server, a till, its session at the terminal server,
// and the POS software that signs receipts there, all of them the real ones but for the wires
// between them. One seed, one run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "pos/family.hpp"
#include "tests/simulation/network.hpp"

namespace tillbridge::simulation {

/// What happens in a run besides receipts.
enum class Weather : std::uint8_t {
  calm,           ///< nothing
  cuts,           ///< connections break every 50 to 500 ms, both ends notice soon
  half_open,      ///< one end does not notice; bytes of old connections arrive late, hellos too
  holes,          ///< nothing passes, for up to 30 s at a time
  restarts,       ///< the USB server is told to end and started again
  outages,        ///< nothing passes, shorter and longer than the grace time
  till_deaths,    ///< the till's program dies, or its RDP connection ends, and comes back
  server_deaths,  ///< the USB server's program dies and is started again
  storm,          ///< all of it
};
[[nodiscard]] const char* name_of(Weather weather);

struct Outcome {
  /// Empty if everything held that must.
  std::string violation;
  std::size_t receipts = 0;  ///< that were asked for
  std::size_t verified = 0;  ///< signed, and the signature is good
  std::size_t failed = 0;    ///< reported as not signed, or as not known
  std::size_t unknown = 0;   ///< of those: not known
  std::size_t cuts = 0, connections = 0, arrivals = 0, departures = 0;
  std::size_t till_deaths = 0, server_deaths = 0, restarts = 0;
  std::uint64_t transfers = 0, lost_transfers = 0, command_ends = 0, signatures = 0;
  std::uint64_t virtual_ms = 0;
  bool sabotaged = false;         ///< the link was
  std::uint64_t fingerprint = 0;  ///< of everything that happened
};

/// What must hold in every weather: what reaches the stick was asked of it, in that order, at most
/// once; each transfer completes exactly once in the session; the stick's witness saw no frame
/// twice, no gap of the counter, no reset and no power cycle; every receipt is verified, or was
/// reported to the POS as not made (and is not in the stick's log) or not known; in the end the
/// till has its stick, and the POS can sign. In all weathers up to `restarts`: nothing was lost on
/// the way to the stick, and it never left the session. In `server_deaths` it only left when the
/// server was away for longer than the grace time, and each death cost one receipt at most.
[[nodiscard]] Outcome simulate(std::uint32_t seed, Weather weather,
                               Sabotage sabotage = Sabotage::none);

}  // namespace tillbridge::simulation
