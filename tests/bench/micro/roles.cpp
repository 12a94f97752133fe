// The two roles of MS-RDPEUSB against each other: a bulk transfer from submit() at the terminal
// server to the stick and back. What the channel costs when nothing has to be sent anywhere.
#include <chrono>
#include <deque>
#include <optional>
#include <stdexcept>
#include <utility>
#include <variant>

#include <benchmark/benchmark.h>

#include "channel/rdpeusb/pdu/device.hpp"
#include "channel/rdpeusb/terminal_role.hpp"
#include "channel/rdpeusb/till_role.hpp"
#include "channel/usb/requests.hpp"
#include "tests/bench/micro/allocations.hpp"
#include "tests/bench/micro/stick.hpp"

namespace tillbridge::bench {
namespace {

using rdpeusb::TerminalRole;
using rdpeusb::TillRole;

class Session {
 public:
  /// `over_usbip`: the stick is behind an Importer and an Exporter as well.
  explicit Session(bool over_usbip) {
    if (over_usbip) stick_.emplace();
    till_.add_device(1, {.description = stick_description(), .reset = {}}, now_);
    terminal_.start(now_);
    while (device_ == 0) {
      move();
      now_ += std::chrono::milliseconds(100);
      till_.advance(now_);
      terminal_.advance(now_);
    }
    carry(usb::control_transfer(next_id(), usb::set_configuration(1)));
  }
  [[nodiscard]] usb::TransferId next_id() { return ++last_id_; }

  usb::Completion carry(usb::Transfer transfer) {
    terminal_.submit(device_, std::move(transfer), now_);
    move();
    if (!ended_) throw std::runtime_error("the transfer did not end");
    return *std::exchange(ended_, std::nullopt);
  }

  void io_control() {
    terminal_.io_control(device_, rdpeusb::pdu::io_control_code::get_hub_count, 4, now_);
    move();
    if (!std::exchange(io_control_ended_, false)) throw std::runtime_error("no answer");
  }

 private:
  void move() {
    for (bool moved = true; moved;) {
      moved = false;
      while (auto output = terminal_.poll()) {
        moved = true;
        std::visit([this](auto& value) { take(value); }, *output);
      }
      while (auto output = till_.poll()) {
        moved = true;
        std::visit([this](auto& value) { take(value); }, *output);
      }
    }
  }
  void take(TerminalRole::OpenChannel& value) {
    ++last_channel_;
    till_.channel_opened(last_channel_, now_);
    terminal_.channel_opened(value.ticket, last_channel_, now_);
  }
  void take(TerminalRole::SendMessage& value) { till_.receive(value.channel, value.message, now_); }
  void take(TerminalRole::CloseChannel& value) { throw std::runtime_error(value.reason); }
  void take(TerminalRole::DeviceArrived& value) { device_ = value.device; }
  void take(TerminalRole::DeviceGone& value) { throw std::runtime_error(value.reason); }
  void take(TerminalRole::Completed& value) { ended_ = std::move(value.completion); }
  void take(TerminalRole::IoControlCompleted& /*value*/) { io_control_ended_ = true; }
  void take(TerminalRole::Event& /*value*/) {}
  void take(TillRole::SendMessage& value) { terminal_.receive(value.channel, value.message, now_); }
  void take(TillRole::CloseChannel& value) { throw std::runtime_error(value.reason); }
  void take(TillRole::Submit& value) {
    const usb::TransferId id = value.transfer.id;
    usb::Completion completion =
        stick_ ? stick_->carry(std::move(value.transfer)) : answer_to(value.transfer);
    completion.id = id;
    till_.complete(value.device, std::move(completion), now_);
  }
  void take(TillRole::Cancel& /*value*/) {}
  void take(TillRole::DeviceInSession& /*value*/) {}
  void take(TillRole::DeviceLeftSession& value) { throw std::runtime_error(value.reason); }
  void take(TillRole::Event& /*value*/) {}

  Instant now_{1'000'000};
  TillRole till_;
  TerminalRole terminal_;
  std::optional<ImportedStick> stick_;
  rdpeusb::DeviceId device_ = 0;
  rdpeusb::ChannelId last_channel_ = 0;
  usb::TransferId last_id_ = 0;
  std::optional<usb::Completion> ended_;
  bool io_control_ended_ = false;
};

void bulk_in_through(benchmark::State& state, bool over_usbip) {
  Session session(over_usbip);
  const auto size = static_cast<std::uint32_t>(state.range(0));
  const AllocationCounter counted(state);
  for (auto _ : state) {
    if (session.carry(bulk_in(session.next_id(), size)).data.size() != size)
      return state.SkipWithError("cut short");
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void roles_bulk_in(benchmark::State& state) {
  bulk_in_through(state, false);
}
void roles_and_usbip_bulk_in(benchmark::State& state) {
  bulk_in_through(state, true);
}
void roles_io_control(benchmark::State& state) {
  Session session(false);
  const AllocationCounter counted(state);
  for (auto _ : state) session.io_control();
}

BENCHMARK(roles_io_control);
BENCHMARK(roles_bulk_in)->Arg(13)->Arg(4 << 10)->Arg(64 << 10);
BENCHMARK(roles_and_usbip_bulk_in)->Arg(13)->Arg(4 << 10)->Arg(64 << 10);

}  // namespace
}  // namespace tillbridge::bench
