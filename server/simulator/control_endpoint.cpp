#include "server/simulator/control_endpoint.hpp"

#include "channel/bytes/writer.hpp"
#include "channel/usb/requests.hpp"

namespace tillbridge::simulator {
namespace {

namespace request = usb::request;
namespace descriptor = usb::descriptor_type;
using Outcome = ControlEndpoint::Outcome;
using Effect = ControlEndpoint::Effect;

constexpr std::uint8_t descriptor_device_qualifier = 6, descriptor_other_speed = 7;
constexpr std::uint16_t language_us_english = 0x0409;

/// bmRequestType without the direction: type and recipient.
constexpr std::uint8_t to_device = 0x00, to_interface = 0x01, to_endpoint = 0x02;
constexpr std::uint8_t type_mask = 0x60, direction_in = 0x80;

std::uint8_t high_byte(std::uint16_t value) {
  return static_cast<std::uint8_t>(value >> 8U);
}
std::uint8_t low_byte(std::uint16_t value) {
  return static_cast<std::uint8_t>(value & 0xFFU);
}

Bytes u16(std::uint16_t value) {
  return {low_byte(value), high_byte(value)};
}

}  // namespace

std::optional<Outcome> ControlEndpoint::handle(const usb::SetupPacket& setup) {
  if ((setup.request_type & type_mask) != 0) return std::nullopt;
  const auto recipient = static_cast<std::uint8_t>(setup.request_type & ~direction_in);

  if (setup.in()) {
    switch (setup.request) {
      case request::get_descriptor:
        if (recipient == to_device) return Outcome{get_descriptor(setup)};
        break;
      case request::get_configuration:
        if (recipient == to_device && setup.value == 0 && setup.index == 0) {
          return Outcome{ControlAnswer::reply({description().active_configuration})};
        }
        break;
      case request::get_interface:
        if (recipient == to_interface) return Outcome{get_interface(setup)};
        break;
      case request::get_status:
        return Outcome{get_status(setup)};
      default:
        break;
    }
    return Outcome{};
  }

  if (setup.length != 0) return Outcome{};  // SET_DESCRIPTOR, the only one with data, is optional
  switch (setup.request) {
    case request::set_address:
      // The host controller's business; a real device sees it, ours may.
      if (recipient == to_device && setup.value <= 127) return Outcome{ControlAnswer::accept()};
      break;
    case request::set_configuration:
      if (recipient == to_device) return set_configuration(setup);
      break;
    case request::set_interface:
      if (recipient == to_interface) return set_interface(setup);
      break;
    case request::clear_feature:
      if (recipient == to_endpoint) return change_halt(setup, false);
      break;
    case request::set_feature:
      if (recipient == to_endpoint) return change_halt(setup, true);
      break;
    default:
      break;
  }
  return Outcome{};
}

void ControlEndpoint::bus_reset() {
  descriptors_.description.active_configuration = 0;
  alternate_settings_.clear();
  halted_.clear();
}

const usb::Configuration* ControlEndpoint::active() const {
  return description().find_configuration(description().active_configuration);
}

const usb::EndpointDescriptor* ControlEndpoint::find_endpoint(std::uint8_t address) const {
  const usb::Configuration* configuration = active();
  if (configuration == nullptr) return nullptr;
  for (const usb::InterfaceDescriptor& interface : configuration->interfaces) {
    const auto selected = alternate_settings_.find(interface.number);
    const std::uint8_t alternate =
        selected == alternate_settings_.end() ? std::uint8_t{0} : selected->second;
    if (interface.alternate_setting != alternate) continue;
    for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
      if (endpoint.address == address) return &endpoint;
    }
  }
  return nullptr;
}

ControlAnswer ControlEndpoint::get_descriptor(const usb::SetupPacket& setup) const {
  const std::uint8_t index = low_byte(setup.value);
  switch (high_byte(setup.value)) {
    case descriptor::device:
      if (index == 0) return ControlAnswer::reply(usb::encode(description().device));
      break;
    case descriptor::configuration:
      if (index < description().configurations.size()) {
        return ControlAnswer::reply(description().configurations[index].raw);
      }
      break;
    case descriptor::string:
      return get_string(setup);
    case descriptor_device_qualifier:
      if (index == 0 && !descriptors_.qualifier.empty()) {
        return ControlAnswer::reply(descriptors_.qualifier);
      }
      break;
    case descriptor_other_speed:
      if (index == 0 && !descriptors_.other_speed.empty()) {
        return ControlAnswer::reply(descriptors_.other_speed);
      }
      break;
    default:
      break;  // among them BOS: a device of USB 2.0 has none
  }
  return ControlAnswer::refuse();
}

ControlAnswer ControlEndpoint::get_string(const usb::SetupPacket& setup) const {
  const std::uint8_t index = low_byte(setup.value);
  if (index == 0) {
    ByteWriter writer;
    writer.u8(4);  // bLength
    writer.u8(descriptor::string);
    writer.u16le(language_us_english);
    return ControlAnswer::reply(writer.finish());
  }
  // Also for a language that is not in the table: devices answer with what they have, and hosts ask
  // for 0.
  if (index >= descriptors_.strings.size()) return ControlAnswer::refuse();
  return ControlAnswer::reply(usb::encode_string_descriptor(descriptors_.strings[index]));
}

ControlAnswer ControlEndpoint::get_status(const usb::SetupPacket& setup) const {
  if (setup.value != 0) return ControlAnswer::refuse();
  const std::uint8_t target = low_byte(setup.index);
  switch (setup.request_type & ~direction_in) {
    case to_device:
      return ControlAnswer::reply(u16(0));  // bus powered, no remote wake-up
    case to_interface:
      if (active() != nullptr && active()->find(target, 0) != nullptr) {
        return ControlAnswer::reply(u16(0));
      }
      break;
    case to_endpoint:
      if ((target & 0x7FU) == 0) return ControlAnswer::reply(u16(0));
      if (find_endpoint(target) != nullptr)
        return ControlAnswer::reply(u16(halted(target) ? 1 : 0));
      break;
    default:
      break;
  }
  return ControlAnswer::refuse();
}

Outcome ControlEndpoint::set_configuration(const usb::SetupPacket& setup) {
  const std::uint8_t value = low_byte(setup.value);
  if (value != 0 && description().find_configuration(value) == nullptr) return {};
  bus_reset();  // the same that a reset loses: alternate settings and halts (9.4.7, 9.4.5)
  descriptors_.description.active_configuration = value;
  return {ControlAnswer::accept(), Effect::configuration_set, value};
}

Outcome ControlEndpoint::set_interface(const usb::SetupPacket& setup) {
  const std::uint8_t number = low_byte(setup.index);
  const std::uint8_t alternate = low_byte(setup.value);
  if (active() == nullptr) return {};
  const usb::InterfaceDescriptor* interface = active()->find(number, alternate);
  if (interface == nullptr) return {};
  alternate_settings_[number] = alternate;
  for (const usb::EndpointDescriptor& endpoint : interface->endpoints) {
    halted_.erase(endpoint.address);
  }
  return {ControlAnswer::accept(), Effect::interface_set, number};
}

Outcome ControlEndpoint::change_halt(const usb::SetupPacket& setup, bool halt) {
  const std::uint8_t endpoint = low_byte(setup.index);
  if (setup.value != usb::feature_endpoint_halt) return {};
  // Endpoint 0 is never halted: its stall ends with the request that caused it.
  if ((endpoint & 0x7FU) == 0) return {ControlAnswer::accept()};
  if (find_endpoint(endpoint) == nullptr) return {};
  if (halt) {
    halted_.insert(endpoint);
    return {ControlAnswer::accept()};
  }
  halted_.erase(endpoint);
  return {ControlAnswer::accept(), Effect::halt_cleared, endpoint};
}

ControlAnswer ControlEndpoint::get_interface(const usb::SetupPacket& setup) const {
  const std::uint8_t number = low_byte(setup.index);
  if (setup.value != 0 || active() == nullptr || active()->find(number, 0) == nullptr) {
    return ControlAnswer::refuse();
  }
  const auto selected = alternate_settings_.find(number);
  return ControlAnswer::reply(
      {selected == alternate_settings_.end() ? std::uint8_t{0} : selected->second});
}

}  // namespace tillbridge::simulator
