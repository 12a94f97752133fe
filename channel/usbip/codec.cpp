#include "channel/usbip/codec.hpp"

#include <algorithm>
#include <set>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::usbip {

namespace {

constexpr std::uint32_t cmd_submit = 1, cmd_unlink = 2, ret_submit = 3, ret_unlink = 4;
constexpr std::uint32_t direction_out = 0, direction_in = 1;

void write_text(ByteWriter& writer, std::string_view text, std::size_t field_size) {
  const std::size_t used = std::min(text.size(), field_size - 1);  // the NUL must fit
  for (const char letter : text.substr(0, used)) writer.u8(static_cast<std::uint8_t>(letter));
  writer.zeros(field_size - used);
}

/// Text up to the first NUL; fails the reader if there is none.
std::string read_text(ByteReader& reader, std::size_t field_size) {
  const ByteView field = reader.take(field_size);
  const auto end = std::find(field.begin(), field.end(), std::uint8_t{0});
  if (end == field.end()) reader.fail();
  return {field.begin(), end};
}

void write_operation(ByteWriter& writer, std::uint16_t code, OperationStatus status) {
  writer.u16be(protocol_version);
  writer.u16be(code);
  writer.u32be(static_cast<std::uint32_t>(status));
}

void write_record(ByteWriter& writer, const DeviceRecord& record) {
  write_text(writer, record.path, path_size);
  write_text(writer, record.busid, busid_size);
  writer.u32be(record.bus_number);
  writer.u32be(record.device_number);
  writer.u32be(record.speed);
  writer.u16be(record.vendor_id);
  writer.u16be(record.product_id);
  writer.u16be(record.device_version);
  writer.u8(record.device_class);
  writer.u8(record.device_subclass);
  writer.u8(record.device_protocol);
  writer.u8(record.configuration_value);
  writer.u8(record.configuration_count);
  writer.u8(record.interface_count);
}

/// The first setting of each interface of the configuration in use, or of the first one while there
/// is none.
std::vector<const usb::InterfaceDescriptor*> interfaces_of(const usb::DeviceDescription& device) {
  const usb::Configuration* configuration = device.find_configuration(device.active_configuration);
  if (configuration == nullptr && !device.configurations.empty()) {
    configuration = &device.configurations.front();
  }
  std::vector<const usb::InterfaceDescriptor*> interfaces;
  if (configuration == nullptr) return interfaces;
  std::set<std::uint8_t> seen;
  for (const auto& interface : configuration->interfaces) {
    if (seen.insert(interface.number).second) interfaces.push_back(&interface);
  }
  return interfaces;
}

/// "3-1.4" is on bus 3; a path without a number ("simulated-1") is on bus 1.
std::uint32_t bus_number_of(const std::string& path) {
  std::uint32_t number = 0;
  for (const char letter : path) {
    if (letter < '0' || letter > '9' || number > 999) break;
    number = number * 10 + static_cast<std::uint32_t>(letter - '0');
  }
  return number == 0 ? 1 : number;
}

void write_command_header(ByteWriter& writer, std::uint32_t command, std::uint32_t sequence) {
  writer.u32be(command);
  writer.u32be(sequence);
}

/// Replies carry no device id, direction and endpoint: Linux sends zeros.
ByteWriter reply(std::uint32_t command, std::uint32_t sequence) {
  ByteWriter writer(command_size);
  write_command_header(writer, command, sequence);
  writer.zeros(12);
  return writer;
}

Result<Command> malformed(const char* what, std::uint32_t value) {
  return fail(ErrorCode::malformed, std::string("USB/IP: ") + what + " " + std::to_string(value));
}

}  // namespace

Bytes encode_device_list_request() {
  ByteWriter writer(OperationHeader::size);
  write_operation(writer, operation::request_device_list, OperationStatus::ok);
  return writer.finish();
}

Bytes encode_import_request(std::string_view busid) {
  ByteWriter writer(OperationHeader::size + busid_size);
  write_operation(writer, operation::request_import, OperationStatus::ok);
  write_text(writer, busid, busid_size);
  return writer.finish();
}

Bytes encode_device_list(const std::vector<usb::DeviceDescription>& devices) {
  const std::size_t count = std::min(devices.size(), limits::usbip_exported_devices);
  ByteWriter writer(OperationHeader::size + 4 + count * DeviceRecord::size);
  write_operation(writer, operation::reply_device_list, OperationStatus::ok);
  writer.u32be(static_cast<std::uint32_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    DeviceRecord record = to_record(devices[i]);
    record.device_number = static_cast<std::uint32_t>(i + 1);
    write_record(writer, record);
    for (const auto* interface : interfaces_of(devices[i])) {
      writer.u8(interface->interface_class);
      writer.u8(interface->interface_subclass);
      writer.u8(interface->interface_protocol);
      writer.u8(0);
    }
  }
  return writer.finish();
}

Bytes encode_import_granted(const usb::DeviceDescription& device) {
  ByteWriter writer(OperationHeader::size + DeviceRecord::size);
  write_operation(writer, operation::reply_import, OperationStatus::ok);
  write_record(writer, to_record(device));
  return writer.finish();
}

Bytes encode_import_refused(OperationStatus status) {
  ByteWriter writer(OperationHeader::size);
  write_operation(writer, operation::reply_import, status);
  return writer.finish();
}

Result<OperationHeader> decode_operation_header(ByteView bytes) {
  ByteReader reader(bytes);
  OperationHeader header;
  header.version = reader.u16be();
  header.code = reader.u16be();
  header.status = reader.u32be();
  if (!reader.finished()) return fail(ErrorCode::malformed, "USB/IP: an operation of a wrong size");
  return header;
}

Result<std::string> decode_busid(ByteView bytes) {
  ByteReader reader(bytes);
  std::string busid = read_text(reader, busid_size);
  if (!reader.finished()) return fail(ErrorCode::malformed, "USB/IP: a busid without an end");
  return busid;
}

Result<DeviceRecord> decode_device_record(ByteView bytes) {
  ByteReader reader(bytes);
  DeviceRecord record;
  record.path = read_text(reader, path_size);
  record.busid = read_text(reader, busid_size);
  record.bus_number = reader.u32be();
  record.device_number = reader.u32be();
  record.speed = reader.u32be();
  record.vendor_id = reader.u16be();
  record.product_id = reader.u16be();
  record.device_version = reader.u16be();
  record.device_class = reader.u8();
  record.device_subclass = reader.u8();
  record.device_protocol = reader.u8();
  record.configuration_value = reader.u8();
  record.configuration_count = reader.u8();
  record.interface_count = reader.u8();
  if (!reader.finished()) return fail(ErrorCode::malformed, "USB/IP: a malformed device record");
  return record;
}

DeviceRecord to_record(const usb::DeviceDescription& device) {
  DeviceRecord record;
  record.path = device.path;
  record.busid = device.path;
  record.bus_number = bus_number_of(device.path);
  record.device_number = 1;
  record.speed = static_cast<std::uint32_t>(device.speed);
  record.vendor_id = device.device.vendor_id;
  record.product_id = device.device.product_id;
  record.device_version = device.device.device_version;
  record.device_class = device.device.device_class;
  record.device_subclass = device.device.device_subclass;
  record.device_protocol = device.device.device_protocol;
  record.configuration_value = device.active_configuration;
  record.configuration_count = device.device.configuration_count;
  record.interface_count = static_cast<std::uint8_t>(interfaces_of(device).size());
  return record;
}

usb::DeviceDescription to_description(const DeviceRecord& record) {
  usb::DeviceDescription device;
  if (record.speed <= static_cast<std::uint32_t>(usb::Speed::super_plus)) {
    device.speed = static_cast<usb::Speed>(record.speed);
  }
  device.device.vendor_id = record.vendor_id;
  device.device.product_id = record.product_id;
  device.device.device_version = record.device_version;
  device.device.device_class = record.device_class;
  device.device.device_subclass = record.device_subclass;
  device.device.device_protocol = record.device_protocol;
  device.device.configuration_count = record.configuration_count;
  device.active_configuration = record.configuration_value;
  device.path = record.busid;
  return device;
}

Bytes encode(const CmdSubmit& command) {
  ByteWriter writer(command_size);
  write_command_header(writer, cmd_submit, command.sequence);
  writer.u32be(command.device_id);
  writer.u32be(command.in ? direction_in : direction_out);
  writer.u32be(command.endpoint);
  writer.u32be(command.flags);
  writer.u32be(command.length);
  writer.u32be(command.start_frame);
  writer.u32be(command.packet_count);
  writer.u32be(command.interval);
  writer.u8(command.setup.request_type);
  writer.u8(command.setup.request);
  writer.u16le(command.setup.value);
  writer.u16le(command.setup.index);
  writer.u16le(command.setup.length);
  return writer.finish();
}

Bytes encode(const CmdUnlink& command) {
  ByteWriter writer(command_size);
  write_command_header(writer, cmd_unlink, command.sequence);
  writer.u32be(command.device_id);
  writer.zeros(8);  // direction, endpoint
  writer.u32be(command.unlinked_sequence);
  writer.zeros(24);
  return writer.finish();
}

Bytes encode(const RetSubmit& command) {
  ByteWriter writer = reply(ret_submit, command.sequence);
  writer.u32be(static_cast<std::uint32_t>(command.status));
  writer.u32be(command.actual_length);
  writer.u32be(command.start_frame);
  writer.u32be(command.packet_count);
  writer.u32be(command.error_count);
  writer.zeros(8);  // where CMD_SUBMIT has the setup bytes
  return writer.finish();
}

Bytes encode(const RetUnlink& command) {
  ByteWriter writer = reply(ret_unlink, command.sequence);
  writer.u32be(static_cast<std::uint32_t>(command.status));
  writer.zeros(24);
  return writer.finish();
}

Result<Command> decode_command(ByteView bytes) {
  if (bytes.size() != command_size)
    return malformed("a command of the size", static_cast<std::uint32_t>(bytes.size()));
  ByteReader reader(bytes);
  const std::uint32_t code = reader.u32be();
  const std::uint32_t sequence = reader.u32be();
  const std::uint32_t device_id = reader.u32be();
  const std::uint32_t direction = reader.u32be();
  const std::uint32_t endpoint = reader.u32be();
  switch (code) {
    case cmd_submit: {
      if (direction != direction_in && direction != direction_out) {
        return malformed("a CMD_SUBMIT of direction", direction);
      }
      CmdSubmit command;
      command.sequence = sequence;
      command.device_id = device_id;
      command.in = direction == direction_in;
      command.endpoint = endpoint;
      command.flags = reader.u32be();
      command.length = reader.u32be();
      command.start_frame = reader.u32be();
      command.packet_count = reader.u32be();
      command.interval = reader.u32be();
      command.setup.request_type = reader.u8();
      command.setup.request = reader.u8();
      command.setup.value = reader.u16le();
      command.setup.index = reader.u16le();
      command.setup.length = reader.u16le();
      return Command(command);
    }
    case cmd_unlink:
      return Command(CmdUnlink{sequence, device_id, reader.u32be()});
    case ret_submit: {
      RetSubmit command;
      command.sequence = sequence;
      command.status = static_cast<std::int32_t>(reader.u32be());
      command.actual_length = reader.u32be();
      command.start_frame = reader.u32be();
      command.packet_count = reader.u32be();
      command.error_count = reader.u32be();
      return Command(command);
    }
    case ret_unlink:
      return Command(RetUnlink{sequence, static_cast<std::int32_t>(reader.u32be())});
    default:
      return malformed("an unknown command", code);
  }
}

Bytes encode_packets(const std::vector<usb::IsochronousPacket>& packets) {
  ByteWriter writer(packets.size() * packet_size);
  for (const auto& packet : packets) {
    writer.u32be(packet.offset);
    writer.u32be(packet.length);
    writer.u32be(packet.actual_length);
    writer.u32be(static_cast<std::uint32_t>(packet.status));
  }
  return writer.finish();
}

Result<std::vector<usb::IsochronousPacket>> decode_packets(ByteView bytes) {
  if (bytes.size() % packet_size != 0 || bytes.size() / packet_size > limits::isochronous_packets) {
    return fail(ErrorCode::malformed, "USB/IP: isochronous descriptors of a wrong size");
  }
  ByteReader reader(bytes);
  std::vector<usb::IsochronousPacket> packets(bytes.size() / packet_size);
  for (auto& packet : packets) {
    packet.offset = reader.u32be();
    packet.length = reader.u32be();
    packet.actual_length = reader.u32be();
    packet.status = static_cast<std::int32_t>(reader.u32be());
  }
  return packets;
}

}  // namespace tillbridge::usbip
