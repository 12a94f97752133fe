#include "channel/rdpeusb/till_role_io_control.hpp"

#include <chrono>
#include <string_view>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "channel/rdpeusb/pdu/status.hpp"

namespace tillbridge::rdpeusb::till {

namespace {

/// Symbolic name of the host controller that the stick seems to hang on. Only ever shown.
constexpr std::string_view controller_name = "HCD0";

/// USBD_PORT_ENABLED and USBD_PORT_CONNECTED (usbioctl.h); not a hub's wPortStatus, which has them
/// the other way round.
constexpr std::uint32_t port_enabled_and_connected = 3;
/// NotificationType AcquireBusInfo of USB_BUS_NOTIFICATION.
constexpr std::uint32_t acquire_bus_info = 5;

Bytes u32(std::uint32_t value) {
  ByteWriter out(4);
  out.u32le(value);
  return out.finish();
}

/// USB_HUB_NAME: ActualLength (of the whole structure) and a NUL-terminated UTF-16 name.
Bytes hub_name(std::string_view ascii) {
  ByteWriter out;
  out.u32le(static_cast<std::uint32_t>(4 + 2 * (ascii.size() + 1)));
  for (const char character : ascii) out.u16le(static_cast<std::uint8_t>(character));
  out.u16le(0);
  return out.finish();
}

/// USB_BUS_NOTIFICATION.
Bytes bus_information(const usb::DeviceDescription& device) {
  const bool slow = device.speed == usb::Speed::low || device.speed == usb::Speed::full;
  ByteWriter out(16);
  out.u32le(acquire_bus_info);
  out.u32le(slow ? 12'000'000U : 480'000'000U);  // TotalBandwidth, bit/s; we claim USB 2.0 at most
  out.u32le(0);                                  // ConsumedBandwidth
  out.u32le(2 * controller_name.size());         // ControllerNameLength, bytes without the NUL
  return out.finish();
}

IoControlAnswer failure(std::uint32_t hresult) {
  return {hresult, 0, {}};
}

}  // namespace

std::uint32_t frame_number(Instant now) noexcept {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(now).count() & 0xFFFFFFFF);
}

bool is_port_reset(const pdu::IoControl& request) noexcept {
  return !request.internal && (request.code == pdu::io_control_code::reset_port ||
                               request.code == pdu::io_control_code::cycle_port);
}

IoControlAnswer answer_io_control(const pdu::IoControl& request,
                                  const usb::DeviceDescription& device, Instant now) {
  namespace code = pdu::io_control_code;
  if (request.output_buffer_size > limits::rdpeusb_io_control_bytes) {
    return failure(pdu::hresult::out_of_memory);
  }

  Bytes payload;
  if (request.internal) {
    if (request.code != code::query_bus_time) return failure(pdu::hresult::not_supported);
    payload = u32(frame_number(now));
  } else if (request.code == code::get_port_status) {
    payload = u32(port_enabled_and_connected);
  } else if (request.code == code::get_hub_count) {
    payload = u32(1);  // the root hub
  } else if (request.code == code::get_hub_name) {
    payload = hub_name({});  // empty: the stick is no hub
  } else if (request.code == code::get_bus_info) {
    payload = bus_information(device);
  } else if (request.code == code::get_controller_name) {
    payload = hub_name(controller_name);
  } else {
    return failure(pdu::hresult::not_supported);
  }

  const auto needed = static_cast<std::uint32_t>(payload.size());
  if (needed > request.output_buffer_size) {
    // The one failure that carries a buffer: of the request's size, meaning nothing (2.8).
    return {pdu::hresult::insufficient_buffer, needed, Bytes(request.output_buffer_size)};
  }
  return {pdu::hresult::ok, needed, std::move(payload)};
}

}  // namespace tillbridge::rdpeusb::till
