#include "channel/rdpeusb/till_role_identity.hpp"

#include <string_view>
#include <utility>
#include <vector>

#include "channel/bytes/limits.hpp"

namespace tillbridge::rdpeusb::till {

namespace {

/// `digits` digits, leading zeros included.
std::string number(std::uint64_t value, unsigned digits, unsigned base, std::string_view numerals) {
  std::string text(digits, '0');
  for (std::size_t i = digits; i > 0; --i) {
    text[i - 1] = numerals[value % base];
    value /= base;
  }
  return text;
}

std::string hex(std::uint64_t value, unsigned digits) {
  return number(value, digits, 16, "0123456789abcdef");
}
std::string upper_hex(std::uint64_t value, unsigned digits) {
  return number(value, digits, 16, "0123456789ABCDEF");
}
std::string decimal(std::uint64_t value, unsigned digits) {
  return number(value, digits, 10, "0123456789");
}

/// 64-bit FNV-1a with a finaliser (SplitMix64), so that serials which differ in their last digit
/// differ in all bits. Not a secret and not a proof: whoever makes up serials may make up equal
/// ones, too.
std::uint64_t hash(std::string_view text, std::uint64_t seed) {
  std::uint64_t value = 0xCBF29CE484222325U ^ seed;
  for (const char character : text) {
    value = (value ^ static_cast<std::uint8_t>(character)) * 0x100000001B3U;
  }
  value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31U);
}

/// A UUID of version 8 (RFC 9562, 5.8: made by a rule of its own) that follows from the identity
/// alone. These values are part of what Windows remembers about a stick: they must never change.
std::string uuid(std::string_view kind, const std::string& identity) {
  const std::string text = std::string(kind) + '\n' + identity;
  const std::uint64_t high = (hash(text, 0) & ~0xF000ULL) | 0x8000U;
  const std::uint64_t low =
      (hash(text, 0x9E3779B97F4A7C15U) & 0x3FFFFFFFFFFFFFFFU) | 0x8000000000000000U;
  return hex(high >> 32U, 8) + '-' + hex(high >> 16U, 4) + '-' + hex(high, 4) + '-' +
         hex(low >> 48U, 4) + '-' + hex(low, 12);
}

struct ClassTriple {
  unsigned base = 0, sub = 0, protocol = 0;
};

const usb::Configuration* leading_configuration(const usb::DeviceDescription& device) {
  const auto* active = device.find_configuration(device.active_configuration);
  if (active != nullptr) return active;
  return device.configurations.empty() ? nullptr : &device.configurations.front();
}

/// As Windows and FreeRDP decide it: the generic parent driver (usbccgp) is to load.
bool is_composite(const usb::DeviceDescription& device) {
  const auto& descriptor = device.device;
  const bool interface_association = descriptor.device_class == usb::class_code::miscellaneous &&
                                     descriptor.device_subclass == 2 &&
                                     descriptor.device_protocol == 1;
  if (interface_association) return true;
  return descriptor.device_class == usb::class_code::per_interface &&
         device.configurations.size() == 1 && device.configurations.front().interface_count > 1;
}

/// The class of the device; where it leaves that to its interfaces, of the first one: this is what
/// makes usbstor or the CCID driver bind.
ClassTriple class_of(const usb::DeviceDescription& device) {
  const auto& descriptor = device.device;
  if (descriptor.device_class != usb::class_code::per_interface) {
    return {descriptor.device_class, descriptor.device_subclass, descriptor.device_protocol};
  }
  const auto* configuration = leading_configuration(device);
  if (configuration == nullptr || configuration->interfaces.empty()) return {};
  const auto& first = configuration->interfaces.front();
  return {first.interface_class, first.interface_subclass, first.interface_protocol};
}

std::vector<std::string> compatible_ids(const usb::DeviceDescription& device) {
  if (is_composite(device)) {
    return {"USB\\DevClass_00&SubClass_00&Prot_00", "USB\\DevClass_00&SubClass_00",
            "USB\\DevClass_00", "USB\\COMPOSITE"};
  }
  const ClassTriple triple = class_of(device);
  const std::string base = "USB\\Class_" + upper_hex(triple.base, 2);
  const std::string sub = base + "&SubClass_" + upper_hex(triple.sub, 2);
  return {sub + "&Prot_" + upper_hex(triple.protocol, 2), sub, base};
}

std::vector<std::string> hardware_ids(const usb::DeviceDescription& device) {
  const std::string ids = "USB\\VID_" + upper_hex(device.device.vendor_id, 4) + "&PID_" +
                          upper_hex(device.device.product_id, 4);
  return {ids + "&REV_" + upper_hex(device.device.device_version, 4), ids};
}

/// Only 0x100, 0x110 and 0x200 are allowed; what is above (USB 2.1, USB 3) is served as 2.0.
std::uint32_t supported_usb_version(std::uint16_t version) {
  if (version >= 0x200) return 0x200;
  return version >= 0x110 ? 0x110 : 0x100;
}

/// From the real speed, not from bcdUSB: a full-speed stick may well say 2.00.
bool is_high_speed(const usb::DeviceDescription& device) {
  switch (device.speed) {
    case usb::Speed::low:
    case usb::Speed::full:
      return false;
    case usb::Speed::unknown:
      return device.device.usb_version >= 0x200;
    default:
      return true;
  }
}

/// Bus and last port of a port path like "3-1.4"; 1 and 1 where the path is none, as with a stick
/// that a USB server names by its ids and serial.
std::pair<unsigned, unsigned> bus_and_port(std::string_view path) {
  std::vector<unsigned> numbers{0};
  char previous = '-';
  for (const char character : path) {
    if (character >= '0' && character <= '9') {
      numbers.back() = (numbers.back() * 10 + static_cast<unsigned>(character - '0')) % 10000;
    } else {
      const bool separates = character == (numbers.size() == 1 ? '-' : '.');
      if (!separates || previous == '-' || previous == '.') return {1, 1};
      numbers.push_back(0);
    }
    previous = character;
  }
  if (numbers.size() < 2 || previous == '-' || previous == '.') return {1, 1};
  return {numbers.front(), numbers.back()};
}

}  // namespace

std::string identity_of(const usb::DeviceDescription& device, bool by_path) {
  std::string identity = hex(device.device.vendor_id, 4) + ":" + hex(device.device.product_id, 4);
  if (!device.serial.empty()) identity += " serial " + device.serial;
  if (device.serial.empty() || by_path) identity += " path " + device.path;
  return identity;
}

pdu::AddDevice announcement_of(const usb::DeviceDescription& device, std::uint32_t usb_device,
                               bool by_path) {
  const std::string identity = identity_of(device, by_path);
  pdu::AddDevice add;
  add.usb_device = usb_device;
  add.instance_id = uuid("instance", identity);
  add.hardware_ids = hardware_ids(device);
  add.compatible_ids = compatible_ids(device);
  add.container_id = '{' + uuid("container", identity) + '}';
  add.capabilities.bus_interface_version = 2;
  add.capabilities.usbdi_version = 0x600;
  add.capabilities.usb_version = supported_usb_version(device.device.usb_version);
  add.capabilities.hcd_capabilities = 0;
  add.capabilities.high_speed = is_high_speed(device) ? 1 : 0;
  add.capabilities.no_ack_isochronous_jitter_ms = 0;  // no isochronous transfers
  return add;
}

std::string description_text(const usb::DeviceDescription& device) {
  std::string text = device.product.substr(0, device.product.find('\0'));
  if (text.size() > limits::usb_string_bytes) {
    std::size_t end = limits::usb_string_bytes;
    // Not in the middle of a UTF-8 sequence.
    while (end > 0 && (static_cast<std::uint8_t>(text[end]) & 0xC0U) == 0x80U) --end;
    text.resize(end);
  }
  if (!text.empty()) return text;
  return "USB device " + upper_hex(device.device.vendor_id, 4) + ":" +
         upper_hex(device.device.product_id, 4);
}

std::string location_text(const usb::DeviceDescription& device) {
  const auto [hub, port] = bus_and_port(device.path);
  return "Port_#" + decimal(port, 4) + ".Hub_#" + decimal(hub, 4);
}

}  // namespace tillbridge::rdpeusb::till
