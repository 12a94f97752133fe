// USB/IP commands, and one bulk transfer through Importer and Exporter without anything between
// them.
#include <benchmark/benchmark.h>

#include "channel/usbip/codec.hpp"
#include "tests/bench/micro/allocations.hpp"
#include "tests/bench/micro/stick.hpp"

namespace tillbridge::bench {
namespace {

void encode_cmd_submit(benchmark::State& state) {
  usbip::CmdSubmit command;
  command.sequence = 77;
  command.length = 4096;
  const AllocationCounter counted(state);
  for (auto _ : state) benchmark::DoNotOptimize(usbip::encode(command));
}

void decode_ret_submit(benchmark::State& state) {
  usbip::RetSubmit answer;
  answer.sequence = 77;
  answer.actual_length = 4096;
  const Bytes bytes = usbip::encode(answer);
  const AllocationCounter counted(state);
  for (auto _ : state) benchmark::DoNotOptimize(usbip::decode_command(bytes));
}

/// A bulk IN (argument 0: bytes) from submit() to its completion.
void usbip_bulk_in(benchmark::State& state) {
  ImportedStick stick;
  const auto size = static_cast<std::uint32_t>(state.range(0));
  const AllocationCounter counted(state);
  for (auto _ : state) {
    if (stick.carry(bulk_in(stick.next_id(), size)).data.size() != size)
      return state.SkipWithError("cut short");
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

BENCHMARK(encode_cmd_submit);
BENCHMARK(decode_ret_submit);
BENCHMARK(usbip_bulk_in)->Arg(13)->Arg(4 << 10)->Arg(64 << 10);

}  // namespace
}  // namespace tillbridge::bench
