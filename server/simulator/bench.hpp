// What a test bench has on a stick: shared by the device and by what stands behind it.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

#include "server/simulator/faults.hpp"
#include "server/simulator/witness.hpp"

namespace tillbridge::simulator {

/// The stick leaves the bus by itself.
struct Departure {
  /// How long until it is plugged in again; nothing: a hand has to do it.
  std::optional<Duration> back_after;
};

struct Bench {
  explicit Bench(std::uint64_t seed = 1) : faults(seed) {}

  FaultPlan faults;
  Witness witness;
  /// Names this device among all that this program made, and how often it came to a bus.
  const std::uint64_t number = next_number();
  std::uint32_t arrivals = 1;
  /// What a fault behind the device (a TSE behind its disk) wants of the device itself: unplug,
  /// power_cycle, stall, dead ... The device carries it out before it answers.
  std::optional<Fault> demand;

  [[nodiscard]] std::optional<Fault> strike(FaultPoint point, std::uint32_t code) {
    auto fault = faults.strike(point, code);
    if (fault) witness.fault_struck();
    return fault;
  }
  [[nodiscard]] std::optional<Fault> take_demand() { return std::exchange(demand, std::nullopt); }

 private:
  [[nodiscard]] static std::uint64_t next_number() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }
};

}  // namespace tillbridge::simulator
