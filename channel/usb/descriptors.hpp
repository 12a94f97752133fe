// USB descriptors (USB 2.0, 9.6): parsed from a device that may lie, so every length and count is
// checked.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::usb {

/// Numbers as in USB/IP (enum usb_device_speed of Linux).
enum class Speed : std::uint8_t {
  unknown = 0,
  low = 1,
  full = 2,
  high = 3,
  wireless = 4,
  super = 5,
  super_plus = 6
};

/// Words for log lines: "high speed".
[[nodiscard]] std::string_view name(Speed speed) noexcept;

/// bDescriptorType values used here.
namespace descriptor_type {
inline constexpr std::uint8_t device = 1, configuration = 2, string = 3, interface = 4,
                              endpoint = 5;
}

/// bDeviceClass / bInterfaceClass values named in the allow-list and elsewhere.
namespace class_code {
inline constexpr std::uint8_t per_interface = 0x00, cdc = 0x02, hid = 0x03, mass_storage = 0x08,
                              hub = 0x09, cdc_data = 0x0A, smart_card = 0x0B, miscellaneous = 0xEF,
                              vendor = 0xFF;
}

/// USB 2.0 table 9-8; 18 bytes on the wire.
struct DeviceDescriptor {
  static constexpr std::size_t size = 2 /* bLength, bDescriptorType */ + 2 /* bcdUSB */ +
                                      3 /* class triple */ + 1 /* bMaxPacketSize0 */ +
                                      6 /* idVendor, idProduct, bcdDevice */ +
                                      3 /* string indices */ + 1 /* bNumConfigurations */;
  std::uint16_t usb_version = 0;  ///< bcdUSB
  std::uint8_t device_class = 0, device_subclass = 0, device_protocol = 0;
  std::uint8_t max_packet_size_0 = 0;
  std::uint16_t vendor_id = 0, product_id = 0;
  std::uint16_t device_version = 0;  ///< bcdDevice
  std::uint8_t manufacturer_index = 0, product_index = 0, serial_index = 0;
  std::uint8_t configuration_count = 0;
  bool operator==(const DeviceDescriptor&) const = default;
};

struct EndpointDescriptor {
  std::uint8_t address = 0;  ///< bit 7: IN
  std::uint8_t attributes = 0;
  std::uint16_t max_packet_size = 0;  ///< wMaxPacketSize as is (bits 11-12: high-bandwidth)
  std::uint8_t interval = 0;
  [[nodiscard]] TransferType type() const noexcept {
    return static_cast<TransferType>(attributes & 3U);
  }
  bool operator==(const EndpointDescriptor&) const = default;
};

/// One alternate setting of one interface.
struct InterfaceDescriptor {
  std::uint8_t number = 0, alternate_setting = 0;
  std::uint8_t interface_class = 0, interface_subclass = 0, interface_protocol = 0;
  std::vector<EndpointDescriptor> endpoints;
  bool operator==(const InterfaceDescriptor&) const = default;
};

/// One configuration: every alternate setting in descriptor order, and the raw bytes (wTotalLength
/// of them).
struct Configuration {
  std::uint8_t value = 0;  ///< bConfigurationValue
  std::uint8_t attributes = 0;
  std::uint8_t interface_count = 0;  ///< bNumInterfaces
  std::vector<InterfaceDescriptor> interfaces;
  Bytes raw;

  /// The alternate setting of an interface, by *number* (never by index); nullptr if there is none.
  [[nodiscard]] const InterfaceDescriptor* find(std::uint8_t interface_number,
                                                std::uint8_t alternate_setting) const noexcept;
  bool operator==(const Configuration&) const = default;
};

/// All that one end must know of a stick to show it somewhere else.
struct DeviceDescription {
  Speed speed = Speed::unknown;
  DeviceDescriptor device;
  std::vector<Configuration> configurations;  ///< by index, as GET_DESCRIPTOR counts them
  std::uint8_t active_configuration = 0;      ///< bConfigurationValue; 0 is unconfigured
  std::string manufacturer, product, serial;  ///< UTF-8; empty if the device has none
  /// Port path such as "1-1.4" ("simulated-1" for a simulated stick). Never part of the stick's
  /// identity unless it has no serial.
  std::string path;

  [[nodiscard]] const Configuration* find_configuration(std::uint8_t value) const noexcept;
  /// The name people see: "1209:0001 serial 5A2F...".
  [[nodiscard]] std::string label() const;
};

/// Exactly 18 bytes or more are needed; what follows them is ignored.
[[nodiscard]] Result<DeviceDescriptor> parse_device_descriptor(ByteView bytes);
[[nodiscard]] Bytes encode(const DeviceDescriptor& descriptor);

/// Parses a whole configuration (wTotalLength bytes must be present). Unknown descriptors are
/// skipped; lengths of 0 or past the end, more than limits.hpp allows, and endpoints before the
/// first interface are errors.
[[nodiscard]] Result<Configuration> parse_configuration(ByteView bytes);

/// A string descriptor's text as UTF-8; unpaired surrogates become U+FFFD.
[[nodiscard]] Result<std::string> parse_string_descriptor(ByteView bytes);
/// The descriptor of a text; one that is longer than 126 UTF-16 units is cut there, malformed UTF-8
/// becomes U+FFFD.
[[nodiscard]] Bytes encode_string_descriptor(std::string_view utf8);

}  // namespace tillbridge::usb
