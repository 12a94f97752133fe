#include "pos/usbip_device.hpp"

#include <algorithm>
#include <utility>
#include <variant>

#include "channel/usb/device_reader.hpp"
#include "channel/usb/requests.hpp"

namespace tillbridge::pos {

namespace {

/// For the server to hand the device out: a real one is opened first.
constexpr Duration import_patience = std::chrono::seconds(10);
/// For the end of a transfer that was cancelled.
constexpr Duration cancel_patience = std::chrono::seconds(5);

}  // namespace

Result<std::unique_ptr<UsbipDevice>> UsbipDevice::import(UsbipSocket socket,
                                                         const std::string& bus_id) {
  std::unique_ptr<UsbipDevice> device(new UsbipDevice(std::move(socket), bus_id));
  if (Status begun = device->begin(); !begun) return begun.error();
  return device;
}

Status UsbipDevice::begin() {
  importer_.start();
  pump();
  const Instant end = steady_now() + import_patience;
  while (!imported_ && !lost_) {
    const Duration left = end - steady_now();
    if (left <= Duration(0)) {
      return fail(ErrorCode::unavailable, "the USB/IP server did not hand out the device in 10 s");
    }
    receive(left);
  }
  if (lost_) return *lost_;
  usb::DeviceReader reader(description_.speed, description_.path);
  while (auto transfer = reader.next(last_id_ + 1)) {
    reader.complete(carry_out(std::move(*transfer), request_patience));
  }
  if (lost_) return *lost_;
  auto description = reader.result();
  if (!description) return description.error();
  description_ = std::move(*description);
  return {};
}

Status UsbipDevice::configure(std::uint8_t configuration) {
  const usb::Completion done =
      carry_out(usb::control_transfer(0, usb::set_configuration(configuration)), request_patience);
  if (done.status == usb::TransferStatus::success) return {};
  return lost_.value_or(fail(ErrorCode::io, "the device cannot be configured (" +
                                                std::string(usb::name(done.status)) + ")"));
}

usb::TransferId UsbipDevice::submit(usb::Transfer transfer) {
  const usb::TransferId id = transfer.id = ++last_id_;
  importer_.submit(std::move(transfer));
  pump();
  return id;
}

void UsbipDevice::cancel(usb::TransferId id) {
  importer_.cancel(id);
  pump();
}

std::optional<usb::Completion> UsbipDevice::wait(Duration patience) {
  const Instant end = steady_now() + patience;
  while (completions_.empty() && !lost_) {
    const Duration left = end - steady_now();
    receive(std::max(left, Duration(0)));
    if (left <= Duration(0)) break;
  }
  if (completions_.empty()) return std::nullopt;
  usb::Completion completion = std::move(completions_.front());
  completions_.pop_front();
  return completion;
}

usb::Completion UsbipDevice::carry_out(usb::Transfer transfer, Duration patience) {
  const usb::TransferId id = submit(std::move(transfer));
  auto done = wait(patience);
  if (!done) {
    cancel(id);
    done = wait(cancel_patience);
    if (!done) {
      lose(fail(ErrorCode::unavailable,
                "the USB/IP server does not even end what was cancelled: the stick is lost"));
      done = wait(Duration(0));
    }
    if (done->status == usb::TransferStatus::cancelled) done->status = usb::TransferStatus::timeout;
  }
  return std::move(*done);
}

void UsbipDevice::receive(Duration patience) {
  const auto bytes = socket_.receive(patience);
  if (!bytes) return lose(bytes.error());
  importer_.receive(*bytes);
  pump();
}

void UsbipDevice::pump() {
  while (auto output = importer_.poll()) {
    if (auto* send = std::get_if<usbip::Importer::Send>(&*output)) {
      if (lost_) continue;
      if (Status sent = socket_.send(send->bytes); !sent) lose(sent.error());
    } else if (auto* imported = std::get_if<usbip::Importer::Imported>(&*output)) {
      imported_ = true;
      description_ = std::move(imported->device);
    } else if (auto* completed = std::get_if<usbip::Importer::Completed>(&*output)) {
      completions_.push_back(std::move(completed->completion));
    } else if (auto* failed = std::get_if<usbip::Importer::Failed>(&*output)) {
      if (!lost_) lost_ = std::move(failed->error);
    }
  }
}

void UsbipDevice::lose(Error error) {
  if (lost_) return;
  lost_ = std::move(error);
  importer_.lost();
  pump();
}

}  // namespace tillbridge::pos
