#include "server/simulator/serial_echo.hpp"

#include <algorithm>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::simulator {
namespace {

using usb::TransferStatus;

/// PSTN 1.2, table 17: 115200 baud, 1 stop bit, no parity, 8 data bits.
constexpr std::size_t line_coding_bytes =
    4 /* dwDTERate */ + 1 /* bCharFormat */ + 1 /* bParityType */ + 1 /* bDataBits */;
Bytes default_line_coding() {
  return {0x00, 0xC2, 0x01, 0x00, 0, 0, 8};
}

/// CDC 1.2, 6.3: header, then UART state bits.
constexpr std::size_t notification_bytes = 1 /* bmRequestType */ + 1 /* bNotification */ +
                                           2 /* wValue */ + 2 /* wIndex */ + 2 /* wLength */ +
                                           2 /* state */;

/// Functional descriptors of the communication interface (CDC 1.2, 5.2.3; PSTN 1.2, 5.3).
Bytes functional_descriptors() {
  return {
      5,
      0x24,
      0x00,
      0x20,
      0x01,  // header: CDC 1.20
      5,
      0x24,
      0x01,
      0x00,
      SerialEcho::data_interface,  // call management: none
      4,
      0x24,
      0x02,
      0x02,  // ACM: line coding and line state
      5,
      0x24,
      0x06,
      SerialEcho::communication_interface,
      SerialEcho::data_interface,  // union
  };
}

DeviceBlueprint blueprint_of(const SerialOptions& options) {
  constexpr std::uint8_t bulk = 2, interrupt = 3;
  constexpr std::uint16_t notification_packet = 16;
  const std::uint8_t interval = options.speed == usb::Speed::high ? 9 : 32;  // 32 ms either way

  DeviceBlueprint blueprint;
  blueprint.speed = options.speed;
  blueprint.device_class = usb::class_code::cdc;
  blueprint.vendor_id = options.vendor_id;
  blueprint.product_id = options.product_id;
  blueprint.manufacturer = options.manufacturer;
  blueprint.product = options.product;
  blueprint.serial = options.serial;
  blueprint.path = options.path;

  InterfaceBlueprint communication;
  communication.number = SerialEcho::communication_interface;
  communication.interface_class = usb::class_code::cdc;
  communication.interface_subclass = 0x02;  // Abstract Control Model
  communication.interface_protocol =
      0x01;  // AT commands, what operating systems bind their driver to
  communication.class_descriptors = functional_descriptors();
  communication.endpoints = {
      {SerialEcho::notification_endpoint, interrupt, notification_packet, interval}};

  InterfaceBlueprint data;
  data.number = SerialEcho::data_interface;
  data.interface_class = usb::class_code::cdc_data;
  data.endpoints = {{SerialEcho::data_in_endpoint, bulk, 0, 0},
                    {SerialEcho::data_out_endpoint, bulk, 0, 0}};
  blueprint.interfaces = {std::move(communication), std::move(data)};
  return blueprint;
}

}  // namespace

SerialEcho::SerialEcho(const SerialOptions& options)
    : EndpointDevice(blueprint_of(options), options.delay), line_coding_(default_line_coding()) {}

ControlAnswer SerialEcho::class_request(const usb::SetupPacket& setup, ByteView data) {
  constexpr std::uint8_t class_interface_out = 0x21, class_interface_in = 0xA1;
  constexpr std::uint8_t set_line_coding = 0x20, get_line_coding = 0x21,
                         set_control_line_state = 0x22;
  if (setup.index != communication_interface || description().active_configuration == 0) {
    return ControlAnswer::refuse();
  }
  if (setup.request_type == class_interface_in && setup.request == get_line_coding) {
    return ControlAnswer::reply(line_coding_);
  }
  if (setup.request_type != class_interface_out) return ControlAnswer::refuse();
  if (setup.request == set_line_coding && data.size() == line_coding_bytes) {
    line_coding_.assign(data.begin(), data.end());
    return ControlAnswer::accept();
  }
  if (setup.request == set_control_line_state && setup.length == 0) {
    const bool terminal_ready = (setup.value & 1U) != 0;
    state_changed_ = state_changed_ || terminal_ready != terminal_ready_;
    terminal_ready_ = terminal_ready;
    return ControlAnswer::accept();
  }
  return ControlAnswer::refuse();
}

bool SerialEcho::ready(std::uint8_t endpoint) const {
  switch (endpoint) {
    case data_in_endpoint:
      return !buffer_.empty();
    case data_out_endpoint:
      return buffer_.size() < limits::simulated_serial_buffer_bytes;
    default:
      return state_changed_;
  }
}

std::optional<Ending> SerialEcho::serve(PendingTransfer& pending) {
  const usb::Transfer& transfer = pending.transfer;
  if (transfer.endpoint == data_out_endpoint) return take(pending);
  if (transfer.endpoint == data_in_endpoint) return send_buffered(transfer.length);
  return send_notification(transfer.length);
}

std::optional<Ending> SerialEcho::take(PendingTransfer& pending) {
  const ByteView rest = pending.rest();
  const auto size = static_cast<std::uint32_t>(rest.size());
  if (!terminal_ready_) return Ending{TransferStatus::success, size, {}};
  const auto taken = static_cast<std::uint32_t>(
      std::min(rest.size(), limits::simulated_serial_buffer_bytes - buffer_.size()));
  const ByteView part = rest.first(taken);
  buffer_.insert(buffer_.end(), part.begin(), part.end());
  if (taken == size) return Ending{TransferStatus::success, taken, {}};
  pending.progress += taken;
  return std::nullopt;
}

Ending SerialEcho::send_buffered(std::uint32_t room) {
  Ending ending;
  std::size_t size = std::min<std::size_t>(buffer_.size(), room);
  const std::uint32_t packet = packet_size(data_in_endpoint);
  if (buffer_.size() > room && room % packet != 0) {
    size = room - room % packet;  // the next packet is a full one and does not fit
    ending.status = TransferStatus::overflow;
  }
  const auto end = buffer_.begin() + static_cast<std::ptrdiff_t>(size);
  ending.data.assign(buffer_.begin(), end);
  buffer_.erase(buffer_.begin(), end);
  return ending;
}

Ending SerialEcho::send_notification(std::uint32_t room) {
  constexpr std::uint8_t notification_to_host = 0xA1, serial_state = 0x20;
  constexpr std::uint16_t carrier_and_ready = 0x0003;  // DCD and DSR follow the host's DTR
  if (room < notification_bytes) return {TransferStatus::overflow, 0, {}};
  state_changed_ = false;
  ByteWriter writer(notification_bytes);
  writer.u8(notification_to_host);
  writer.u8(serial_state);
  writer.u16le(0);
  writer.u16le(communication_interface);
  writer.u16le(2);
  writer.u16le(terminal_ready_ ? carrier_and_ready : std::uint16_t{0});
  return {TransferStatus::success, 0, writer.finish()};
}

void SerialEcho::restarted(bool /*bus_reset*/) {
  line_coding_ = default_line_coding();
  terminal_ready_ = state_changed_ = false;
  buffer_.clear();
}

void SerialEcho::halt_cleared(std::uint8_t /*endpoint*/) {}

}  // namespace tillbridge::simulator
