// What Microsoft's suite lacks about single requests: the functions it never uses, and those that
// no client can carry out.
#include <functional>

#include "server/terminal/conformance/cases.hpp"
#include "server/terminal/conformance/requests.hpp"

namespace tillbridge::terminal::conformance::own {

void unconfigure(Server& server) {
  server.bring_up();
  Selection selection = configure(server);
  const std::vector<Pipe> old = selection.pipes;
  const Ended ended =
      ask_in(server, urb_function::select_configuration, pdu::SelectConfiguration{}, 0);
  const auto* result = std::get_if<pdu::SelectConfigurationResult>(&ended.body);
  if (expect_done(server, ended, "SELECT_CONFIGURATION without a descriptor")) {
    server.expect(
        result != nullptr && result->configuration_handle == 0 && result->interfaces.empty(),
        "expected ConfigurationHandle 0 and NumInterfaces 0");
  }
  const Ended value = ask_in(server, urb_function::get_configuration, pdu::NoParameters{}, 1);
  if (expect_data(server, value, "GET_CONFIGURATION", 1)) {
    server.expect(value.data[0] == 0,
                  "GET_CONFIGURATION: expected 0, got " + std::to_string(value.data[0]));
  }
  for (const Pipe& pipe : old) {
    expect_failed(server, ask_pipe(server, urb_function::sync_reset_pipe, pipe.handle),
                  "SYNC_RESET_PIPE of a device that is not configured");
  }
  select_again(server, selection);
  server.retract();
}

/// The three ways in which drivers bring a halted pipe back.
void stall_and_recovery(Server& server) {
  const Pipe pipe = bring_up_silent_pipe(server);
  const auto expect_recovered = [&] {
    const std::uint32_t read = start_read(server, pipe, pipe.endpoint.max_packet_size);
    server.expect_silence("a read of a pipe that is no longer halted");
    server.cancel(read);
    expect_cancelled(server, server.completion_of(read), "CANCEL_REQUEST");
  };
  const auto halt = [&] {
    expect_done(server,
                ask_in(server, urb_function::set_feature_to_endpoint,
                       pdu::FeatureRequest{0 /* ENDPOINT_HALT */, pipe.endpoint.address}, 0),
                "SET_FEATURE(ENDPOINT_HALT)");
    const Ended read =
        server.completion_of(start_read(server, pipe, pipe.endpoint.max_packet_size));
    expect_failed(server, read, "a read of the halted pipe");
  };
  server.step("SYNC_RESET_PIPE_AND_CLEAR_STALL");
  stall_and_reset(server, pipe);
  expect_recovered();

  server.step("SYNC_CLEAR_STALL and SYNC_RESET_PIPE");
  halt();
  expect_done(server, ask_pipe(server, urb_function::sync_clear_stall, pipe.handle),
              "SYNC_CLEAR_STALL");
  expect_done(server, ask_pipe(server, urb_function::sync_reset_pipe, pipe.handle),
              "SYNC_RESET_PIPE");
  expect_recovered();

  server.step("CLEAR_FEATURE and SYNC_RESET_PIPE");
  halt();
  expect_done(server,
              ask_in(server, urb_function::clear_feature_to_endpoint,
                     pdu::FeatureRequest{0 /* ENDPOINT_HALT */, pipe.endpoint.address}, 0),
              "CLEAR_FEATURE(ENDPOINT_HALT)");
  expect_done(server, ask_pipe(server, urb_function::sync_reset_pipe, pipe.handle),
              "SYNC_RESET_PIPE");
  expect_recovered();
  server.retract();
}

/// Whether it was carried out or refused, the server goes on with the handles that it has.
void reset_port_keeps_handles(Server& server) {
  const Pipe pipe = bring_up_silent_pipe(server);
  const std::uint32_t read = start_read(server, pipe, pipe.endpoint.max_packet_size);
  const Ended reset = ask_io_control(server, pdu::io_control_code::reset_port, 0);
  succeeded_or_refused(server, reset, "RESET_PORT");
  // A reset ends what runs, before its own completion; a refused or empty one may leave it.
  if (server.outstanding(read)) server.cancel(read);
  expect_cancelled(server, server.completion_of(read), "a read that ran");

  server.step("after RESET_PORT");
  const Ended configuration =
      ask_in(server, urb_function::get_configuration, pdu::NoParameters{}, 1);
  if (expect_data(server, configuration, "GET_CONFIGURATION", 1)) {
    server.expect(configuration.data[0] != 0, "expected that the configuration is selected still");
  }
  expect_done(server, ask_pipe(server, urb_function::sync_reset_pipe_and_clear_stall, pipe.handle),
              "SYNC_RESET_PIPE_AND_CLEAR_STALL");
  const std::uint32_t again = start_read(server, pipe, pipe.endpoint.max_packet_size);
  server.expect_silence("a read");
  server.cancel(again);
  expect_cancelled(server, server.completion_of(again), "CANCEL_REQUEST");
  server.retract();
}

/// More than a dynamic-channel PDU holds (1600 bytes), both ways at once.
void large_transfers(Server& server) {
  server.bring_up();
  require_board(server);
  const Selection selection = configure(server);
  const auto out = selection.first(false);
  const auto in = silent_pipe(selection);
  if (!out || !in) return server.give_up("expected a bulk OUT and a bulk IN pipe");
  for (const std::uint32_t size : {1590U, 1600U, 4096U, 65536U, 100'003U}) {
    server.step(std::to_string(size) + " bytes");
    Bytes data(size);
    for (auto& byte : data) byte = static_cast<std::uint8_t>(server.noise());
    const std::uint32_t read = start_read(server, *in, size);
    expect_done(server,
                ask_out(server, urb_function::bulk_or_interrupt_transfer,
                        pdu::BulkOrInterruptTransfer{out->handle, 0}, data),
                "bulk OUT", size);
    const Ended ended = server.completion_of(read);
    if (expect_data(server, ended, "bulk IN", size)) {
      server.expect(ended.data == data, "bulk IN: expected the bytes that were written");
    }
  }
  server.retract();
}

/// CONTROL_TRANSFER as any driver may send it. Windows' client refuses CONTROL_TRANSFER_EX for
/// standard requests, so a refusal of that one is taken.
void control_transfers(Server& server) {
  server.bring_up();
  const usb::SetupPacket setup{0x80, 6 /* GET_DESCRIPTOR */, 0x0100, 0,
                               usb::DeviceDescriptor::size};
  constexpr std::uint32_t flags = pdu::transfer_flag::direction_in |
                                  pdu::transfer_flag::short_transfer_ok |
                                  pdu::transfer_flag::default_pipe;
  const Bytes descriptor =
      get_descriptor(server, usb::descriptor_type::device, 0, 0, usb::DeviceDescriptor::size);
  const Ended plain = ask_in(server, urb_function::control_transfer,
                             pdu::ControlTransfer{0, flags, setup}, setup.length);
  if (expect_data(server, plain, "CONTROL_TRANSFER", descriptor.size())) {
    server.expect(plain.data == descriptor, "CONTROL_TRANSFER: expected the device descriptor");
  }
  const Ended extended = ask_in(server, urb_function::control_transfer_ex,
                                pdu::ControlTransferEx{0, flags, 5000, setup}, setup.length);
  if (succeeded_or_refused(server, extended, "CONTROL_TRANSFER_EX")) {
    server.expect(extended.data == descriptor,
                  "CONTROL_TRANSFER_EX: expected the device descriptor");
  }
  server.retract();
}

// --- what is not understood ----------------------------------------------------------------------

namespace {

Bytes request_header(std::uint32_t interface, std::uint32_t message, std::uint32_t function) {
  ByteWriter writer;
  pdu::encode_request_header(writer, {interface, pdu::Mask::proxy, message, function});
  return writer.finish();
}

/// A GET_CONFIGURATION, to be made into something else.
Bytes get_configuration(const Server& server, std::uint32_t request) {
  pdu::TransferRequest message;
  message.address.interface = server.usb_device();
  message.urb = {urb_function::get_configuration, request, false, pdu::NoParameters{}};
  message.output_buffer_size = 1;
  return pdu::encode(message);
}

constexpr std::size_t cb_ts_urb_at = pdu::Header::request_size, urb_size_at = cb_ts_urb_at + 4,
                      urb_function_at = urb_size_at + 2;

}  // namespace

void unknown_function(Server& server) {
  server.bring_up();
  constexpr std::uint32_t unknown = 0x1F0;
  for (const std::uint32_t message : {0U, 0x12345678U}) {
    const std::uint32_t device = server.usb_device();
    server.expect_not_supported(request_header(device, message, unknown), {device, message},
                                "an unknown function of the device interface");
    const std::uint32_t notification = pdu::interface_id::notification_to_client;
    server.expect_not_supported(request_header(notification, message, unknown),
                                {notification, message},
                                "an unknown function of the notification interface");
  }
  server.retract();
}

void query_interface(Server& server) {
  server.bring_up();
  for (const std::uint32_t interface :
       {server.usb_device(), pdu::interface_id::notification_to_client}) {
    pdu::QueryInterface query;
    query.address = {interface, 0x12345678};
    for (auto& byte : query.guid) byte = static_cast<std::uint8_t>(server.noise());
    server.expect_not_supported(pdu::encode(query), query.address, "RIMCALL_QUERYINTERFACE");
  }
  server.retract();
}

void unknown_io_control(Server& server) {
  server.bring_up();
  // SUBMIT_URB, SUBMIT_IDLE_NOTIFICATION, and numbers that are nothing at all.
  for (const std::uint32_t code : {0x00220003U, 0x00220027U, 0U, 0xFFFFFFFFU}) {
    for (const bool internal : {false, true}) {
      expect_failed(server, ask_io_control(server, code, 16, internal),
                    (internal ? "INTERNAL_IO_CONTROL " : "IO_CONTROL ") + pdu::hex_text(code, 8));
    }
  }
  // Each kind has its own codes.
  expect_failed(server, ask_io_control(server, pdu::io_control_code::query_bus_time, 4, false),
                "QUERY_BUS_TIME as IO_CONTROL");
  server.retract();
}

/// A request whose RequestId can be read is completed, whatever else is wrong with it: somebody
/// waits for it.
void bad_requests(Server& server) {
  server.bring_up();
  const Selection selection = configure(server);
  const auto expect_refused = [&](const std::string& what, std::uint16_t function,
                                  const std::function<void(Bytes&)>& spoil) {
    const std::uint32_t request = server.next_id();
    Bytes message = get_configuration(server, request);
    spoil(message);
    server.send_request(message, request, {false, function, 1});
    expect_failed(server, server.completion_of(request), what);
  };
  for (const std::uint16_t function :
       {std::uint16_t{0x03}, std::uint16_t{0x16}, std::uint16_t{0x1D}, std::uint16_t{0x2B},
        std::uint16_t{0x33}, std::uint16_t{0x35}, std::uint16_t{0xFFFF}}) {
    expect_refused("URB function " + pdu::hex_text(function, 4), function, [&](Bytes& message) {
      message[urb_function_at] = static_cast<std::uint8_t>(function & 0xFFU);
      message[urb_function_at + 1] = static_cast<std::uint8_t>(function >> 8U);
    });
  }
  expect_refused("a TS_URB whose Size is not CbTsUrb", urb_function::get_configuration,
                 [](Bytes& message) { message[urb_size_at] = 12; });
  expect_refused("a message that is longer than its fields", urb_function::get_configuration,
                 [](Bytes& message) { message.push_back(0); });

  server.step("the wrong direction");
  expect_failed(server,
                ask_out(server, urb_function::get_descriptor_from_device,
                        pdu::DescriptorRequest{0, usb::descriptor_type::device, 0}, Bytes(18)),
                "GET_DESCRIPTOR in a TRANSFER_OUT_REQUEST");
  for (const Pipe& pipe : selection.pipes) {
    const Bytes data(8);
    const Ended ended = pipe.in() ? ask_out(server, urb_function::bulk_or_interrupt_transfer,
                                            pdu::BulkOrInterruptTransfer{pipe.handle, 0}, data)
                                  : ask_in(server, urb_function::bulk_or_interrupt_transfer,
                                           pdu::BulkOrInterruptTransfer{pipe.handle, 3}, 8);
    expect_failed(server, ended,
                  "a transfer against the direction of " + pdu::hex_text(pipe.endpoint.address, 2));
  }
  server.retract();
}

/// What comes at the wrong time, or is nothing, is ignored: MS-RDPEUSB 3.1.5.
void out_of_sequence(Server& server) {
  server.open_control();
  server.open_device();
  server.step("before REGISTER_REQUEST_CALLBACK");
  const std::uint32_t early = server.next_id();
  expect_quiet_request(server);
  server.io_control(early, pdu::io_control_code::query_bus_time, 4, true);
  server.expect_silence("requests that nobody registered for");

  server.step("after it");
  server.register_callback();
  server.expect_silence("REGISTER_REQUEST_CALLBACK");
  // The RequestId is free: the request before was never taken.
  server.io_control(early, pdu::io_control_code::query_bus_time, 4, true);
  expect_data(server, server.completion_of(early), "QUERY_BUS_TIME", 4);

  server.announce_version(server.device_channel(), {});
  const std::uint32_t device = server.usb_device();
  server.send(pdu::encode(pdu::ReleaseInterface{{device, 0}, pdu::Mask::proxy}));
  server.send(pdu::encode(pdu::ReleaseInterface{{0x2A2A2A2A, 0}, pdu::Mask::proxy}));
  server.send(request_header(0x2A2A2A2A, 0, pdu::function_id::transfer_in_request));
  server.send(pdu::encode(pdu::QueryInterfaceResponse{{device, 0}, std::nullopt}));
  for (const std::size_t size : {1U, 7U}) {
    const Bytes header = request_header(device, 0, pdu::function_id::cancel_request);
    server.send(ByteView(header).first(size));
  }
  server.expect_silence("messages that mean nothing");
  expect_data(server, ask_io_control(server, pdu::io_control_code::query_bus_time, 4, true),
              "QUERY_BUS_TIME", 4);
  server.retract();
}

}  // namespace tillbridge::terminal::conformance::own
