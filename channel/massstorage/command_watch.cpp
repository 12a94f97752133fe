#include "channel/massstorage/command_watch.hpp"

#include <algorithm>
#include <variant>

#include "channel/usb/bulk_only.hpp"

namespace tillbridge::massstorage {

using usb::TransferStatus;

CommandWatch::CommandWatch(const usb::DeviceDescription& device)
    : configuration_(device.active_configuration) {
  for (const usb::Configuration& configuration : device.configurations) {
    std::optional<std::uint8_t> chosen;
    for (const usb::InterfaceDescriptor& interface : configuration.interfaces) {
      if (!usb::is_bulk_only(interface) || chosen.value_or(interface.number) != interface.number) {
        continue;
      }
      Place place{configuration.value, interface.number, interface.alternate_setting};
      for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
        if (endpoint.type() != usb::TransferType::bulk) continue;
        std::uint8_t& address = (endpoint.address & 0x80U) == 0 ? place.out : place.in;
        if (address == 0) address = endpoint.address;
      }
      if (place.in == 0 || place.out == 0) continue;
      chosen = interface.number;
      places_.push_back(place);
    }
  }
  configured(usb::set_configuration(configuration_));
}

bool CommandWatch::concerns(const usb::Transfer& transfer) const noexcept {
  return place_ && transfer.type == usb::TransferType::bulk &&
         (transfer.endpoint == place_->in || transfer.endpoint == place_->out);
}

bool CommandWatch::begins_command(const usb::Transfer& transfer) const noexcept {
  if (!concerns(transfer) || transfer.in()) return false;
  if (!in_command_) return true;
  const bool data_awaited = command_.block.direction() == DataDirection::out &&
                            command_.moved < command_.block.data_length;
  return !data_awaited && transfer.data.size() == CommandBlock::size;
}

void CommandWatch::submitted(const usb::Transfer& transfer) {
  if (places_.empty()) return;
  if (transfer.type == usb::TransferType::control) return control_submitted(transfer);
  if (!concerns(transfer)) return;
  if (transfer.in()) {
    if (in_command_) running_.push_back({transfer.id, Kind::read, {}});
    return;
  }
  if (begins_command(transfer)) {
    const auto block = parse_command_block(transfer.data);
    if (!block) return;  // the stick refuses it, and the host will have to reset
    in_command_ = true;
    command_ = {*block, place_->interface, place_->in, place_->out};
    running_.push_back({transfer.id, Kind::command_block, {}});
    return;
  }
  running_.push_back({transfer.id, Kind::data_out, {}});
}

void CommandWatch::control_submitted(const usb::Transfer& transfer) {
  const auto request = usb::as_host_request(transfer.setup);
  if (request && std::holds_alternative<usb::ClearHalt>(*request)) {
    running_.push_back({transfer.id, Kind::halt, transfer.setup});
  } else if (request || (place_ && transfer.setup == usb::bulk_only_reset(place_->interface))) {
    running_.push_back({transfer.id, Kind::reset, transfer.setup});
  }
}

void CommandWatch::completed(const usb::Completion& completion) {
  const auto found = std::find_if(running_.begin(), running_.end(),
                                  [&](const Running& each) { return each.id == completion.id; });
  if (found == running_.end()) return;
  const Running ended = *found;
  running_.erase(found);
  const bool stalled = completion.status == TransferStatus::stall;
  switch (ended.kind) {
    case Kind::halt:
      if (completion.status != TransferStatus::success) return;
      if (ended.setup.index == command_.in) command_.in_halted = false;
      if (ended.setup.index == command_.out) command_.out_halted = false;
      return;
    case Kind::reset:
      if (completion.status != TransferStatus::success) return;
      in_command_ = false;
      configured(ended.setup);
      return;
    case Kind::command_block:
      // What the stick did not take whole, it does not carry out.
      if (completion.status != TransferStatus::success) in_command_ = false;
      return;
    case Kind::data_out:
      command_.moved += completion.actual_length;
      if (stalled) command_.data_over = command_.out_halted = true;
      return;
    case Kind::read:
      if (stalled) command_.data_over = command_.in_halted = true;
      break;
  }
  // Behind data in whole packets the status may come in the same transfer.
  const ByteView data = completion.data;
  if (in_command_ && data.size() >= StatusBlock::size &&
      parse_status_block(data.last(StatusBlock::size), command_.block)) {
    in_command_ = false;
  } else {
    command_.moved += completion.actual_length;
  }
}

void CommandWatch::forget() noexcept {
  in_command_ = false;
  running_.clear();
}

/// All alternate settings are 0 once a configuration is selected.
void CommandWatch::configured(const usb::SetupPacket& setup) {
  const auto request = usb::as_host_request(setup);
  if (!request) return;
  if (const auto* interface = std::get_if<usb::SetInterface>(&*request)) {
    return use(interface->interface_number, interface->alternate_setting);
  }
  const auto* chosen = std::get_if<usb::SetConfiguration>(&*request);
  if (chosen == nullptr) return;
  configuration_ = chosen->value;
  place_.reset();
  for (const Place& place : places_) {
    if (place.configuration == configuration_) return use(place.interface, 0);
  }
}

void CommandWatch::use(std::uint8_t interface, std::uint8_t alternate) noexcept {
  if (place_ && place_->interface != interface) return;
  place_.reset();
  for (const Place& place : places_) {
    if (place.configuration == configuration_ && place.interface == interface &&
        place.alternate == alternate) {
      place_ = place;
    }
  }
}

}  // namespace tillbridge::massstorage
