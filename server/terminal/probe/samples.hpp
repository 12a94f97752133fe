// Samples: durations of a repeated operation, and what is worth telling of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "server/terminal/report.hpp"

namespace tillbridge::terminal::probe {

class Samples {
 public:
  void add(Duration duration) { values_.push_back(duration.count()); }
  [[nodiscard]] std::size_t count() const noexcept { return values_.size(); }

  /// The smallest sample that at least `percent` of all samples do not exceed (nearest rank), in
  /// µs; 0 without samples.
  [[nodiscard]] std::int64_t percentile(double percent) const;
  [[nodiscard]] std::int64_t total_us() const;

  /// count, p50_us, p99_us, min_us, max_us and mean_us; with `bytes` moved per sample also mb_per_s
  /// (10^6 bytes).
  [[nodiscard]] std::vector<Field> fields(std::uint32_t bytes) const;

 private:
  std::vector<std::int64_t> values_;
};

}  // namespace tillbridge::terminal::probe
