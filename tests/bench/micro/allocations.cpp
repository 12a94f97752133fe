#include "tests/bench/micro/allocations.hpp"

#include <cstdlib>
#include <new>

#include <malloc.h>

namespace {
std::uint64_t count = 0;  // the benchmarks run on one thread

/// In a heap as small as a benchmark's, each freed 64 KiB would go back to the kernel and come
/// again page by page, which costs more than what is measured. The programs' heaps do not do that.
[[maybe_unused]] const int keeps_its_heap = mallopt(M_TRIM_THRESHOLD, 64 << 20);
}  // namespace

namespace tillbridge::bench {
std::uint64_t allocations() noexcept {
  return count;
}
}  // namespace tillbridge::bench

void* operator new(std::size_t size) {
  ++count;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}
