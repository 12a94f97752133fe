// Frames of the link: from send() at one endpoint to the event at the other, acknowledgements
// included.
#include <chrono>
#include <stdexcept>
#include <utility>

#include <benchmark/benchmark.h>

#include "channel/link/endpoint.hpp"
#include "tests/bench/micro/allocations.hpp"

namespace tillbridge::bench {
namespace {

class Pair {
 public:
  Pair() {
    till_.connected(now_);
    server_.connected(now_);
    move(till_, server_);
    move(server_, till_);
    if (!till_.poll_event() || !server_.poll_event()) throw std::runtime_error("no greeting");
  }

  /// One piece of a stream there, and one back.
  std::size_t exchange(std::size_t there, std::size_t back) {
    now_ += std::chrono::microseconds(1);
    till_.send(1, Bytes(there), now_);
    const std::size_t arrived = move(till_, server_);
    server_.send(1, Bytes(back), now_);
    return arrived + move(server_, till_);
  }

 private:
  std::size_t move(link::Endpoint& from, link::Endpoint& to) {
    const Bytes bytes = from.take_output();
    to.receive(bytes, now_);
    std::size_t data = 0;
    if (!greeted_) {
      greeted_ = &to == &till_;
      return data;
    }
    while (auto event = to.poll_event()) {
      if (auto* piece = std::get_if<link::Endpoint::Data>(&*event)) {
        data += piece->bytes.size();
        to.recycle(std::move(piece->bytes));
      }
    }
    return data;
  }

  Instant now_{1'000'000};
  link::Endpoint till_{link::Side::till, link::SessionId{1}};
  link::Endpoint server_{link::Side::server};
  bool greeted_ = false;
};

/// A command there (48 bytes of CMD_SUBMIT), its answer with data back.
void link_exchange(benchmark::State& state) {
  Pair pair;
  constexpr std::size_t command = 48;
  const auto answer = static_cast<std::size_t>(state.range(0));
  const AllocationCounter counted(state);
  for (auto _ : state) {
    if (pair.exchange(command, answer) != command + answer)
      return state.SkipWithError("bytes lost");
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

BENCHMARK(link_exchange)->Arg(48)->Arg(4 << 10)->Arg(64 << 10);

}  // namespace
}  // namespace tillbridge::bench
