#include "channel/usb/class_policy.hpp"

#include <array>
#include <string_view>

namespace tillbridge::usb {

namespace {

/// USB-IF class codes that occur on devices people plug in; only for messages.
std::string_view class_name(std::uint8_t code) {
  switch (code) {
    case 0x01:
      return "audio";
    case class_code::cdc:
      return "communications";
    case class_code::hid:
      return "HID: keyboard, mouse";
    case 0x06:
      return "image";
    case 0x07:
      return "printer";
    case class_code::mass_storage:
      return "mass storage";
    case class_code::hub:
      return "hub";
    case class_code::cdc_data:
      return "CDC data";
    case class_code::smart_card:
      return "smart card";
    case 0x0E:
      return "video";
    case 0xE0:
      return "wireless controller";
    case class_code::miscellaneous:
      return "miscellaneous";
    case 0xFE:
      return "application specific";
    case class_code::vendor:
      return "vendor specific";
    default:
      return "unknown";
  }
}

std::string class_text(std::uint8_t code) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string text{digits[code >> 4U], digits[code & 0xFU]};
  return text + " (" + std::string(class_name(code)) + ")";
}

/// CDC subclasses that are a network card, not a serial port (CDC 1.2, table 4): Ethernet, EEM,
/// NCM, MBIM.
bool is_network(const InterfaceDescriptor& interface) {
  switch (interface.interface_subclass) {
    case 0x06:
    case 0x0C:
    case 0x0D:
    case 0x0E:
      return interface.interface_class == class_code::cdc;
    default:
      return false;
  }
}

bool passes(const InterfaceDescriptor& interface) {
  switch (interface.interface_class) {
    case class_code::mass_storage:
    case class_code::cdc_data:
    case class_code::smart_card:
      return true;
    case class_code::cdc:
      return !is_network(interface);
    default:
      return false;
  }
}

/// bDeviceClass: 00 and EF refer to the interfaces, the others repeat what they say.
bool passes_as_device_class(std::uint8_t code) {
  switch (code) {
    case class_code::per_interface:
    case class_code::miscellaneous:
    case class_code::cdc:
    case class_code::mass_storage:
    case class_code::smart_card:
      return true;
    default:
      return false;
  }
}

bool never(std::uint8_t code) {
  return code == class_code::hid || code == class_code::hub;
}

}  // namespace

std::optional<ClassRefusal> class_refusal(const DeviceDescription& device, bool named) {
  const std::uint8_t device_class = device.device.device_class;
  if (never(device_class) || (!named && !passes_as_device_class(device_class))) {
    return ClassRefusal{"it is of device class " + class_text(device_class), !never(device_class)};
  }
  bool any_interface = false;
  for (const Configuration& configuration : device.configurations) {
    for (const InterfaceDescriptor& interface : configuration.interfaces) {
      any_interface = true;
      const std::uint8_t code = interface.interface_class;
      if (passes(interface) || (named && !never(code))) continue;
      return ClassRefusal{"interface " + std::to_string(interface.number) + " is of class " +
                              class_text(code) + (is_network(interface) ? ", a network card" : ""),
                          !never(code)};
    }
  }
  if (!any_interface) return ClassRefusal{"it has no interface", false};
  return std::nullopt;
}

}  // namespace tillbridge::usb
