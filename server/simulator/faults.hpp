// Faults on purpose: what a test bench makes a simulated stick do wrong, where and how often.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::simulator {

/// Where in the life of a command a fault strikes.
enum class FaultPoint : std::uint8_t {
  command,         ///< a CBW arrived; serial: a whole request arrived
  data,            ///< first piece of a data stage, either direction
  status,          ///< the CSW is asked for; serial: the answer's first byte
  before_command,  ///< a TSE command is complete and was not carried out yet
  after_command,   ///< carried out and stored; nobody has read the answer yet
  between_steps,   ///< Swissbit: transaction step opened, not closed
  answer,          ///< the host reads an answer
};

enum class FaultAction : std::uint8_t {
  delay,            ///< `amount_ms` later
  stall,            ///< the endpoint halts
  silence,          ///< no answer until a reset
  short_data,       ///< half of the data, then a short packet
  wrong_residue,    ///< the CSW's residue is off by 512
  phase_error,      ///< CSW status 2
  bit_flip,         ///< one bit of the data, chosen by the seed
  unplug,           ///< gone from the bus; back after `amount_ms`, 0: never by itself
  power_cycle,      ///< volatile state is lost, the bus does not notice
  dead,             ///< silent until power-cycled; resets do not help
  zero_answer,      ///< cryptovision: a response frame of zeros, as after sleep
  busy_for_ever,    ///< the answer never becomes ready
  element_timeout,  ///< cryptovision: FF45
  token_kept,       ///< cryptovision: the request's token still stands in the answer
  stale_answer,     ///< the answer before this one again
  lose_answer,      ///< carried out, but nothing to read
  torn_write,       ///< only the first half of a WRITE's blocks reaches the medium, then unplug
};

[[nodiscard]] const char* name_of(FaultPoint point);
[[nodiscard]] const char* name_of(FaultAction action);

struct Fault {
  FaultPoint point{};
  FaultAction action{};
  std::uint32_t skip = 0;   ///< this many passes of the point first
  std::uint32_t times = 1;  ///< 0: without end
  std::uint32_t amount_ms = 0;
  std::uint32_t percent = 100;  ///< probability of each pass, from the plan's seed
  /// Only when this is the operation: a SCSI operation code at command, data and status; the
  /// protocol's command number at the other points.
  std::optional<std::uint32_t> code;
};

/// "after-command unplug skip=3 times=1 ms=1000 percent=50 code=0x0c"
[[nodiscard]] Result<Fault> parse_fault(std::string_view text);

class FaultPlan {
 public:
  explicit FaultPlan(std::uint64_t seed = 1) : random_(seed) {}
  /// At most limits::simulated_faults of them.
  [[nodiscard]] Status add(const Fault& fault);
  void clear() { entries_.clear(); }
  /// Called at each pass of a point: the first fault whose turn it is, with its count taken.
  [[nodiscard]] std::optional<Fault> strike(FaultPoint point, std::uint32_t code);
  /// Uniform in [0, below): for whatever else of the stick is random, so that one seed decides all.
  [[nodiscard]] std::uint64_t random(std::uint64_t below);

 private:
  struct Entry {
    Fault fault;
    std::uint32_t skipped = 0, struck = 0;
  };
  std::vector<Entry> entries_;
  std::mt19937_64 random_;
};

}  // namespace tillbridge::simulator
