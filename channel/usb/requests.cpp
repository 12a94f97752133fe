#include "channel/usb/requests.hpp"

#include <utility>

#include "channel/bytes/limits.hpp"

namespace tillbridge::usb {

namespace {

// bmRequestType (USB 2.0, table 9-2): direction bit 7, type bits 5-6, recipient bits 0-4.
constexpr std::uint8_t in_standard_device = 0x80;
constexpr std::uint8_t out_standard_device = 0x00;
constexpr std::uint8_t out_standard_interface = 0x01;
constexpr std::uint8_t out_standard_endpoint = 0x02;
constexpr std::uint8_t out_class_interface = 0x21;
constexpr std::uint8_t out_class_other = 0x23;  // a hub's port

/// bRequest of the Bulk-Only Mass Storage Reset (BOT 3.1).
constexpr std::uint8_t bulk_only_mass_storage_reset = 0xFF;

constexpr std::uint8_t low_byte(std::uint16_t value) {
  return static_cast<std::uint8_t>(value & 0xFFU);
}

}  // namespace

SetupPacket get_descriptor(std::uint8_t type, std::uint8_t index, std::uint16_t language,
                           std::uint16_t length) {
  return {in_standard_device, request::get_descriptor,
          static_cast<std::uint16_t>((static_cast<unsigned>(type) << 8U) | index), language,
          length};
}

SetupPacket set_configuration(std::uint8_t value) {
  return {out_standard_device, request::set_configuration, value, 0, 0};
}

SetupPacket set_interface(std::uint8_t interface_number, std::uint8_t alternate_setting) {
  return {out_standard_interface, request::set_interface, alternate_setting, interface_number, 0};
}

SetupPacket clear_halt(std::uint8_t endpoint_address) {
  return {out_standard_endpoint, request::clear_feature, feature_endpoint_halt, endpoint_address,
          0};
}

SetupPacket port_reset() {
  return {out_class_other, request::set_feature, feature_port_reset, 0, 0};
}

SetupPacket bulk_only_reset(std::uint8_t interface_number) {
  return {out_class_interface, bulk_only_mass_storage_reset, 0, interface_number, 0};
}

std::optional<HostRequest> as_host_request(const SetupPacket& setup) {
  if (setup.request_type == out_standard_device && setup.request == request::set_configuration) {
    return SetConfiguration{low_byte(setup.value)};  // the high byte is reserved (9.4.7)
  }
  if (setup.request_type == out_standard_interface && setup.request == request::set_interface) {
    return SetInterface{low_byte(setup.index), low_byte(setup.value)};
  }
  if (setup.request_type == out_standard_endpoint && setup.request == request::clear_feature &&
      setup.value == feature_endpoint_halt) {
    return ClearHalt{low_byte(setup.index)};
  }
  if (setup.request_type == out_class_other && setup.request == request::set_feature &&
      setup.value == feature_port_reset) {
    return PortReset{};
  }
  return std::nullopt;
}

Transfer control_transfer(TransferId id, const SetupPacket& setup, Bytes data) {
  Transfer transfer;
  transfer.id = id;
  transfer.type = TransferType::control;
  transfer.setup = setup;
  if (setup.in()) {
    transfer.endpoint = 0x80;
    transfer.length = setup.length;
  } else {
    // The data stage is what is really there: wLength follows it, so the two cannot disagree.
    if (data.size() > limits::control_transfer_bytes) data.resize(limits::control_transfer_bytes);
    transfer.setup.length = static_cast<std::uint16_t>(data.size());
    transfer.length = transfer.setup.length;
    transfer.data = std::move(data);
  }
  return transfer;
}

}  // namespace tillbridge::usb
