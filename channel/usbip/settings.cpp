#include "channel/usbip/settings.hpp"

#include <algorithm>
#include <utility>

namespace tillbridge::usbip {

namespace {

/// Below 32 for every address.
constexpr std::size_t slot_of(std::uint8_t address) {
  return (address & 0x0FU) + ((address & 0x80U) != 0 ? 16U : 0U);
}

}  // namespace

Settings::Settings(usb::DeviceDescription device) : device_(std::move(device)) {
  collect_endpoints();
}

const usb::EndpointDescriptor* Settings::find_endpoint(std::uint8_t address) const noexcept {
  if ((address & 0x70U) != 0) return nullptr;  // reserved bits name no endpoint
  const auto& endpoint = endpoints_[slot_of(address)];
  return endpoint ? &*endpoint : nullptr;
}

bool Settings::allows(const usb::HostRequest& request) const {
  if (const auto* set = std::get_if<usb::SetConfiguration>(&request)) {
    return set->value == 0 || device_.find_configuration(set->value) != nullptr;
  }
  if (const auto* set = std::get_if<usb::SetInterface>(&request)) {
    const auto* configuration = device_.find_configuration(device_.active_configuration);
    return configuration != nullptr &&
           configuration->find(set->interface_number, set->alternate_setting) != nullptr;
  }
  if (const auto* clear = std::get_if<usb::ClearHalt>(&request)) {
    return (clear->endpoint & 0x0FU) == 0 || find_endpoint(clear->endpoint) != nullptr;
  }
  return true;
}

bool Settings::shows(std::uint16_t value, ByteView answer) const {
  const std::uint8_t type = static_cast<std::uint8_t>(value >> 8U);
  const std::size_t index = value & 0xFFU;
  const auto begins_with = [answer](const Bytes& descriptor) {
    return answer.size() <= descriptor.size() &&
           std::equal(answer.begin(), answer.end(), descriptor.begin());
  };
  if (type == usb::descriptor_type::device) return begins_with(usb::encode(device_.device));
  if (type != usb::descriptor_type::configuration) return true;
  return index < device_.configurations.size() && begins_with(device_.configurations[index].raw);
}

void Settings::apply(const usb::HostRequest& request) {
  if (const auto* set = std::get_if<usb::SetConfiguration>(&request)) {
    device_.active_configuration = set->value;
    alternate_settings_.clear();
  } else if (const auto* change = std::get_if<usb::SetInterface>(&request)) {
    alternate_settings_[change->interface_number] = change->alternate_setting;
  } else {
    return;
  }
  collect_endpoints();
}

void Settings::collect_endpoints() {
  endpoints_.fill(std::nullopt);
  const auto* configuration = device_.find_configuration(device_.active_configuration);
  if (configuration == nullptr) return;
  for (const auto& interface : configuration->interfaces) {
    const auto current = alternate_settings_.find(interface.number);
    const std::uint8_t alternate = current == alternate_settings_.end() ? 0 : current->second;
    if (interface.alternate_setting != alternate) continue;
    for (const auto& endpoint : interface.endpoints) {
      auto& slot = endpoints_[slot_of(endpoint.address)];
      if (!slot) slot = endpoint;  // two interfaces with one endpoint: the first has it
    }
  }
}

}  // namespace tillbridge::usbip
