// Microsoft's cases about requests to the device as such: 8 and 13 to 17.
#include <algorithm>

#include "server/terminal/conformance/cases.hpp"
#include "server/terminal/conformance/requests.hpp"

namespace tillbridge::terminal::conformance::microsoft {

namespace {

constexpr std::uint16_t english = 0x409;

/// Another request ends while one that was sent before it is still running.
void end_out_of_order(Server& server) {
  server.step("two requests at once");
  const auto pipe = silent_pipe(configure(server));
  if (!pipe) return;
  const std::uint32_t read = start_read(server, *pipe, pipe->endpoint.max_packet_size);
  const Bytes device =
      get_descriptor(server, usb::descriptor_type::device, 0, 0, usb::DeviceDescriptor::size);
  server.expect(device.size() == usb::DeviceDescriptor::size,
                "expected the device descriptor's 18 bytes, got " + std::to_string(device.size()));
  server.expect(server.outstanding(read), "expected that the read is still pending");
  server.cancel(read);
  expect_cancelled(server, server.completion_of(read), "CANCEL_REQUEST");
}

}  // namespace

void transfer_in(Server& server) {
  server.bring_up();
  const std::uint32_t request = server.next_id();
  const auto ask = [&](std::uint32_t size) {
    server.transfer_in(request, urb_function::get_descriptor_from_device,
                       pdu::DescriptorRequest{1, usb::descriptor_type::string, english}, size);
    return server.completion_of(request);
  };
  const Ended head = ask(4);
  if (expect_data(server, head, "GET_DESCRIPTOR string 1, 4 bytes", 4)) {
    const std::uint8_t length = head.data[0];
    const Ended whole = ask(length);  // the same RequestId, right after its completion
    expect_data(server, whole, "GET_DESCRIPTOR string 1, whole", length);
    server.expect(whole.data.size() >= 4 && usb::parse_string_descriptor(whole.data).ok() &&
                      std::equal(head.data.begin(), head.data.end(), whole.data.begin()),
                  "expected a string descriptor that begins as its first 4 bytes did");
  }
  end_out_of_order(server);
  server.retract();
}

void get_current_frame_number(Server& server) {
  server.bring_up();
  const std::uint32_t before = frame_number(server);
  const Ended bus_time = ask_io_control(server, pdu::io_control_code::query_bus_time, 4, true);
  const std::uint32_t after = frame_number(server);
  server.expect(after - before < 0x80000000U,
                "expected a FrameNumber that does not run backwards, got " + std::to_string(after) +
                    " after " + std::to_string(before));
  if (expect_data(server, bus_time, "QUERY_BUS_TIME", 4)) {
    const std::uint32_t between = ByteReader(bus_time.data).u32le();
    server.expect(between - before <= after - before,
                  "expected that QUERY_BUS_TIME uses the same clock, got " +
                      std::to_string(between) + " between the FrameNumbers " +
                      std::to_string(before) + " and " + std::to_string(after));
  }
  server.retract();
}

/// The suite drops the direction bit of endpoints, so it asks for endpoints that may not exist.
void get_status(Server& server) {
  server.bring_up();
  const Selection selection = configure(server);
  const auto ask = [&](std::uint16_t function, std::uint16_t index) {
    return ask_in(server, function,
                  pdu::StatusRequest{index, static_cast<std::uint16_t>(server.noise())}, 2);
  };
  expect_data(server, ask(urb_function::get_status_from_device, 0), "GET_STATUS of the device", 2);
  for (const auto& interface : selection.interfaces) {
    expect_data(server, ask(urb_function::get_status_from_interface, interface.interface_number),
                "GET_STATUS of interface " + std::to_string(interface.interface_number), 2);
  }
  for (const Pipe& pipe : selection.pipes) {
    const std::uint8_t address = pipe.endpoint.address;
    const std::string what = "GET_STATUS of endpoint " + pdu::hex_text(address, 2);
    expect_data(server, ask(urb_function::get_status_from_endpoint, address), what, 2);
    const Ended without = ask(urb_function::get_status_from_endpoint, address & 0x0FU);
    if (succeeded_or_refused(server, without, what + " without its direction")) {
      expect_data(server, without, what + " without its direction", 2);
    }
  }
  server.retract();
}

void get_configuration(Server& server) {
  server.bring_up();
  const auto ask = [&](const std::string& when) -> std::uint8_t {
    const Ended ended = ask_in(server, urb_function::get_configuration, pdu::NoParameters{}, 1);
    return expect_data(server, ended, "GET_CONFIGURATION " + when, 1) ? ended.data[0] : 0;
  };
  static_cast<void>(ask("before SELECT_CONFIGURATION"));
  const Selection selection = configure(server);
  const std::uint8_t value = ask("after SELECT_CONFIGURATION");
  server.expect(value == selection.configuration.value,
                "expected the configuration that was selected, " +
                    std::to_string(selection.configuration.value) + ", got " +
                    std::to_string(value));
  server.retract();
}

void get_interface(Server& server) {
  server.bring_up();
  const auto ask = [&](std::uint16_t interface) {
    return ask_in(server, urb_function::get_interface,
                  pdu::GetInterfaceRequest{interface, static_cast<std::uint16_t>(server.noise())},
                  1);
  };
  // A device that is not configured yet has no interfaces (USB 2.0, 9.4.4).
  const Ended unselected = ask(0);
  if (succeeded_or_refused(server, unselected, "GET_INTERFACE")) {
    expect_data(server, unselected, "GET_INTERFACE", 1);
  }
  Selection selection = configure(server);
  for (const auto& interface : selection.interfaces) {
    const std::string what = "GET_INTERFACE " + std::to_string(interface.interface_number);
    expect_data(server, ask(interface.interface_number), what, 1);
  }
  server.retract();
}

/// What a device says to these is its own affair; most have no such descriptors.
void os_feature_descriptor(Server& server) {
  server.bring_up();
  const std::uint32_t request = server.next_id();
  for (const std::uint8_t recipient : {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{2}}) {
    for (const std::uint16_t feature : {std::uint16_t{0}, std::uint16_t{4}, std::uint16_t{5}}) {
      pdu::OsFeatureDescriptorRequest body;
      body.recipient = recipient;
      body.padding1 = static_cast<std::uint8_t>(server.noise() & 7U);
      body.feature_descriptor_index = feature;
      for (auto& byte : body.padding2) byte = static_cast<std::uint8_t>(server.noise());
      server.transfer_in(request, urb_function::get_ms_feature_descriptor, body, 1024);
      succeeded_or_refused(server, server.completion_of(request),
                           "OS_FEATURE_DESCRIPTOR recipient " + std::to_string(recipient));
    }
  }
  // Devices are known that hang after a request they do not know.
  static_cast<void>(
      get_descriptor(server, usb::descriptor_type::device, 0, 0, usb::DeviceDescriptor::size));
  server.retract();
}

}  // namespace tillbridge::terminal::conformance::microsoft
