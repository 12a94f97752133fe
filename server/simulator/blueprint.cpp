#include "server/simulator/blueprint.hpp"

#include <cassert>

#include "channel/bytes/writer.hpp"

namespace tillbridge::simulator {
namespace {

namespace descriptor = usb::descriptor_type;
constexpr std::uint8_t descriptor_device_qualifier = 6, descriptor_other_speed = 7;
constexpr std::uint16_t usb_2_0 = 0x0200;
constexpr std::uint8_t endpoint_0_packet = 64;

std::uint8_t add_string(StringTable& strings, const std::string& text) {
  if (text.empty()) return 0;
  strings.push_back(text);
  return static_cast<std::uint8_t>(strings.size() - 1);
}

std::uint16_t packet_size(const usb::EndpointDescriptor& endpoint, usb::Speed speed) {
  if (endpoint.type() != usb::TransferType::bulk) return endpoint.max_packet_size;
  return speed == usb::Speed::high ? 512 : 64;
}

void write_interface(ByteWriter& writer, const InterfaceBlueprint& interface, std::uint8_t name,
                     usb::Speed speed) {
  writer.u8(9);  // bLength
  writer.u8(descriptor::interface);
  writer.u8(interface.number);
  writer.u8(interface.alternate_setting);
  writer.u8(static_cast<std::uint8_t>(interface.endpoints.size()));
  writer.u8(interface.interface_class);
  writer.u8(interface.interface_subclass);
  writer.u8(interface.interface_protocol);
  writer.u8(name);
  writer.bytes(interface.class_descriptors);
  for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
    writer.u8(7);  // bLength
    writer.u8(descriptor::endpoint);
    writer.u8(endpoint.address);
    writer.u8(endpoint.attributes);
    writer.u16le(packet_size(endpoint, speed));
    writer.u8(endpoint.interval);
  }
}

Bytes write_configuration(const DeviceBlueprint& blueprint, const std::vector<std::uint8_t>& names,
                          std::uint8_t type, usb::Speed speed) {
  constexpr std::uint8_t attributes = 0x80;  // bus powered, no remote wake-up
  std::uint8_t interface_count = 0;
  for (const auto& interface : blueprint.interfaces) {
    if (interface.alternate_setting == 0) ++interface_count;
  }
  ByteWriter writer;
  writer.u8(9);  // bLength
  writer.u8(type);
  writer.u16le(0);  // wTotalLength, known at the end
  writer.u8(interface_count);
  writer.u8(1);  // bConfigurationValue
  writer.u8(0);  // iConfiguration
  writer.u8(attributes);
  writer.u8(static_cast<std::uint8_t>(blueprint.max_power_ma / 2));
  for (std::size_t i = 0; i < blueprint.interfaces.size(); ++i) {
    write_interface(writer, blueprint.interfaces[i], names[i], speed);
  }
  writer.patch_u16le(2, static_cast<std::uint16_t>(writer.size()));
  return writer.finish();
}

Bytes write_qualifier(const usb::DeviceDescriptor& device) {
  ByteWriter writer(10);
  writer.u8(10);  // bLength
  writer.u8(descriptor_device_qualifier);
  writer.u16le(device.usb_version);
  writer.u8(device.device_class);
  writer.u8(device.device_subclass);
  writer.u8(device.device_protocol);
  writer.u8(device.max_packet_size_0);
  writer.u8(device.configuration_count);
  writer.u8(0);  // reserved
  return writer.finish();
}

}  // namespace

DescriptorSet build_descriptors(const DeviceBlueprint& blueprint) {
  assert(blueprint.speed == usb::Speed::high || blueprint.speed == usb::Speed::full);
  DescriptorSet set;
  set.strings.emplace_back();

  usb::DeviceDescription& description = set.description;
  description.speed = blueprint.speed;
  description.manufacturer = blueprint.manufacturer;
  description.product = blueprint.product;
  description.serial = blueprint.serial;
  description.path = blueprint.path;

  usb::DeviceDescriptor& device = description.device;
  device.usb_version = usb_2_0;
  device.device_class = blueprint.device_class;
  device.device_subclass = blueprint.device_subclass;
  device.device_protocol = blueprint.device_protocol;
  device.max_packet_size_0 = endpoint_0_packet;
  device.vendor_id = blueprint.vendor_id;
  device.product_id = blueprint.product_id;
  device.device_version = blueprint.device_version;
  device.manufacturer_index = add_string(set.strings, blueprint.manufacturer);
  device.product_index = add_string(set.strings, blueprint.product);
  device.serial_index = add_string(set.strings, blueprint.serial);
  device.configuration_count = 1;

  std::vector<std::uint8_t> names;
  names.reserve(blueprint.interfaces.size());
  for (const auto& interface : blueprint.interfaces) {
    names.push_back(add_string(set.strings, interface.name));
  }
  auto configuration = usb::parse_configuration(
      write_configuration(blueprint, names, descriptor::configuration, blueprint.speed));
  assert(configuration.ok());
  description.configurations.push_back(std::move(configuration).value());

  if (blueprint.speed == usb::Speed::high) {
    set.qualifier = write_qualifier(device);
    set.other_speed =
        write_configuration(blueprint, names, descriptor_other_speed, usb::Speed::full);
  }
  return set;
}

}  // namespace tillbridge::simulator
