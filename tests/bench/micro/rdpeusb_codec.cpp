// MS-RDPEUSB messages that every SCSI command is made of: encoding at one end, decoding at the
// other.
#include <benchmark/benchmark.h>

#include "channel/rdpeusb/pdu/message.hpp"
#include "tests/bench/micro/allocations.hpp"

namespace tillbridge::bench {
namespace {

namespace pdu = rdpeusb::pdu;

constexpr std::uint32_t usb_device = 4, completion_interface = 5, request = 77;
constexpr std::uint32_t command_block_bytes = 31;

/// A bulk transfer as Windows asks for it; `data` of an OUT goes with it.
pdu::TransferRequest bulk(bool in, std::uint32_t size, const Bytes& data) {
  pdu::TransferRequest message;
  message.address.interface = usb_device;
  message.in = in;
  message.urb.function = pdu::urb_function::bulk_or_interrupt_transfer;
  message.urb.request = request;
  message.urb.body = pdu::BulkOrInterruptTransfer{
      0x10, in ? pdu::transfer_flag::direction_in | pdu::transfer_flag::short_transfer_ok : 0};
  message.output_buffer_size = size;
  if (!in) message.output_buffer = data;
  return message;
}

void encode_transfer(benchmark::State& state, bool in) {
  const Bytes data(static_cast<std::size_t>(state.range(0)));
  const auto message = bulk(in, static_cast<std::uint32_t>(data.size()), data);
  const AllocationCounter counted(state);
  for (auto _ : state) benchmark::DoNotOptimize(pdu::encode(message));
}

void decode_transfer(benchmark::State& state, bool in) {
  const Bytes data(static_cast<std::size_t>(state.range(0)));
  const Bytes bytes = pdu::encode(bulk(in, static_cast<std::uint32_t>(data.size()), data));
  const AllocationCounter counted(state);
  for (auto _ : state) {
    auto message = pdu::decode_from_server(bytes, {usb_device});
    if (!message || !std::holds_alternative<pdu::TransferRequest>(*message))
      return state.SkipWithError("not decoded as a transfer");
    benchmark::DoNotOptimize(message);
  }
}

pdu::UrbCompletion completion(const Bytes& data) {
  pdu::UrbCompletion message;
  message.address.interface = completion_interface;
  message.request = request;
  message.output = data;
  return message;
}

void encode_urb_completion(benchmark::State& state) {
  const Bytes data(static_cast<std::size_t>(state.range(0)));
  const auto message = completion(data);
  const AllocationCounter counted(state);
  for (auto _ : state) benchmark::DoNotOptimize(pdu::encode(message));
}

void decode_urb_completion(benchmark::State& state) {
  const Bytes data(static_cast<std::size_t>(state.range(0)));
  const Bytes bytes = pdu::encode(completion(data));
  pdu::TerminalContext context;
  context.request_completion = completion_interface;
  context.outstanding = [&data](std::uint32_t) {
    return pdu::OutstandingRequest{false, pdu::urb_function::bulk_or_interrupt_transfer,
                                   static_cast<std::uint32_t>(data.size())};
  };
  const AllocationCounter counted(state);
  for (auto _ : state) {
    auto message = pdu::decode_from_till(bytes, context);
    if (!message || !std::holds_alternative<pdu::UrbCompletion>(*message))
      return state.SkipWithError("not decoded as a completion");
    benchmark::DoNotOptimize(message);
  }
}

void encode_transfer_out(benchmark::State& state) {
  encode_transfer(state, false);
}
void encode_transfer_in(benchmark::State& state) {
  encode_transfer(state, true);
}
void decode_transfer_out(benchmark::State& state) {
  decode_transfer(state, false);
}
void decode_transfer_in(benchmark::State& state) {
  decode_transfer(state, true);
}

BENCHMARK(encode_transfer_out)->Arg(command_block_bytes)->Arg(4 << 10)->Arg(64 << 10);
BENCHMARK(decode_transfer_out)->Arg(command_block_bytes)->Arg(4 << 10)->Arg(64 << 10);
BENCHMARK(encode_transfer_in)->Arg(64 << 10);
BENCHMARK(decode_transfer_in)->Arg(64 << 10);
BENCHMARK(encode_urb_completion)->Arg(13)->Arg(4 << 10)->Arg(64 << 10);
BENCHMARK(decode_urb_completion)->Arg(13)->Arg(4 << 10)->Arg(64 << 10);

}  // namespace
}  // namespace tillbridge::bench
