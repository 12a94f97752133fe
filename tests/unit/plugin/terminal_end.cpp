#include "tests/unit/plugin/terminal_end.hpp"

#include <utility>

#include "channel/usb/requests.hpp"

namespace tillbridge::plugin::test {
namespace {

// The serial-echo device of the simulator.
constexpr std::uint8_t bulk_in = 0x81;
constexpr std::uint8_t bulk_out = 0x02;
/// SET_CONTROL_LINE_STATE with DTR (PSTN 1.2, 6.3.12): without it the device drops what it gets.
constexpr usb::SetupPacket assert_dtr{
    .request_type = 0x21, .request = 0x22, .value = 1, .index = 0, .length = 0};

}  // namespace

void TerminalEnd::start() {
  role_.start(loop_.now());
  pump();
}

void TerminalEnd::opened(std::uint32_t ticket, rdpeusb::ChannelId channel) {
  role_.channel_opened(ticket, channel, loop_.now());
  pump();
}

void TerminalEnd::refused(std::uint32_t ticket) {
  role_.channel_refused(ticket, loop_.now());
  pump();
}

void TerminalEnd::closed(rdpeusb::ChannelId channel) {
  role_.channel_closed(channel, loop_.now());
  pump();
}

void TerminalEnd::receive(rdpeusb::ChannelId channel, ByteView message) {
  role_.receive(channel, message, loop_.now());
  pump();
}

std::vector<rdpeusb::DeviceId> TerminalEnd::present() const {
  std::vector<rdpeusb::DeviceId> ids;
  for (const auto& [id, device] : devices) {
    if (!device.gone) ids.push_back(id);
  }
  return ids;
}

void TerminalEnd::submit(rdpeusb::DeviceId device, usb::Transfer transfer) {
  role_.submit(device, std::move(transfer), loop_.now());
  pump();
}

void TerminalEnd::cancel(rdpeusb::DeviceId device, usb::TransferId transfer) {
  role_.cancel(device, transfer, loop_.now());
  pump();
}

void TerminalEnd::retract(rdpeusb::DeviceId device) {
  role_.retract(device, "a test", loop_.now());
  pump();
}

std::optional<usb::Completion> TerminalEnd::completion(usb::TransferId transfer) const {
  const auto found = completions_.find(transfer);
  if (found == completions_.end()) return std::nullopt;
  return found->second;
}

usb::TransferId TerminalEnd::configure(rdpeusb::DeviceId device) {
  const usb::TransferId first = ++last_transfer_;
  const usb::TransferId second = ++last_transfer_;
  following_[first] = {device, usb::control_transfer(second, assert_dtr)};
  submit(device, usb::control_transfer(first, usb::set_configuration(1)));
  return second;
}

usb::Transfer TerminalEnd::bulk(std::uint8_t endpoint) {
  usb::Transfer transfer;
  transfer.id = ++last_transfer_;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = endpoint;
  return transfer;
}

usb::TransferId TerminalEnd::write(rdpeusb::DeviceId device, Bytes data) {
  usb::Transfer transfer = bulk(bulk_out);
  transfer.length = static_cast<std::uint32_t>(data.size());
  transfer.data = std::move(data);
  const usb::TransferId id = transfer.id;
  submit(device, std::move(transfer));
  return id;
}

usb::TransferId TerminalEnd::read(rdpeusb::DeviceId device, std::uint32_t length) {
  usb::Transfer transfer = bulk(bulk_in);
  transfer.length = length;
  const usb::TransferId id = transfer.id;
  submit(device, std::move(transfer));
  return id;
}

void TerminalEnd::pump() {
  using Role = rdpeusb::TerminalRole;
  if (pumping_) return;
  pumping_ = true;
  while (auto output = role_.poll()) {
    if (const auto* open = std::get_if<Role::OpenChannel>(&*output)) {
      wire_.open(open->ticket);
    } else if (auto* send = std::get_if<Role::SendMessage>(&*output)) {
      wire_.send(send->channel, std::move(send->message));
    } else if (const auto* close = std::get_if<Role::CloseChannel>(&*output)) {
      wire_.close(close->channel);
    } else if (auto* arrived = std::get_if<Role::DeviceArrived>(&*output)) {
      devices[arrived->device].announced = std::move(arrived->announced);
    } else if (auto* gone = std::get_if<Role::DeviceGone>(&*output)) {
      devices[gone->device].gone = true;
      devices[gone->device].reason = std::move(gone->reason);
    } else if (auto* completed = std::get_if<Role::Completed>(&*output)) {
      const usb::TransferId id = completed->completion.id;
      completions_[id] = std::move(completed->completion);
      if (auto next = following_.extract(id)) {
        role_.submit(next.mapped().first, std::move(next.mapped().second), loop_.now());
      }
    } else if (auto* event = std::get_if<Role::Event>(&*output)) {
      events.push_back(std::move(event->text));
    }
  }
  pumping_ = false;
  if (const auto deadline = role_.next_deadline()) {
    timer_.arm(*deadline, [this] {
      role_.advance(loop_.now());
      pump();
    });
  }
}

}  // namespace tillbridge::plugin::test
