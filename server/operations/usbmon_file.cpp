#include "server/operations/usbmon_file.hpp"

#include <algorithm>
#include <array>

#include "channel/bytes/writer.hpp"
#include "channel/usbip/status.hpp"
#include "server/operations/limits.hpp"

namespace tillbridge::operations {

namespace {

// pcapng (draft-ietf-opsawg-pcapng).
constexpr std::uint32_t section_header_block = 0x0A0D0D0A, byte_order_magic = 0x1A2B3C4D,
                        interface_block = 1, statistics_block = 5, packet_block = 6;
constexpr std::uint16_t option_end = 0, option_comment = 1, section_application = 4,
                        interface_name = 2, interface_description = 3, interface_time_unit = 9,
                        statistics_received = 4, statistics_dropped = 5;
constexpr std::uint16_t linktype_usb_linux_mmapped = 220;

// usbmon's binary header (Documentation/usb/usbmon.rst): 64 bytes.
constexpr std::size_t usbmon_header = 64;
constexpr std::uint16_t bus = 1;
constexpr std::uint8_t device_address = 2;
constexpr std::uint32_t urb_dir_in = 0x0200;
constexpr std::uint8_t type_submission = 'S', type_completion = 'C';
// Of usbmon: why there is no data. Ours is none of the kernel's, and means that it was left out.
constexpr std::uint8_t data_present = 0, data_comes = '<', data_went = '>', data_left_out = '-';

constexpr std::size_t command_block_bytes = 31, status_block_bytes = 13;
constexpr std::uint8_t bulk_only_protocol = 0x50;

std::uint8_t usbmon_type(usb::TransferType type) {
  switch (type) {
    case usb::TransferType::isochronous:
      return 0;
    case usb::TransferType::interrupt:
      return 1;
    case usb::TransferType::control:
      return 2;
    case usb::TransferType::bulk:
      break;
  }
  return 3;
}

std::size_t padding(std::size_t size) {
  return (4 - size % 4) % 4;
}

void option(ByteWriter& out, std::uint16_t code, ByteView value) {
  out.u16le(code);
  out.u16le(static_cast<std::uint16_t>(value.size()));
  out.bytes(value);
  out.zeros(padding(value.size()));
}

void option(ByteWriter& out, std::uint16_t code, const std::string& text) {
  const Bytes bytes(text.begin(), text.end());
  option(out, code, ByteView(bytes));
}

void option(ByteWriter& out, std::uint16_t code, std::uint64_t number) {
  out.u16le(code);
  out.u16le(8);
  out.u64le(number);
}

/// Its length stands at both ends.
Bytes block(std::uint32_t type, ByteWriter& body) {
  const auto length = static_cast<std::uint32_t>(body.size() + 12);
  ByteWriter out(length);
  out.u32le(type);
  out.u32le(length);
  out.bytes(body.view());
  out.u32le(length);
  return out.finish();
}

void time_stamp(ByteWriter& out, std::uint64_t time) {
  out.u32le(static_cast<std::uint32_t>(time >> 32U));
  out.u32le(static_cast<std::uint32_t>(time));
}

bool begins_with(ByteView data, const char* signature) {
  return data.size() >= 4 && std::equal(data.begin(), data.begin() + 4, signature,
                                        [](std::uint8_t byte, char character) {
                                          return byte == static_cast<std::uint8_t>(character);
                                        });
}

}  // namespace

/// One record of usbmon.
struct UsbmonFile::Event {
  std::uint8_t kind = type_submission;
  const Running& transfer;
  const usb::SetupPacket* setup = nullptr;  ///< with a control transfer's submission
  std::int32_t status = 0;
  std::uint32_t length = 0;  ///< of the transfer's buffer, or what was moved
  std::uint8_t data_flag = data_present;
  ByteView data{};
  std::uint32_t flags = 0;
  const std::vector<usb::IsochronousPacket>* packets = nullptr;
};

Bytes UsbmonFile::begin() const {
  ByteWriter section;
  section.u32le(byte_order_magic);
  section.u16le(1);
  section.u16le(0);
  section.u64le(UINT64_MAX);  // its length is not known yet
  option(section, section_application, settings_.software);
  option(section, option_end, std::string());
  Bytes file = block(section_header_block, section);

  ByteWriter interface;
  interface.u16le(linktype_usb_linux_mmapped);
  interface.u16le(0);
  interface.u32le(0);  // no packet is longer than ...: not said
  option(interface, interface_name, settings_.stick);
  option(interface, interface_description,
         std::string(settings_.payloads ? "with" : "without") + " payloads");
  const std::array<std::uint8_t, 1> microseconds{6};
  option(interface, interface_time_unit, ByteView(microseconds));
  option(interface, option_end, std::string());
  const Bytes second = block(interface_block, interface);
  file.insert(file.end(), second.begin(), second.end());
  return file;
}

Bytes UsbmonFile::packet(const Event& event, Microseconds time, const std::string& comment) {
  const std::size_t captured = std::min(event.data.size(), limits::capture_payload_bytes);
  const std::size_t packets = event.packets == nullptr ? 0 : event.packets->size();
  const std::size_t descriptors = packets * 16;
  const std::size_t size = usbmon_header + descriptors + captured;
  ByteWriter out(size + 64);
  out.u32le(0);  // the interface
  time_stamp(out, time);
  out.u32le(static_cast<std::uint32_t>(size));
  out.u32le(static_cast<std::uint32_t>(usbmon_header + descriptors + event.data.size()));

  out.u64le(event.transfer.number);
  out.u8(event.kind);
  out.u8(usbmon_type(event.transfer.type));
  out.u8(event.transfer.endpoint);
  out.u8(device_address);
  out.u16le(bus);
  out.u8(event.setup == nullptr ? '-' : 0);
  out.u8(event.data_flag);
  out.u64le(time / 1'000'000);
  out.u32le(static_cast<std::uint32_t>(time % 1'000'000));
  out.u32le(static_cast<std::uint32_t>(event.status));
  out.u32le(event.length);
  out.u32le(static_cast<std::uint32_t>(descriptors + captured));
  if (event.setup != nullptr) {
    out.u8(event.setup->request_type);
    out.u8(event.setup->request);
    out.u16le(event.setup->value);
    out.u16le(event.setup->index);
    out.u16le(event.setup->length);
  } else {
    out.u32le(0);
    out.u32le(static_cast<std::uint32_t>(packets));
  }
  out.u32le(event.transfer.interval);
  out.u32le(0);  // start frame
  out.u32le(event.flags);
  out.u32le(static_cast<std::uint32_t>(packets));
  for (std::size_t index = 0; index < packets; ++index) {
    const usb::IsochronousPacket& one = (*event.packets)[index];
    out.u32le(static_cast<std::uint32_t>(one.status));
    out.u32le(one.offset);
    out.u32le(event.kind == type_completion ? one.actual_length : one.length);
    out.u32le(0);
  }
  out.bytes(event.data.first(captured));
  out.zeros(padding(size));
  if (!comment.empty()) {
    option(out, option_comment, comment);
    option(out, option_end, std::string());
  }
  return block(packet_block, out);
}

Bytes UsbmonFile::describe(const usb::DeviceDescription& device, Microseconds time) {
  Bytes file;
  const auto asked = [&](std::uint16_t value, const Bytes& answer) {
    const Running transfer{next_number_++, usb::TransferType::control, 0x80, true, 0};
    const usb::SetupPacket setup{0x80, 6, value, 0, static_cast<std::uint16_t>(answer.size())};
    const std::string comment =
        "no traffic: what the server knows of the stick, written when the capture began";
    const auto append = [&](const Event& event) {
      const Bytes bytes = packet(event, time, comment);
      file.insert(file.end(), bytes.begin(), bytes.end());
    };
    append({type_submission, transfer, &setup, -115, setup.length, data_comes, {}, urb_dir_in});
    append({type_completion, transfer, nullptr, 0, setup.length, data_present, ByteView(answer),
            urb_dir_in});
  };
  asked(usb::descriptor_type::device << 8U, usb::encode(device.device));
  bulk_only_.clear();
  std::uint16_t index = 0;
  for (const usb::Configuration& configuration : device.configurations) {
    asked(static_cast<std::uint16_t>((usb::descriptor_type::configuration << 8U) | index++),
          configuration.raw);
    for (const usb::InterfaceDescriptor& interface : configuration.interfaces) {
      if (interface.interface_class != usb::class_code::mass_storage ||
          interface.interface_protocol != bulk_only_protocol) {
        continue;
      }
      for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
        if (endpoint.type() == usb::TransferType::bulk) bulk_only_.insert(endpoint.address);
      }
    }
  }
  return file;
}

// A block of the class driver is known by its size and signature, on an endpoint where such blocks
// go. Sectors, which are all that follows there, are no 31 and no 13 bytes long.
bool UsbmonFile::shown(const Running& transfer, ByteView data, bool command) const {
  if (settings_.payloads || transfer.descriptor) return true;
  if (transfer.type != usb::TransferType::bulk || !bulk_only_.contains(transfer.endpoint)) {
    return false;
  }
  return command ? data.size() == command_block_bytes && begins_with(data, "USBC")
                 : data.size() == status_block_bytes && begins_with(data, "USBS");
}

Bytes UsbmonFile::submitted(const usb::Transfer& transfer, Microseconds time) {
  const bool control = transfer.type == usb::TransferType::control;
  const bool descriptor = control && transfer.setup.in() && transfer.setup.request == 6 &&
                          (transfer.setup.request_type & 0x60U) == 0;
  const Running running{next_number_++, transfer.type, transfer.endpoint, descriptor,
                        transfer.interval};
  if (running_.size() < limits::capture_running) running_[transfer.id] = running;
  Event event{type_submission, running, control ? &transfer.setup : nullptr, -115, transfer.length};
  event.packets = transfer.packets.empty() ? nullptr : &transfer.packets;
  if (transfer.in()) {
    event.data_flag = data_comes;
    event.flags = urb_dir_in;
  } else if (!transfer.data.empty()) {
    if (shown(running, transfer.data, true)) {
      event.data = transfer.data;
    } else {
      event.data_flag = data_left_out;
    }
  }
  return packet(event, time);
}

Bytes UsbmonFile::completed(const usb::Completion& completion, Microseconds time) {
  const auto found = running_.find(completion.id);
  if (found == running_.end()) return {};
  const Running running = found->second;
  running_.erase(found);
  Event event{type_completion, running, nullptr, usbip::to_wire(completion.status),
              completion.actual_length};
  event.packets = completion.packets.empty() ? nullptr : &completion.packets;
  if ((running.endpoint & 0x80U) == 0) {
    event.data_flag = data_went;
  } else {
    event.flags = urb_dir_in;
    if (completion.data.empty() || shown(running, completion.data, false)) {
      event.data = completion.data;
    } else {
      event.data_flag = data_left_out;
    }
  }
  return packet(event, time);
}

Bytes UsbmonFile::end(Microseconds time, std::uint64_t received, std::uint64_t dropped) {
  ByteWriter body;
  body.u32le(0);
  time_stamp(body, time);
  option(body, statistics_received, received);
  option(body, statistics_dropped, dropped);
  option(body, option_end, std::string());
  return block(statistics_block, body);
}

}  // namespace tillbridge::operations
