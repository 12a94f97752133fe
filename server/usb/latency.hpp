// How long transfers take: a histogram of fixed size, whose buckets grow with what they hold.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "channel/bytes/instant.hpp"

namespace tillbridge::server {

/// Four buckets for each power of two of microseconds: a percentile is right to within a quarter.
/// Above 67 s all is one bucket. Nothing is allocated.
class LatencyHistogram {
 public:
  static constexpr unsigned powers = 26, steps = 4;
  static constexpr std::size_t buckets = std::size_t{powers} * steps + 1;

  void add(Duration latency) {
    const auto us = static_cast<std::uint64_t>(latency.count() < 0 ? 0 : latency.count());
    counts_.at(bucket_of(us)) += 1;
    count_ += 1;
    sum_us_ += us;
  }
  void add(const LatencyHistogram& other) {
    for (std::size_t index = 0; index < buckets; ++index)
      counts_.at(index) += other.counts_.at(index);
    count_ += other.count_;
    sum_us_ += other.sum_us_;
  }
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint64_t sum_us() const noexcept { return sum_us_; }
  [[nodiscard]] std::uint64_t at(std::size_t bucket) const { return counts_.at(bucket); }
  /// The upper bound of the bucket in which the n-th of a hundred lies, in microseconds; nothing
  /// while there is none.
  [[nodiscard]] std::optional<std::uint32_t> percentile(unsigned percent) const {
    if (count_ == 0) return std::nullopt;
    const std::uint64_t wanted = (count_ * percent + 99) / 100;
    std::uint64_t seen = 0;
    for (std::size_t index = 0; index < buckets; ++index) {
      seen += counts_.at(index);
      if (seen >= wanted) return upper_us(index);
    }
    return upper_us(buckets - 1);
  }

  [[nodiscard]] static constexpr std::size_t bucket_of(std::uint64_t us) {
    if (us < steps) return static_cast<std::size_t>(us);
    const auto power = static_cast<unsigned>(std::bit_width(us)) - 1;  // >= 2
    const std::uint64_t step = (us >> (power - 2)) & (steps - 1);
    const std::size_t bucket = std::size_t{power - 1} * steps + static_cast<std::size_t>(step);
    return bucket < buckets - 1 ? bucket : buckets - 1;
  }
  /// The largest value that the bucket holds; the last one holds all above as well.
  [[nodiscard]] static constexpr std::uint32_t upper_us(std::size_t bucket) {
    if (bucket < steps) return static_cast<std::uint32_t>(bucket);
    const auto power = static_cast<unsigned>(bucket / steps) + 1;
    const std::uint64_t step = bucket % steps;
    return static_cast<std::uint32_t>(((steps + step + 1) << (power - 2)) - 1);
  }

 private:
  std::array<std::uint64_t, buckets> counts_{};
  std::uint64_t count_ = 0, sum_us_ = 0;
};

/// The last minute, in steps of ten seconds.
class RecentLatency {
 public:
  static constexpr Duration slot = std::chrono::seconds(10);
  static constexpr std::size_t slots = 6;

  void add(Duration latency, Instant now) {
    turn(now);
    slots_.at(static_cast<std::size_t>(turn_) % slots).add(latency);
  }
  [[nodiscard]] LatencyHistogram minute(Instant now) {
    turn(now);
    LatencyHistogram sum;
    for (const LatencyHistogram& part : slots_) sum.add(part);
    return sum;
  }

 private:
  void turn(Instant now) {
    const std::int64_t wanted = now / slot;
    if (wanted - turn_ >= static_cast<std::int64_t>(slots)) {
      slots_.fill({});
      turn_ = wanted;
    }
    while (turn_ < wanted) slots_.at(static_cast<std::size_t>(++turn_) % slots) = {};
  }
  std::array<LatencyHistogram, slots> slots_{};
  std::int64_t turn_ = 0;
};

}  // namespace tillbridge::server
