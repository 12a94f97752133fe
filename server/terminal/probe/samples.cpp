#include "server/terminal/probe/samples.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tillbridge::terminal::probe {

std::int64_t Samples::percentile(double percent) const {
  if (values_.empty()) return 0;
  std::vector<std::int64_t> sorted = values_;
  std::sort(sorted.begin(), sorted.end());
  const double rank = std::ceil(percent / 100.0 * static_cast<double>(sorted.size()));
  const auto index = static_cast<std::size_t>(std::max(rank, 1.0)) - 1;
  return sorted[std::min(index, sorted.size() - 1)];
}

std::int64_t Samples::total_us() const {
  return std::accumulate(values_.begin(), values_.end(), std::int64_t{0});
}

std::vector<Field> Samples::fields(std::uint32_t bytes) const {
  const auto count = static_cast<std::int64_t>(values_.size());
  const std::int64_t total = total_us();
  std::vector<Field> fields{
      {"count", count},
      {"p50_us", percentile(50)},
      {"p99_us", percentile(99)},
      {"min_us", percentile(0)},
      {"max_us", percentile(100)},
      {"mean_us", count == 0 ? 0.0 : static_cast<double>(total) / static_cast<double>(count)}};
  if (bytes != 0 && total != 0) {
    // Bytes per microsecond are megabytes per second.
    fields.push_back({"mb_per_s", static_cast<double>(bytes) * static_cast<double>(count) /
                                      static_cast<double>(total)});
  }
  return fields;
}

}  // namespace tillbridge::terminal::probe
