// Microsoft's cases about IO_CONTROL and INTERNAL_IO_CONTROL: 6, 7 and 18 to 23. What a platform
// cannot do it may refuse; what it answers has to have its size (rdpeusb.md 2.8, 2.13). The sizes
// that hold for all of them are checked with every completion.
#include "server/terminal/conformance/cases.hpp"
#include "server/terminal/conformance/requests.hpp"

namespace tillbridge::terminal::conformance::microsoft {

namespace {

namespace code = pdu::io_control_code;

std::uint32_t first_u32(const Ended& ended) {
  return ByteReader(ended.data).u32le();
}

/// A value of four bytes, or a refusal; never a part of it.
std::optional<std::uint32_t> ask_value(Server& server, std::uint32_t control) {
  const std::string what = pdu::io_control_text(control);
  const Ended cut = ask_io_control(server, control, 2);
  expect_too_small(server, cut, what + " with OutputBufferSize 2");
  const Ended ended = ask_io_control(server, control, 4);
  if (!succeeded_or_refused(server, ended, what)) return std::nullopt;
  if (!expect_data(server, ended, what, 4)) return std::nullopt;
  return first_u32(ended);
}

/// USB_HUB_NAME: ActualLength and a name, of which as much comes as there is room for.
void ask_name(Server& server, std::uint32_t control) {
  const std::string what = pdu::io_control_text(control);
  for (const std::uint32_t size : {256U, 4U, 0U}) {
    const Ended ended = ask_io_control(server, control, size);
    if (!ended.succeeded()) {
      server.expect(pdu::hresult::failed(ended.hresult),
                    what + ": expected success or a failure, got " + ended.text());
      continue;
    }
    server.expect(ended.size == 0 || ended.size >= 4,
                  what + ": expected at least ActualLength's four bytes, got " + ended.text());
  }
}

/// RESET_PORT and CYCLE_PORT: done or refused, never left unanswered.
void ask_action(Server& server, std::uint32_t control) {
  const std::string what = pdu::io_control_text(control);
  const Ended ended = ask_io_control(server, control, 0);
  if (succeeded_or_refused(server, ended, what)) expect_data(server, ended, what, 0);
}

}  // namespace

void io_control(Server& server) {
  server.bring_up();
  ask_name(server, code::get_hub_name);
  server.retract();
}

void internal_io_control(Server& server) {
  server.bring_up();
  const std::string what = "QUERY_BUS_TIME";
  const Ended ended = ask_io_control(server, code::query_bus_time, 4, true);
  if (expect_data(server, ended, what, 4)) {
    const Ended later = ask_io_control(server, code::query_bus_time, 4, true);
    expect_data(server, later, what, 4);
    const std::uint32_t passed = first_u32(later) - first_u32(ended);
    server.expect(passed < 0x80000000U, what +
                                            ": expected a clock that does not run backwards, got " +
                                            std::to_string(first_u32(later)) + " after " +
                                            std::to_string(first_u32(ended)));
  }
  expect_too_small(server, ask_io_control(server, code::query_bus_time, 2, true),
                   what + " with OutputBufferSize 2");
  server.retract();
}

void reset_port(Server& server) {
  server.bring_up();
  ask_action(server, code::reset_port);
  // The device is still there, and still the same channel's.
  static_cast<void>(
      get_descriptor(server, usb::descriptor_type::device, 0, 0, usb::DeviceDescriptor::size));
  server.retract();
}

void get_port_status(Server& server) {
  server.bring_up();
  constexpr std::uint32_t enabled_and_connected = 3;
  const auto status = ask_value(server, code::get_port_status);
  if (status) {
    server.expect((*status & enabled_and_connected) == enabled_and_connected,
                  "GET_PORT_STATUS: expected USBD_PORT_ENABLED and USBD_PORT_CONNECTED, got " +
                      pdu::hex_text(*status, 8));
  }
  server.retract();
}

void get_hub_count(Server& server) {
  server.bring_up();
  const auto count = ask_value(server, code::get_hub_count);
  if (count) {
    server.expect(*count >= 1, "GET_HUB_COUNT: expected at least the root hub, got 0");
  }
  server.retract();
}

/// The client may close the channel after its completion, as if the device had been pulled, and
/// announce it anew.
void cycle_port(Server& server) {
  server.bring_up();
  server.expect_replug();
  ask_action(server, code::cycle_port);
  server.retract();
}

void get_bus_info(Server& server) {
  server.bring_up();
  constexpr std::uint32_t size = 16;
  const std::string what = "GET_BUS_INFO";
  expect_too_small(server, ask_io_control(server, code::get_bus_info, size - 1),
                   what + " with OutputBufferSize 15");
  const Ended ended = ask_io_control(server, code::get_bus_info, size);
  if (succeeded_or_refused(server, ended, what) && expect_data(server, ended, what, size)) {
    ByteReader reader(ended.data);
    reader.skip(4);  // NotificationType
    const std::uint32_t bandwidth = reader.u32le(), consumed = reader.u32le();
    server.expect(bandwidth != 0 && consumed <= bandwidth,
                  what + ": expected a TotalBandwidth of at least ConsumedBandwidth, got " +
                      std::to_string(bandwidth) + " and " + std::to_string(consumed));
  }
  server.retract();
}

void get_controller_name(Server& server) {
  server.bring_up();
  ask_name(server, code::get_controller_name);
  server.retract();
}

}  // namespace tillbridge::terminal::conformance::microsoft
