// What a simulated device is made of, said once; its descriptors follow from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "channel/usb/descriptors.hpp"

namespace tillbridge::simulator {

/// One alternate setting of one interface.
struct InterfaceBlueprint {
  std::uint8_t number = 0, alternate_setting = 0;
  std::uint8_t interface_class = 0, interface_subclass = 0, interface_protocol = 0;
  std::string name;  ///< iInterface; empty: none
  Bytes
      class_descriptors;  ///< whole descriptors that stand between the interface and its endpoints
  /// Bulk endpoints' wMaxPacketSize is set from the speed (USB 2.0, 5.8.3): 512 high, 64 full.
  std::vector<usb::EndpointDescriptor> endpoints;
};

/// A device with one configuration, value 1.
struct DeviceBlueprint {
  usb::Speed speed = usb::Speed::high;  ///< high or full
  std::uint8_t device_class = 0, device_subclass = 0, device_protocol = 0;
  std::uint16_t vendor_id = 0, product_id = 0, device_version = 0x0100;
  std::string manufacturer, product, serial;  ///< empty: no such string
  std::string path;
  std::uint16_t max_power_ma = 100;
  std::vector<InterfaceBlueprint> interfaces;
};

/// Strings by index; entry 0 is unused (index 0 is the table of languages).
using StringTable = std::vector<std::string>;

/// Everything GET_DESCRIPTOR answers from. A blueprint is ours: one that makes no valid descriptors
/// asserts.
struct DescriptorSet {
  usb::DeviceDescription description;
  StringTable strings;
  /// DEVICE_QUALIFIER and OTHER_SPEED_CONFIGURATION; empty for a device that knows full speed only.
  Bytes qualifier, other_speed;
};

[[nodiscard]] DescriptorSet build_descriptors(const DeviceBlueprint& blueprint);

}  // namespace tillbridge::simulator
