#include "channel/usb/descriptors.hpp"

#include <algorithm>
#include <bitset>
#include <cstdio>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::usb {

namespace {

constexpr std::size_t header_size = 1 /* bLength */ + 1 /* bDescriptorType */;
constexpr std::size_t configuration_size =
    header_size + 2 /* wTotalLength */ + 1 /* bNumInterfaces */ + 1 /* bConfigurationValue */ +
    1 /* iConfiguration */ + 1 /* bmAttributes */ + 1 /* bMaxPower */;
constexpr std::size_t interface_size = header_size + 1 /* bInterfaceNumber */ +
                                       1 /* bAlternateSetting */ + 1 /* bNumEndpoints */ +
                                       3 /* class triple */ + 1 /* iInterface */;
constexpr std::size_t endpoint_size = header_size + 1 /* bEndpointAddress */ +
                                      1 /* bmAttributes */ + 2 /* wMaxPacketSize */ +
                                      1 /* bInterval */;

InterfaceDescriptor read_interface(ByteReader reader) {
  InterfaceDescriptor interface;
  interface.number = reader.u8();
  interface.alternate_setting = reader.u8();
  reader.skip(1);  // bNumEndpoints: the endpoint descriptors that are really there count
  interface.interface_class = reader.u8();
  interface.interface_subclass = reader.u8();
  interface.interface_protocol = reader.u8();
  return interface;
}

EndpointDescriptor read_endpoint(ByteReader reader) {
  EndpointDescriptor endpoint;
  endpoint.address = reader.u8();
  endpoint.attributes = reader.u8();
  endpoint.max_packet_size = reader.u16le();
  endpoint.interval = reader.u8();
  return endpoint;
}

/// Collects what a configuration is made of. What Linux and Windows step over in the descriptors of
/// devices that work all the same (a second descriptor of the same setting or endpoint, an endpoint
/// address that cannot be) is stepped over here too: it is never used.
class ConfigurationBuilder {
 public:
  explicit ConfigurationBuilder(Configuration& configuration) : configuration_(configuration) {}

  Status add(InterfaceDescriptor interface) {
    in_duplicate_ = configuration_.find(interface.number, interface.alternate_setting) != nullptr;
    if (in_duplicate_) return {};
    if (configuration_.interfaces.size() >= limits::alternate_settings_per_configuration) {
      return fail(ErrorCode::limit, "configuration descriptor: too many alternate settings");
    }
    numbers_.set(interface.number);
    if (numbers_.count() > limits::interfaces_per_configuration) {
      return fail(ErrorCode::limit, "configuration descriptor: too many interfaces");
    }
    configuration_.interfaces.push_back(std::move(interface));
    return {};
  }

  Status add(EndpointDescriptor endpoint) {
    if (configuration_.interfaces.empty()) {
      return fail(ErrorCode::malformed,
                  "configuration descriptor: an endpoint before the first interface");
    }
    auto& endpoints = configuration_.interfaces.back().endpoints;
    // Bits 4-6 are reserved, and endpoint 0 has no descriptor.
    const bool impossible = (endpoint.address & 0x70U) != 0 || (endpoint.address & 0x0FU) == 0;
    const bool duplicate = std::any_of(endpoints.begin(), endpoints.end(), [&](const auto& other) {
      return other.address == endpoint.address;
    });
    // So there are never more than 30 of them: no other limit is needed.
    if (!in_duplicate_ && !impossible && !duplicate) endpoints.push_back(endpoint);
    return {};
  }

 private:
  Configuration& configuration_;
  std::bitset<256> numbers_;
  bool in_duplicate_ = false;
};

}  // namespace

const InterfaceDescriptor* Configuration::find(std::uint8_t interface_number,
                                               std::uint8_t alternate_setting) const noexcept {
  for (const auto& interface : interfaces) {
    if (interface.number == interface_number && interface.alternate_setting == alternate_setting) {
      return &interface;
    }
  }
  return nullptr;
}

const Configuration* DeviceDescription::find_configuration(std::uint8_t value) const noexcept {
  for (const auto& configuration : configurations) {
    if (configuration.value == value) return &configuration;
  }
  return nullptr;
}

std::string DeviceDescription::label() const {
  std::array<char, 10> ids{};
  std::snprintf(ids.data(), ids.size(), "%04x:%04x", static_cast<unsigned>(device.vendor_id),
                static_cast<unsigned>(device.product_id));
  std::string text = ids.data();
  text += serial.empty() ? " without serial" : " serial " + serial;
  if (serial.empty() && !path.empty()) text += " at " + path;
  // A stick chooses its serial: without this it could write log lines of its own.
  const auto unprintable = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  std::replace_if(text.begin(), text.end(), unprintable, '?');
  return text;
}

std::string_view name(Speed speed) noexcept {
  switch (speed) {
    case Speed::unknown:
      return "unknown speed";
    case Speed::low:
      return "low speed";
    case Speed::full:
      return "full speed";
    case Speed::high:
      return "high speed";
    case Speed::wireless:
      return "wireless";
    case Speed::super:
      return "SuperSpeed";
    case Speed::super_plus:
      return "SuperSpeed+";
  }
  return "unknown speed";
}

Result<DeviceDescriptor> parse_device_descriptor(ByteView bytes) {
  ByteReader reader(bytes);
  const std::uint8_t length = reader.u8();
  const std::uint8_t type = reader.u8();
  DeviceDescriptor descriptor;
  descriptor.usb_version = reader.u16le();
  descriptor.device_class = reader.u8();
  descriptor.device_subclass = reader.u8();
  descriptor.device_protocol = reader.u8();
  descriptor.max_packet_size_0 = reader.u8();
  descriptor.vendor_id = reader.u16le();
  descriptor.product_id = reader.u16le();
  descriptor.device_version = reader.u16le();
  descriptor.manufacturer_index = reader.u8();
  descriptor.product_index = reader.u8();
  descriptor.serial_index = reader.u8();
  descriptor.configuration_count = reader.u8();
  if (!reader.ok()) {
    return fail(ErrorCode::malformed,
                "device descriptor: " + std::to_string(bytes.size()) + " bytes instead of 18");
  }
  if (length < DeviceDescriptor::size || type != descriptor_type::device) {
    return fail(ErrorCode::malformed, "device descriptor: length " + std::to_string(length) +
                                          ", type " + std::to_string(type));
  }
  return descriptor;
}

Bytes encode(const DeviceDescriptor& descriptor) {
  ByteWriter writer(DeviceDescriptor::size);
  writer.u8(DeviceDescriptor::size);
  writer.u8(descriptor_type::device);
  writer.u16le(descriptor.usb_version);
  writer.u8(descriptor.device_class);
  writer.u8(descriptor.device_subclass);
  writer.u8(descriptor.device_protocol);
  writer.u8(descriptor.max_packet_size_0);
  writer.u16le(descriptor.vendor_id);
  writer.u16le(descriptor.product_id);
  writer.u16le(descriptor.device_version);
  writer.u8(descriptor.manufacturer_index);
  writer.u8(descriptor.product_index);
  writer.u8(descriptor.serial_index);
  writer.u8(descriptor.configuration_count);
  return writer.finish();
}

Result<Configuration> parse_configuration(ByteView bytes) {
  ByteReader header(bytes);
  const std::uint8_t header_length = header.u8();
  const std::uint8_t header_type = header.u8();
  const std::uint16_t total_length = header.u16le();
  Configuration configuration;
  configuration.interface_count = header.u8();
  configuration.value = header.u8();
  header.skip(1);  // iConfiguration
  configuration.attributes = header.u8();
  header.skip(1);  // bMaxPower
  if (!header.ok() || header_length < configuration_size || header_length > total_length ||
      header_type != descriptor_type::configuration || total_length > bytes.size()) {
    return fail(ErrorCode::malformed,
                "configuration descriptor: length " + std::to_string(header_length) + ", type " +
                    std::to_string(header_type) + ", wTotalLength " + std::to_string(total_length) +
                    ", present " + std::to_string(bytes.size()));
  }
  if (configuration.interface_count > limits::interfaces_per_configuration) {
    return fail(ErrorCode::limit,
                "configuration descriptor: " + std::to_string(configuration.interface_count) +
                    " interfaces");
  }

  ByteReader reader(bytes.first(total_length));
  reader.skip(header_length);
  ConfigurationBuilder builder(configuration);
  while (reader.remaining() > 0) {
    const std::size_t position = reader.position();
    const std::uint8_t length = reader.u8();
    const std::uint8_t type = reader.u8();
    const bool too_short = length < header_size ||
                           (type == descriptor_type::interface && length < interface_size) ||
                           (type == descriptor_type::endpoint && length < endpoint_size);
    // A length below the header would never move on; take() checks the end.
    const ByteView body = reader.take(too_short ? 0 : length - header_size);
    if (too_short || !reader.ok()) {
      return fail(ErrorCode::malformed, "configuration descriptor: bad length " +
                                            std::to_string(length) + " at byte " +
                                            std::to_string(position));
    }
    Status added;
    if (type == descriptor_type::interface) added = builder.add(read_interface(ByteReader(body)));
    if (type == descriptor_type::endpoint) added = builder.add(read_endpoint(ByteReader(body)));
    if (!added) return added.error();
  }

  const ByteView raw = bytes.first(total_length);
  configuration.raw.assign(raw.begin(), raw.end());
  return configuration;
}

}  // namespace tillbridge::usb
