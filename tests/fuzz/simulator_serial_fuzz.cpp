// The serial echo gets anything: every transfer ends exactly once, and what comes back is what was
// taken, in order.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>

#include "channel/usb/requests.hpp"
#include "server/simulator/serial_echo.hpp"

namespace usb = tillbridge::usb;
namespace simulator = tillbridge::simulator;
using tillbridge::ByteReader;
using tillbridge::Bytes;
using tillbridge::ByteView;
using tillbridge::Instant;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(ByteView(data, size));
  simulator::SerialEcho echo({});
  const Instant now{0};
  usb::TransferId next_id = 0;
  std::map<usb::TransferId, usb::Transfer> running;
  std::uint8_t sent = 0, received = 0;  // bytes count upwards, so that a lost or doubled one shows

  const auto submit = [&](usb::Transfer transfer) {
    transfer.id = ++next_id;
    running.emplace(next_id, transfer);
    echo.submit(std::move(transfer), now);
  };
  const auto pipe = [&](std::uint8_t endpoint, usb::TransferType type, std::uint32_t length) {
    usb::Transfer transfer;
    transfer.type = type;
    transfer.endpoint = endpoint;
    transfer.length = length;
    if (!transfer.in()) {
      for (std::uint32_t i = 0; i < length; ++i) transfer.data.push_back(sent++);
    }
    submit(std::move(transfer));
  };
  const auto poll = [&] {
    while (const auto completion = echo.poll_completion()) {
      const auto found = running.find(completion->id);
      require(found != running.end());
      const usb::Transfer transfer = found->second;
      running.erase(found);
      require(completion->actual_length <= transfer.length);
      if (transfer.type == usb::TransferType::control) continue;
      if (transfer.endpoint == simulator::SerialEcho::data_in_endpoint) {
        for (const std::uint8_t byte : completion->data) require(byte == received++);
      }
    }
  };

  submit(usb::control_transfer(1, usb::set_configuration(1)));
  submit(usb::control_transfer(1, {0x21, 0x22, 1, 0, 0}));  // DTR
  while (input.remaining() > 0) {
    switch (input.u8() % 8) {
      case 0:
      case 1:
      case 2:
        pipe(0x02, usb::TransferType::bulk, input.u16le() % 6000U);
        break;
      case 3:
      case 4:
        pipe(0x81, usb::TransferType::bulk, input.u16le() % 6000U);
        break;
      case 5:
        pipe(0x83, usb::TransferType::interrupt, input.u8());
        break;
      case 6: {  // a cancelled IN; a cancelled OUT would leave a gap in the count
        const usb::TransferId id = next_id - input.u8() % 4U;
        const auto found = running.find(id);
        if (found != running.end() && found->second.in()) echo.cancel(id, now);
        break;
      }
      default: {
        usb::SetupPacket setup{0xA1, input.u8(), input.u8(), 0, input.u8()};
        submit(usb::control_transfer(1, setup));
        break;
      }
    }
    poll();
  }
  while (!running.empty()) {
    echo.cancel(running.begin()->first, now);
    poll();
  }
  return 0;
}
