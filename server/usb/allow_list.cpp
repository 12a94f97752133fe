#include "server/usb/allow_list.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace tillbridge::server {

namespace {

struct NamedClass {
  std::uint8_t code;
  std::string_view name;
};

// USB-IF defined class codes; only for messages.
constexpr std::array<NamedClass, 15> class_names{{{0x01, "audio"},
                                                  {0x02, "communications"},
                                                  {0x03, "HID (keyboard, mouse)"},
                                                  {0x05, "physical"},
                                                  {0x06, "image"},
                                                  {0x07, "printer"},
                                                  {0x08, "mass storage"},
                                                  {0x09, "hub"},
                                                  {0x0A, "CDC data"},
                                                  {0x0B, "smart card"},
                                                  {0x0E, "video"},
                                                  {0xDC, "diagnostic"},
                                                  {0xE0, "wireless controller"},
                                                  {0xFE, "application specific"},
                                                  {0xFF, "vendor specific"}}};

// CDC subclasses that are a network card, not a serial port (CDC 1.2 table 4: Ethernet 06, EEM 0C,
// NCM 0D, MBIM 0E).
constexpr std::array<std::uint8_t, 4> network_subclasses{0x06, 0x0C, 0x0D, 0x0E};

std::string class_text(std::uint8_t code) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string text{digits[code >> 4U], digits[code & 0xFU]};
  const auto* const named =
      std::find_if(class_names.begin(), class_names.end(),
                   [code](const NamedClass& entry) { return entry.code == code; });
  if (named != class_names.end()) text += " (" + std::string(named->name) + ")";
  return text;
}

bool is_network(const usb::InterfaceDescriptor& interface) {
  return interface.interface_class == usb::class_code::cdc &&
         std::find(network_subclasses.begin(), network_subclasses.end(),
                   interface.interface_subclass) != network_subclasses.end();
}

bool passes_by_class(const usb::InterfaceDescriptor& interface) {
  switch (interface.interface_class) {
    case usb::class_code::mass_storage:
    case usb::class_code::cdc_data:
    case usb::class_code::smart_card:
      return true;
    case usb::class_code::cdc:
      return !is_network(interface);
    default:
      return false;
  }
}

bool never_passes(const usb::InterfaceDescriptor& interface) {
  return interface.interface_class == usb::class_code::hid ||
         interface.interface_class == usb::class_code::hub;
}

std::string not_allowed_by_itself(std::string what, const std::string& model) {
  what += ", which is not allowed by itself; if this device is meant for a till, add [[allow]] ";
  what += "device = \"" + model + "\" to the configuration and reload";
  return what;
}

}  // namespace

std::optional<std::string> AllowList::refusal(const usb::DeviceDescription& description) const {
  const StickPattern::Model model{description.device.vendor_id, description.device.product_id};
  const bool named = models_.contains(model);
  const std::string model_text =
      StickIdentity{model.vendor_id, model.product_id, "", ""}.text().substr(0, 9);

  if (description.device.device_class == usb::class_code::hub)
    return "it is a hub; nothing to do, the sticks in it are seen by themselves";
  std::size_t interfaces = 0;
  for (const usb::Configuration& configuration : description.configurations) {
    for (const usb::InterfaceDescriptor& interface : configuration.interfaces) {
      ++interfaces;
      if (!never_passes(interface) && (named || passes_by_class(interface))) continue;
      std::string which = "interface ";
      which += std::to_string(interface.number);
      which += " is of class ";
      which += class_text(interface.interface_class);
      if (never_passes(interface)) {
        return which +
               ", which no till may be given; nothing to do unless it was meant to be a stick";
      }
      if (is_network(interface)) which += ", a network card";
      return not_allowed_by_itself(which, model_text);
    }
  }
  if (interfaces == 0) {
    return "it has no interface; unplug it and plug it in again, or replace the stick";
  }
  // A class at device level (00: see the interfaces, EF: interface associations, 02: CDC) says the
  // same again; any other one is a device that wants a driver of its own.
  switch (description.device.device_class) {
    case usb::class_code::per_interface:
    case usb::class_code::miscellaneous:
    case usb::class_code::cdc:
    case usb::class_code::mass_storage:
    case usb::class_code::smart_card:
      return std::nullopt;
    default:
      break;
  }
  if (named) return std::nullopt;
  return not_allowed_by_itself(
      "it is of device class " + class_text(description.device.device_class), model_text);
}

}  // namespace tillbridge::server
