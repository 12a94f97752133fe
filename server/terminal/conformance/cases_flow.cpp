// What Microsoft's suite lacks about requests that are under way: ids, NoAck, the ends of
// registrations, channels and configurations, aborted pipes.
#include <algorithm>

#include "server/terminal/conformance/cases.hpp"
#include "server/terminal/conformance/requests.hpp"

namespace tillbridge::terminal::conformance::own {

namespace {

void expect_device_descriptor(Server& server, std::uint32_t request) {
  server.transfer_in(request, urb_function::get_descriptor_from_device,
                     pdu::DescriptorRequest{0, usb::descriptor_type::device, 0},
                     usb::DeviceDescriptor::size);
  expect_data(server, server.completion_of(request),
              "GET_DESCRIPTOR as request " + std::to_string(request), usb::DeviceDescriptor::size);
}

/// The client is still there, and has forgotten nothing.
void expect_alive(Server& server) {
  expect_device_descriptor(server, server.next_id());
}

std::vector<std::uint32_t> start_reads(Server& server, const Pipe& pipe, std::size_t count) {
  std::vector<std::uint32_t> requests;
  for (std::size_t i = 0; i < count; ++i) {
    requests.push_back(start_read(server, pipe, pipe.endpoint.max_packet_size));
  }
  return requests;
}

/// The next completions are these requests', cancelled, in any order.
void expect_next_cancelled(Server& server, std::vector<std::uint32_t> requests,
                           const std::string& by) {
  while (!requests.empty() && !server.over()) {
    const Ended ended = server.next_completion();
    const auto found = std::find(requests.begin(), requests.end(), ended.request);
    if (found == requests.end()) {
      server.wrong("expected that " + std::to_string(requests.size()) +
                   " reads complete first, got the completion of request " +
                   std::to_string(ended.request) + ": " + ended.text());
      return;
    }
    requests.erase(found);
    expect_cancelled(server, ended, "a read that " + by + " ended");
  }
}

}  // namespace

// --- ids -----------------------------------------------------------------------------------------

/// Interface ids are unique among those of one side only, so the server may use the client's own
/// and the default ones; Windows uses 0. The two top bits of an id that comes as data mean nothing.
void request_completion_ids(Server& server) {
  const auto with = [&](std::uint32_t id) {
    server.step("RequestCompletion " + pdu::hex_text(id, 1));
    server.register_callback(id);
    expect_alive(server);
    expect_data(server, ask_io_control(server, pdu::io_control_code::query_bus_time, 4, true),
                "QUERY_BUS_TIME", 4);
    server.retract();
  };
  for (const std::uint32_t id : {0U, 1U, 2U, 3U, 0x3FFFFFFFU, 0xC0000005U}) {
    server.open_control();
    server.open_device();
    with(id);
  }
  server.open_control();
  server.open_device();
  with(server.usb_device());
}

void request_id_extremes(Server& server) {
  server.bring_up();
  for (const std::uint32_t request : {0U, 0x3FFFFFFFU, 0x40000000U, 0x7FFFFFFFU}) {
    server.step("RequestId " + pdu::hex_text(request, 1));
    expect_device_descriptor(server, request);
    server.io_control(request, pdu::io_control_code::query_bus_time, 4, true);
    expect_data(server, server.completion_of(request), "QUERY_BUS_TIME", 4);
  }
  const auto pipe = silent_pipe(configure(server));
  if (pipe) {
    server.step("a cancelled read with RequestId 0x7FFFFFFF");
    constexpr std::uint32_t last = 0x7FFFFFFF;
    server.transfer_in(last, urb_function::bulk_or_interrupt_transfer,
                       pdu::BulkOrInterruptTransfer{pipe->handle, 3},
                       pipe->endpoint.max_packet_size);
    server.cancel(last);
    expect_cancelled(server, server.completion_of(last), "CANCEL_REQUEST");
  }
  server.retract();
}

// --- NoAck and isochronous transfers -------------------------------------------------------------

namespace {

pdu::IsochronousTransfer isochronous(std::uint32_t pipe_handle, std::uint32_t flags) {
  pdu::IsochronousTransfer transfer;
  transfer.pipe_handle = pipe_handle;
  transfer.flags = flags | pdu::transfer_flag::start_isochronous_asap;
  transfer.packets = {{0, 0, 0}, {64, 0, 0}};
  return transfer;
}

}  // namespace

void isochronous_without_acknowledgement(Server& server) {
  server.bring_up();
  const Selection selection = configure(server);
  const std::uint32_t handle = selection.pipes.empty() ? 0 : selection.pipes.front().handle;
  server.transfer_unacknowledged(false, server.next_id(), urb_function::isochronous_transfer,
                                 isochronous(handle, 0), 128, Bytes(128));
  server.expect_silence("an isochronous OUT with NoAck");
  expect_alive(server);
  server.retract();
}

/// NoAck is for isochronous OUT alone. The client may refuse the request or obey the bit, but a
/// completion that says success to nobody is neither.
void other_without_acknowledgement(Server& server) {
  server.bring_up();
  const std::uint32_t request = server.next_id();
  server.transfer_unacknowledged(true, request, urb_function::get_descriptor_from_device,
                                 pdu::DescriptorRequest{0, usb::descriptor_type::device, 0},
                                 usb::DeviceDescriptor::size, {});
  const auto ended = server.completion_within(request, server.settings().silence);
  if (ended) expect_failed(server, *ended, "GET_DESCRIPTOR with NoAck");
  expect_alive(server);
  server.retract();
}

/// No device with isochronous pipes is redirected to a till: such a request fails, once, and
/// without a result that claims packets.
void isochronous_refused(Server& server) {
  server.bring_up();
  const Selection selection = configure(server);
  std::vector<std::uint32_t> handles{0x5A5A5A5A};
  for (const Pipe& pipe : selection.pipes) {
    if (pipe.endpoint.type() != usb::TransferType::isochronous) handles.push_back(pipe.handle);
  }
  for (const std::uint32_t handle : handles) {
    server.step("PipeHandle " + pdu::hex_text(handle, 8));
    expect_failed(server,
                  ask_in(server, urb_function::isochronous_transfer,
                         isochronous(handle, pdu::transfer_flag::direction_in), 128),
                  "isochronous IN");
    expect_failed(
        server,
        ask_out(server, urb_function::isochronous_transfer, isochronous(handle, 0), Bytes(128)),
        "isochronous OUT");
  }
  expect_alive(server);
  server.retract();
}

// --- ends ----------------------------------------------------------------------------------------

/// A Windows server tears a driver stack down and builds another one on the same channel.
void registration_ends(Server& server) {
  const Pipe pipe = bring_up_silent_pipe(server);
  const std::vector<std::uint32_t> requests = start_reads(server, pipe, 3);
  server.register_nothing();
  expect_quiet_request(server);
  server.expect_silence("REGISTER_REQUEST_CALLBACK with NumRequestCompletion 0");

  server.step("registered again");
  server.register_callback();
  server.expect_silence("another REGISTER_REQUEST_CALLBACK");
  if (!requests.empty()) expect_device_descriptor(server, requests.front());
  const Selection selection = configure(server);
  const auto again = silent_pipe(selection);
  if (again) {
    const std::uint32_t read = start_read(server, *again, 64);
    server.cancel(read);
    expect_cancelled(server, server.completion_of(read), "CANCEL_REQUEST");
  }
  server.retract();
}

void many_requests(Server& server) {
  server.bring_up();
  std::vector<std::uint32_t> requests;
  for (int i = 0; i < 64; ++i) {
    requests.push_back(server.next_id());
    server.transfer_in(requests.back(), urb_function::get_descriptor_from_device,
                       pdu::DescriptorRequest{0, usb::descriptor_type::device, 0},
                       usb::DeviceDescriptor::size);
  }
  for (const std::uint32_t request : requests) {
    expect_data(server, server.completion_of(request), "GET_DESCRIPTOR",
                usb::DeviceDescriptor::size);
  }
  server.expect_silence("all completions");
  server.retract();
}

/// The device's own channel, then the control channel alone: neither brings a completion, and the
/// next control channel finds the device again.
void server_closes(Server& server) {
  constexpr std::size_t reads = 100;
  const Pipe first = bring_up_silent_pipe(server);
  server.step("device channel closed");
  static_cast<void>(start_reads(server, first, reads));
  server.expect_replug();  // the specification does not forbid to announce it anew at once
  server.close_device();
  server.expect_silence("the close of the device channel");
  server.close_control();

  const Pipe second = bring_up_silent_pipe(server);
  server.step("control channel closed");
  static_cast<void>(start_reads(server, second, reads));
  server.close_control_alone();
  server.expect_silence("the close of the control channel");
  server.close_device();

  const Pipe third = bring_up_silent_pipe(server);
  server.step("afterwards");
  const std::uint32_t read = start_read(server, third, third.endpoint.max_packet_size);
  server.cancel(read);
  expect_cancelled(server, server.completion_of(read), "CANCEL_REQUEST");
  server.retract();
}

void abort_pipe(Server& server) {
  const Pipe pipe = bring_up_silent_pipe(server);
  const std::vector<std::uint32_t> requests = start_reads(server, pipe, 3);
  const std::uint32_t abort = server.next_id();
  server.transfer_in(abort, urb_function::abort_pipe, pdu::PipeRequest{pipe.handle}, 0);
  expect_next_cancelled(server, requests, "ABORT_PIPE");
  expect_done(server, server.completion_of(abort), "ABORT_PIPE");

  server.step("the pipe afterwards");
  const std::uint32_t read = start_read(server, pipe, pipe.endpoint.max_packet_size);
  server.expect_silence("a read");
  server.cancel(read);
  expect_cancelled(server, server.completion_of(read), "CANCEL_REQUEST");
  server.retract();
}

void select_ends_transfers(Server& server) {
  server.bring_up();
  Selection selection = configure(server);
  const auto pipe = silent_pipe(selection);
  if (!pipe) return server.inconclusive("the device has no bulk IN pipe");
  const std::vector<std::uint32_t> requests = start_reads(server, *pipe, 3);
  select_again(server, selection);
  for (const std::uint32_t request : requests) {
    server.expect(!server.outstanding(request), "expected the completion of request " +
                                                    std::to_string(request) +
                                                    " before that of SELECT_CONFIGURATION");
  }
  expect_next_cancelled(server, requests, "SELECT_CONFIGURATION");
  server.retract();
}

}  // namespace tillbridge::terminal::conformance::own
