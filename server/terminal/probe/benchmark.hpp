// Benchmark: what the probe measures of a disk, round by round, and what came out.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "server/terminal/probe/options.hpp"
#include "server/terminal/probe/samples.hpp"
#include "server/terminal/report.hpp"

namespace tillbridge::terminal::probe {

/// Every round carries out the same steps in the same order, so that all measures see the same
/// conditions: their medians may be divided by each other, also on a machine that does other
/// things.
class Benchmark {
 public:
  enum class Kind : std::uint8_t {
    read,
    /// Writes what the last read returned back to where it came from: what is on the disk stays.
    write,
    /// An I/O control that the till answers by itself: the channel without any stick.
    round_trip,
  };
  struct Step {
    Kind kind;
    std::uint32_t bytes;  ///< of a read or write
  };

  explicit Benchmark(const Options& options);

  /// Begins the next step; nothing when all rounds are done.
  [[nodiscard]] std::optional<Step> next(Instant now);
  /// The step that next() began has ended.
  void ended(Instant now);
  /// Of each measure: its fields, and (if they are measured) its median in terms of three bare
  /// round trips.
  [[nodiscard]] std::vector<Report> reports() const;

 private:
  struct Measure {
    const char* name;
    std::uint32_t bytes;  ///< moved in one sample
    Samples samples;
  };
  /// A step counts for up to two measures: itself, and the row of steps that it is part of.
  struct Planned {
    Step step;
    std::optional<std::size_t> measure, row;  ///< indices into measures_
    bool begins_row, ends_row;
  };

  std::size_t add_measure(const char* name, std::uint32_t bytes);
  void plan(Step step, const char* name);
  /// `each`: measure of a single step; none: only the row counts.
  void plan_row(std::uint32_t count, Step step, const char* each, const char* row);
  /// Median; nothing if it is not measured.
  [[nodiscard]] std::optional<std::int64_t> three_round_trips_us() const;

  std::uint32_t rounds_left_;
  bool round_trips_;
  std::vector<Measure> measures_;
  std::vector<Planned> plan_;  ///< one round
  std::size_t at_ = 0;
  Instant step_began_{}, row_began_{};
};

}  // namespace tillbridge::terminal::probe
