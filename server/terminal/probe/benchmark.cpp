#include "server/terminal/probe/benchmark.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace tillbridge::terminal::probe {
namespace {

constexpr std::uint32_t kib_4 = 4U << 10U, kib_64 = 64U << 10U;

/// 0.42 -> "0.4"
std::string rounded(double value) {
  const std::string text = std::to_string(value);
  return text.substr(0, text.find('.') + 2);
}

}  // namespace

Benchmark::Benchmark(const Options& options)
    : rounds_left_(options.bench_rounds), round_trips_(options.bench_round_trips) {
  plan({Kind::read, kib_64}, "read_64_kib");
  if (options.bench_writes) plan({Kind::write, kib_64}, "write_64_kib");
  if (options.bench_sequential != 0)
    plan_row(options.bench_sequential, {Kind::read, kib_64}, nullptr, "sequential_read");
  if (options.bench_writes) plan({Kind::write, kib_4}, "write_4_kib");
  // Next to each other, because they are compared.
  plan({Kind::read, kib_4}, "read_4_kib");
  if (round_trips_)
    plan_row(3, {Kind::round_trip, 0}, "channel_round_trip", "three_channel_round_trips");
}

std::size_t Benchmark::add_measure(const char* name, std::uint32_t bytes) {
  measures_.push_back({name, bytes, {}});
  return measures_.size() - 1;
}

void Benchmark::plan(Step step, const char* name) {
  plan_.push_back({step, add_measure(name, step.bytes), std::nullopt, false, false});
}

void Benchmark::plan_row(std::uint32_t count, Step step, const char* each, const char* row) {
  std::optional<std::size_t> single;
  if (each != nullptr) single = add_measure(each, step.bytes);
  const std::size_t all = add_measure(row, step.bytes * count);
  for (std::uint32_t i = 0; i < count; ++i)
    plan_.push_back({step, single, all, i == 0, i + 1 == count});
}

std::optional<Benchmark::Step> Benchmark::next(Instant now) {
  if (rounds_left_ == 0) return std::nullopt;
  const Planned& planned = plan_[at_];
  step_began_ = now;
  if (planned.begins_row) row_began_ = now;
  return planned.step;
}

void Benchmark::ended(Instant now) {
  const Planned& planned = plan_[at_];
  if (planned.measure) measures_[*planned.measure].samples.add(now - step_began_);
  if (planned.ends_row) measures_[*planned.row].samples.add(now - row_began_);
  if (++at_ < plan_.size()) return;
  at_ = 0;
  --rounds_left_;
}

std::optional<std::int64_t> Benchmark::three_round_trips_us() const {
  if (!round_trips_) return std::nullopt;
  return std::max<std::int64_t>(measures_.back().samples.percentile(50), 1);
}

std::vector<Report> Benchmark::reports() const {
  std::vector<Report> reports;
  const auto three = three_round_trips_us();
  for (const Measure& measure : measures_) {
    const std::int64_t median = measure.samples.percentile(50);
    std::vector<Field> fields{{"measure", std::string(measure.name)}};
    for (Field& field : measure.samples.fields(measure.bytes)) fields.push_back(std::move(field));
    std::string text = std::string(measure.name) + ": p50 " + std::to_string(median) + " us, p99 " +
                       std::to_string(measure.samples.percentile(99)) + " us";
    if (three) {
      const double ratio = static_cast<double>(median) / static_cast<double>(*three);
      fields.push_back({"p50_in_three_round_trips", ratio});
      text += ", " + rounded(ratio) + " times three bare round trips of the channel";
    }
    reports.push_back({"bench", std::move(text), std::move(fields)});
  }
  return reports;
}

}  // namespace tillbridge::terminal::probe
