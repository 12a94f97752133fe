#include "server/terminal/device_intake.hpp"

#include <algorithm>
#include <utility>

#include "channel/usb/class_policy.hpp"

namespace tillbridge::terminal {
namespace {

/// bMaxPacketSize0 of a SuperSpeed device is an exponent: 2^9 bytes (USB 3.2, 9.6.1).
constexpr std::uint8_t super_speed_packet_exponent = 9;
/// The only size of a bulk endpoint's packets at high speed (USB 2.0, 5.8.3); full speed has at
/// most 64.
constexpr std::uint16_t high_speed_bulk_packet = 512;
/// The only size of endpoint 0's packets at high speed (USB 2.0, 5.5.3).
constexpr std::uint8_t high_speed_control_packet = 64;

}  // namespace

usb::Speed speed_of(const rdpeusb::AnnouncedDevice& announced,
                    const usb::DeviceDescription& description) {
  if (description.device.max_packet_size_0 == super_speed_packet_exponent) return usb::Speed::super;
  for (const usb::Configuration& configuration : description.configurations) {
    for (const usb::InterfaceDescriptor& interface : configuration.interfaces) {
      for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
        if (endpoint.type() != usb::TransferType::bulk) continue;
        return endpoint.max_packet_size == high_speed_bulk_packet ? usb::Speed::high
                                                                  : usb::Speed::full;
      }
    }
  }
  const bool can_be_high = description.device.max_packet_size_0 == high_speed_control_packet;
  return announced.high_speed && can_be_high ? usb::Speed::high : usb::Speed::full;
}

void DeviceIntake::device_arrived(DeviceId device, rdpeusb::AnnouncedDevice announced,
                                  Instant now) {
  usb::DeviceReader reader = reader_for(announced);
  auto [entry, inserted] = reading_.try_emplace(
      device, Reading{std::move(announced), std::move(reader), 0, {}, now, false, false, 0});
  if (inserted) step(device, entry->second, now);
}

usb::DeviceReader DeviceIntake::reader_for(const rdpeusb::AnnouncedDevice& announced) {
  return usb::DeviceReader(announced.high_speed ? usb::Speed::high : usb::Speed::full, {});
}

void DeviceIntake::device_gone(DeviceId device) {
  reading_.erase(device);
}

bool DeviceIntake::completed(DeviceId device, const usb::Completion& completion, Instant now) {
  const auto found = reading_.find(device);
  if (found == reading_.end()) return false;
  Reading& reading = found->second;
  if (completion.id != reading.transfer) return true;
  usb::Completion seen = completion;
  // Our own giving up is a time-out of this one request; the reader can do without a string.
  if (reading.given_up && seen.status == usb::TransferStatus::cancelled) {
    seen.status = usb::TransferStatus::timeout;
    reading.unanswered = true;
  }
  // What ran when the link or its server broke down ends so: nobody knows what became of it.
  if (seen.status == usb::TransferStatus::error && reading.broken < broken_readings) {
    reading.broken += 1;
    reading.unanswered = true;
  }
  reading.reader.complete(seen);
  if (!reading.reader.done()) {
    step(device, reading, now);
  } else if (reading.unanswered && !reading.reader.result() &&
             now < reading.begun + reading_patience) {
    reading.reader = reader_for(reading.announced);
    reading.unanswered = false;
    step(device, reading, now);
  } else {
    judge(device, reading);
    reading_.erase(found);
  }
  return true;
}

void DeviceIntake::step(DeviceId device, Reading& reading, Instant now) {
  std::optional<usb::Transfer> transfer = reading.reader.next(++reading.transfer);
  if (!transfer) return;
  reading.deadline = now + request_patience;
  reading.given_up = false;
  outputs_.emplace_back(Submit{device, std::move(*transfer)});
}

void DeviceIntake::judge(DeviceId device, Reading& reading) {
  Result<usb::DeviceDescription> read = reading.reader.result();
  if (!read) {
    outputs_.emplace_back(Refused{device, read.error().message});
    return;
  }
  usb::DeviceDescription& description = read.value();
  const Model model{description.device.vendor_id, description.device.product_id};
  if (const auto refusal = usb::class_refusal(description, named_.contains(model))) {
    std::string reason = description.label() + " is not let into the session: " + refusal->reason;
    if (refusal->naming_helps) {
      reason += "; if it is meant for a till, start tillbridge-terminal with --allow " +
                description.label().substr(0, sizeof("1209:0001") - 1);
    }
    outputs_.emplace_back(Refused{device, std::move(reason)});
    return;
  }
  description.speed = speed_of(reading.announced, description);
  outputs_.emplace_back(
      Admitted{SessionDevice{device, std::move(reading.announced), std::move(description)}});
}

void DeviceIntake::advance(Instant now) {
  for (auto& [device, reading] : reading_) {
    if (reading.given_up || now < reading.deadline) continue;
    reading.given_up = true;
    outputs_.emplace_back(Cancel{device, reading.transfer});
  }
}

std::optional<Instant> DeviceIntake::next_deadline() const {
  std::optional<Instant> next;
  for (const auto& [device, reading] : reading_) {
    if (!reading.given_up) next = std::min(next.value_or(reading.deadline), reading.deadline);
  }
  return next;
}

std::optional<DeviceIntake::Output> DeviceIntake::poll() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

}  // namespace tillbridge::terminal
