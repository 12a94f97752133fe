// The pipeline with the bytes as dice: any session, any faults of the stick, any delay of the link,
// compared with the same without the pipeline; then a stick that lies.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <variant>

#include "tests/unit/massstorage/pipeline_scripts.hpp"

namespace usb = tillbridge::usb;
using namespace tillbridge::massstorage::test;
using tillbridge::Bytes;
using tillbridge::ByteView;
using tillbridge::massstorage::Pipeline;

namespace {

void require(const std::string& problem) {
  if (problem.empty()) return;
  std::fprintf(stderr, "%s\n", problem.c_str());
  std::abort();
}

usb::DeviceDescription stick() {
  usb::DeviceDescription device;
  usb::Configuration configuration;
  configuration.value = 1;
  configuration.interfaces = {{0, 0, 0x08, 0x06, 0x50, {{0x81, 2, 512, 0}, {0x02, 2, 512, 0}}}};
  device.configurations = {configuration};
  return device;
}

/// Ends that no stick would make, in any order: still each transfer of the session ends once.
void against_a_liar(Dice& dice) {
  Pipeline pipeline(stick());
  std::set<usb::TransferId> session;
  std::vector<usb::Transfer> at_stick;
  usb::TransferId last = 0;
  std::uint32_t tag = 0;
  const auto poll = [&] {
    while (auto output = pipeline.poll()) {
      if (auto* submit = std::get_if<Pipeline::Submit>(&*output)) {
        if (!Pipeline::is_own(submit->transfer.id)) require("not its own id");
        at_stick.push_back(std::move(submit->transfer));
      } else if (const auto* complete = std::get_if<Pipeline::Complete>(&*output)) {
        if (session.erase(complete->completion.id) != 1) require("completed twice");
      }
    }
  };
  const auto submit = [&](usb::Transfer transfer) {
    transfer.id = ++last;
    if (!pipeline.concerns(transfer)) return;
    session.insert(transfer.id);
    pipeline.submit(std::move(transfer));
  };
  for (int action = 0; action < 200; ++action) {
    usb::Transfer transfer;
    transfer.type = usb::TransferType::bulk;
    switch (dice.below(8)) {
      case 0: {
        tillbridge::massstorage::CommandBlock block;
        block.tag = ++tag;
        block.data_length = dice.of({0U, 13U, 512U, 4096U, 2000000U, 0xFFFFFFFFU});
        block.flags = dice.below(2) == 0 ? 0x80 : 0;
        block.cdb.length = 6;
        transfer.endpoint = 0x02;
        transfer.data = encode(block);
        break;
      }
      case 1:
        transfer.endpoint = 0x02;
        transfer.data = Bytes(dice.of({0U, 31U, 512U, 4096U}));
        break;
      case 2:
        transfer.endpoint = 0x81;
        transfer.length = dice.of({0U, 13U, 512U, 4096U, 100U});
        break;
      case 3: {
        const auto setup =
            dice.of({usb::clear_halt(0x81), usb::clear_halt(0x02), usb::bulk_only_reset(0),
                     usb::set_configuration(1), usb::set_configuration(0), usb::port_reset()});
        submit(usb::control_transfer(1, setup));
        poll();
        continue;
      }
      case 4:
        if (last != 0) static_cast<void>(pipeline.cancel(1 + dice.below(last)));
        poll();
        continue;
      default: {
        if (at_stick.empty()) continue;
        const auto index = dice.below(static_cast<std::uint32_t>(at_stick.size()));
        const usb::Transfer ended = at_stick[index];
        at_stick.erase(at_stick.begin() + index);
        usb::Completion completion;
        completion.id = ended.id;
        completion.status =
            static_cast<usb::TransferStatus>(dice.below(2) == 0 ? 0 : dice.below(10));
        completion.actual_length = dice.below(2) == 0 ? ended.length : dice.below(5000);
        if (ended.in()) {
          completion.data = Bytes(dice.of({0U, 13U, 100U, 512U, 4096U, 5000U}));
          if (dice.below(3) == 0) {
            completion.data = encode(tillbridge::massstorage::StatusBlock{tag, 0, {}});
          }
        }
        pipeline.complete(std::move(completion));
        poll();
        continue;
      }
    }
    submit(std::move(transfer));
    poll();
  }
  pipeline.lost();
  poll();
  if (!session.empty()) require("not every transfer ended");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const ByteView bytes(data, size);
  Dice dice(bytes.subspan(1));
  if (bytes.front() % 3 == 0) {
    const DriverScript script = roll_driver_script(dice);
    require(difference(play(script, false), play(script, true)));
  } else if (bytes.front() % 3 == 1) {
    const FreeScript script = roll_free_script(dice);
    require(difference(FreePlayer(script, false).play(), FreePlayer(script, true).play()));
  } else {
    against_a_liar(dice);
  }
  return 0;
}
