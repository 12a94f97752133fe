#include "server/simulator/serial_device.hpp"

#include <algorithm>
#include <utility>

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
      SerialDevice::data_interface,  // call management: none
      4,
      0x24,
      0x02,
      0x02,  // ACM: line coding and line state
      5,
      0x24,
      0x06,
      SerialDevice::communication_interface,
      SerialDevice::data_interface,  // union
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
  communication.number = SerialDevice::communication_interface;
  communication.interface_class = usb::class_code::cdc;
  communication.interface_subclass = 0x02;  // Abstract Control Model
  communication.interface_protocol =
      0x01;  // AT commands, what operating systems bind their driver to
  communication.class_descriptors = functional_descriptors();
  communication.endpoints = {
      {SerialDevice::notification_endpoint, interrupt, notification_packet, interval}};

  InterfaceBlueprint data;
  data.number = SerialDevice::data_interface;
  data.interface_class = usb::class_code::cdc_data;
  data.endpoints = {{SerialDevice::data_in_endpoint, bulk, 0, 0},
                    {SerialDevice::data_out_endpoint, bulk, 0, 0}};
  blueprint.interfaces = {std::move(communication), std::move(data)};
  return blueprint;
}

}  // namespace

SerialDevice::SerialDevice(const SerialOptions& options, std::shared_ptr<Bench> bench)
    : EndpointDevice(blueprint_of(options), options.delay, std::move(bench)),
      needs_terminal_ready_(options.needs_terminal_ready),
      line_coding_(default_line_coding()) {}

void SerialDevice::send(Bytes piece, Instant ready_at) {
  if (piece.empty()) return;
  if (!output_.empty()) ready_at = std::max(ready_at, output_.back().ready_at);
  output_bytes_ += piece.size();
  output_.push_back({ready_at, std::move(piece)});
}

void SerialDevice::postpone(Instant ready_at) {
  if (!output_.empty()) output_.front().ready_at = std::max(output_.front().ready_at, ready_at);
}

void SerialDevice::append(ByteView bytes) {
  if (output_.empty()) {
    send(Bytes(bytes.begin(), bytes.end()), now());
    return;
  }
  Bytes& last = output_.back().bytes;
  last.insert(last.end(), bytes.begin(), bytes.end());
  output_bytes_ += bytes.size();
}

std::optional<Instant> SerialDevice::next_event() const {
  std::optional<Instant> event = next_step();
  if (!output_.empty() && output_.front().ready_at > now()) {
    event = event ? std::min(*event, output_.front().ready_at) : output_.front().ready_at;
  }
  return event;
}

void SerialDevice::happen() {
  // Output that got ready needs nothing: ready() sees it.
  if (const auto due = next_step(); due && *due <= now()) step();
}

ControlAnswer SerialDevice::class_request(const usb::SetupPacket& setup, ByteView data) {
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
    if (terminal_ready != terminal_ready_) {
      state_changed_ = true;
      terminal_ready_ = terminal_ready;
      line_changed(terminal_ready);
    }
    return ControlAnswer::accept();
  }
  return ControlAnswer::refuse();
}

bool SerialDevice::ready(std::uint8_t endpoint) const {
  switch (endpoint) {
    case data_in_endpoint:
      return !output_.empty() && output_.front().ready_at <= now();
    case data_out_endpoint:
      return !line_open() || input_room() > 0;
    default:
      return state_changed_;
  }
}

std::optional<Ending> SerialDevice::serve(PendingTransfer& pending) {
  const usb::Transfer& transfer = pending.transfer;
  if (transfer.endpoint == data_out_endpoint) return take(pending);
  if (transfer.endpoint == data_in_endpoint) return send_piece(transfer.length);
  return send_notification(transfer.length);
}

std::optional<Ending> SerialDevice::take(PendingTransfer& pending) {
  const auto size = static_cast<std::uint32_t>(pending.rest().size());
  if (!line_open()) return Ending{TransferStatus::success, size, {}};
  // What is received may make room for more.
  for (ByteView rest = pending.rest(); !rest.empty() && input_room() > 0; rest = pending.rest()) {
    const ByteView part = rest.first(std::min(rest.size(), input_room()));
    pending.progress += static_cast<std::uint32_t>(part.size());
    receive(part);
  }
  if (pending.rest().empty()) return Ending{};
  return std::nullopt;
}

std::optional<Ending> SerialDevice::send_piece(std::uint32_t room) {
  if (!std::exchange(output_.front().begun, true)) {
    piece_begun();
    // A fault may have changed everything.
    if (control().halted(data_in_endpoint)) return Ending{TransferStatus::stall, 0, {}};
    if (dead() || !ready(data_in_endpoint)) return std::nullopt;
  }
  Piece& piece = output_.front();
  const ByteView rest = ByteView(piece.bytes).subspan(piece.read);
  Ending ending;
  std::size_t size = std::min<std::size_t>(rest.size(), room);
  const std::uint32_t packet = packet_size(data_in_endpoint);
  if (rest.size() > room && room % packet != 0) {
    size = room - room % packet;  // the next packet is a full one and does not fit
    ending.status = TransferStatus::overflow;
  }
  const ByteView part = rest.first(size);
  ending.data.assign(part.begin(), part.end());
  piece.read += size;
  output_bytes_ -= size;
  if (piece.read == piece.bytes.size()) {
    output_.pop_front();
    piece_read();
  }
  return ending;
}

Ending SerialDevice::send_notification(std::uint32_t room) {
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

void SerialDevice::restarted(bool bus_reset) {
  line_coding_ = default_line_coding();
  terminal_ready_ = state_changed_ = false;
  drop_output();
  line_restarted(bus_reset);
}

}  // namespace tillbridge::simulator
