#include "tests/bench/libusb_shape/bus.hpp"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <span>
#include <string>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>

#include "channel/usb/requests.hpp"
#include "server/simulator/factory.hpp"

namespace tillbridge::bench {

using shape::as_usb, shape::control_error, shape::data_of, shape::status_of;

namespace {

Instant now() {
  return std::chrono::duration_cast<Instant>(std::chrono::steady_clock::now().time_since_epoch());
}

/// As poll() takes it; a part of a millisecond counts as a whole one, as in libusb.
int poll_ms(Duration duration) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return static_cast<int>(std::clamp<std::int64_t>(ms, 0, 60'000));
}

/// The same stick as tillbridged's [[simulated]] makes of these options.
std::unique_ptr<simulator::Device> make_stick() {
  simulator::DeviceOptions options;
  if (const char* serial = std::getenv("TILLBRIDGE_SHAPE_SERIAL")) options.serial = serial;
  if (const char* size = std::getenv("TILLBRIDGE_SHAPE_SIZE_MIB"))
    options.size_mib = static_cast<std::uint32_t>(std::strtoul(size, nullptr, 10));
  auto device = simulator::make_device(options);
  if (!device) {
    std::cerr << "libusb_shape: " << device.error().message << '\n';
    std::abort();
  }
  return std::move(*device);
}

}  // namespace

Bus& Bus::instance() {
  static Bus& bus = *new Bus;
  return bus;
}

Bus::Bus() : device_(make_stick()), wake_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  // Linux configures a device when it is plugged in.
  const auto& configurations = device_->description().configurations;
  control(usb::set_configuration(configurations.front().value), nullptr, 0);
}

usb::DeviceDescription Bus::description() {
  const std::lock_guard lock(mutex_);
  return device_->description();
}

void Bus::reset() {
  const std::lock_guard lock(mutex_);
  device_->reset(now());
  run_stick();
}

int Bus::submit(OwnedTransfer& transfer) {
  if (transfer.type == LIBUSB_TRANSFER_TYPE_ISOCHRONOUS ||
      transfer.type == LIBUSB_TRANSFER_TYPE_BULK_STREAM)
    return LIBUSB_ERROR_NOT_SUPPORTED;
  const std::lock_guard lock(mutex_);
  if (transfer.id != 0) return LIBUSB_ERROR_BUSY;
  const usb::TransferId id = new_id();
  auto asked = as_usb(transfer, id);
  if (!asked) return LIBUSB_ERROR_INVALID_PARAM;
  Running running{&transfer, std::nullopt};
  if (transfer.timeout != 0) running.deadline = now() + std::chrono::milliseconds(transfer.timeout);
  transfer.id = id;
  running_.emplace(id, running);
  device_->submit(std::move(*asked), now());
  run_stick();
  return LIBUSB_SUCCESS;
}

int Bus::cancel(OwnedTransfer& transfer) {
  const std::lock_guard lock(mutex_);
  if (!running_.contains(transfer.id)) return LIBUSB_ERROR_NOT_FOUND;
  device_->cancel(transfer.id, now());
  run_stick();
  return LIBUSB_SUCCESS;
}

int Bus::control(const usb::SetupPacket& setup, unsigned char* data, unsigned timeout_ms) {
  std::unique_lock lock(mutex_);
  const usb::TransferId id = new_id();
  Bytes out;
  if (!setup.in() && setup.length != 0) {
    const std::span<const unsigned char> sent(data, setup.length);
    out.assign(sent.begin(), sent.end());
  }
  std::optional<Instant> deadline;
  if (timeout_ms != 0) deadline = now() + std::chrono::milliseconds(timeout_ms);
  device_->submit(usb::control_transfer(id, setup, std::move(out)), now());
  run_stick();
  while (!controls_ended_.contains(id)) {
    if (deadline && now() >= *deadline) {
      device_->cancel(id, now());
    } else {
      // Short, because the stick may need to be let on by whoever is awake.
      control_ended_.wait_for(lock, std::chrono::milliseconds(1));
    }
    run_stick();
  }
  const usb::Completion completion = std::move(controls_ended_.extract(id).mapped());
  if (completion.status != usb::TransferStatus::success &&
      completion.status != usb::TransferStatus::short_read)
    return control_error(completion.status);
  if (setup.in()) std::copy(completion.data.begin(), completion.data.end(), data);
  return static_cast<int>(completion.actual_length);
}

void Bus::handle_events(Duration patience) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto deadline = next_deadline())
      patience = std::min(patience, std::max(*deadline - now(), Duration::zero()));
  }
  pollfd waiting{wake_, POLLIN, 0};
  if (::poll(&waiting, 1, poll_ms(patience)) > 0) {
    eventfd_t count = 0;
    ::eventfd_read(wake_, &count);
  }
  std::deque<Ended> ended;
  {
    const std::lock_guard lock(mutex_);
    expire();
    run_stick();
    ended.swap(ended_);
    for (const Ended& end : ended) end.transfer->id = 0;  // its callback may submit it again
  }
  for (const Ended& end : ended) {
    OwnedTransfer& transfer = *end.transfer;
    transfer.status = status_of(end.completion, transfer, end.timed_out);
    transfer.actual_length = static_cast<int>(end.completion.actual_length);
    std::copy(end.completion.data.begin(), end.completion.data.end(), data_of(transfer).begin());
    transfer.callback(&transfer);  // may free it
  }
}

usb::TransferId Bus::new_id() {
  do {
    ++last_id_;
  } while (last_id_ == 0 || running_.contains(last_id_));
  return last_id_;
}

void Bus::run_stick() {
  device_->advance(now());
  const bool had_ended = !ended_.empty();
  while (auto completion = device_->poll_completion()) {
    const auto found = running_.find(completion->id);
    if (found == running_.end()) {
      controls_ended_.emplace(completion->id, std::move(*completion));
      control_ended_.notify_all();
      continue;
    }
    ended_.push_back({found->second.transfer, found->second.timed_out, std::move(*completion)});
    running_.erase(found);
  }
  if (!had_ended && !ended_.empty()) ::eventfd_write(wake_, 1);
}

void Bus::expire() {
  for (auto& [id, running] : running_) {
    if (!running.deadline || now() < *running.deadline || running.timed_out) continue;
    running.timed_out = true;
    device_->cancel(id, now());
  }
}

std::optional<Instant> Bus::next_deadline() const {
  std::optional<Instant> earliest = device_->next_deadline();
  for (const auto& [id, running] : running_) {
    if (running.deadline && !running.timed_out && (!earliest || *running.deadline < *earliest))
      earliest = running.deadline;
  }
  return earliest;
}

}  // namespace tillbridge::bench
