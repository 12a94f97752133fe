// Counts what a benchmark allocates: in steady state a transfer should allocate little.
#pragma once

#include <cstdint>

#include <benchmark/benchmark.h>

namespace tillbridge::bench {

/// Calls of operator new so far, in the whole program.
[[nodiscard]] std::uint64_t allocations() noexcept;

/// From construction to destruction, told as the counter "allocations" per iteration.
class AllocationCounter {
 public:
  explicit AllocationCounter(benchmark::State& state) : state_(state), before_(allocations()) {}
  ~AllocationCounter() {
    state_.counters["allocations"] = benchmark::Counter(
        static_cast<double>(allocations() - before_), benchmark::Counter::kAvgIterations);
  }
  AllocationCounter(const AllocationCounter&) = delete;
  AllocationCounter& operator=(const AllocationCounter&) = delete;

 private:
  benchmark::State& state_;
  std::uint64_t before_;
};

}  // namespace tillbridge::bench
