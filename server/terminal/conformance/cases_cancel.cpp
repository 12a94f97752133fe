// Microsoft's cases about CANCEL_REQUEST: 3, 4 and 5. The suite takes a completion of a cancelled
// request or none; the specification wants exactly one for each request, and a Windows driver's IRP
// waits for it.
#include <functional>

#include "server/terminal/conformance/cases.hpp"
#include "server/terminal/conformance/requests.hpp"

namespace tillbridge::terminal::conformance::microsoft {

namespace {

/// The suite sends its CANCEL_REQUESTs to InterfaceId 0, which is no interface of most clients.
std::uint32_t other_interface(const Server& server) {
  return server.usb_device() == 0 ? pdu::interface_id::bits : 0;
}

/// A request that ends by itself, sooner or later than its cancel comes.
void cancel_in_time_or_not(Server& server, const std::function<void(std::uint32_t)>& start) {
  const std::uint32_t request = server.next_id();
  server.step("cancelled at once");
  start(request);
  server.cancel(request);
  const Ended ended = server.completion_of(request);
  if (ended.kind != Ended::Kind::io_control && !ended.succeeded()) {
    expect_cancelled(server, ended, "the request");
  }
  server.step("cancelled when it has ended");
  server.cancel(request);
  server.expect_silence("a CANCEL_REQUEST for a request that has ended");

  server.step("cancelled on another interface");
  start(request);
  server.cancel(request, other_interface(server));
  const Ended untouched = server.completion_of(request);
  server.expect(untouched.usbd_status != pdu::usbd_status::canceled &&
                    untouched.hresult != pdu::hresult::aborted,
                "expected that the CANCEL_REQUEST is ignored, got " + untouched.text());
  server.cancel(0x5A5A5A5A);
  server.expect_silence("a CANCEL_REQUEST for a request that never was");
}

/// A request that would never end.
void cancel_pending(Server& server) {
  server.step("a read that stays pending");
  const auto pipe = silent_pipe(configure(server));
  if (!pipe) return;
  const std::uint32_t request = start_read(server, *pipe, pipe->endpoint.max_packet_size);
  server.cancel(request, other_interface(server));
  server.cancel(0x5A5A5A5A);
  server.expect_silence("CANCEL_REQUESTs for something else");
  server.cancel(request);
  expect_cancelled(server, server.completion_of(request), "CANCEL_REQUEST");
  server.cancel(request);
  server.expect_silence("a second CANCEL_REQUEST");

  server.step("its RequestId once more");
  server.transfer_in(request, urb_function::bulk_or_interrupt_transfer,
                     pdu::BulkOrInterruptTransfer{pipe->handle, 3}, 64);
  server.cancel(request);
  expect_cancelled(server, server.completion_of(request), "CANCEL_REQUEST");
}

}  // namespace

void cancel_io_control(Server& server) {
  server.bring_up();
  cancel_in_time_or_not(server, [&](std::uint32_t request) {
    server.io_control(request, pdu::io_control_code::get_hub_name, 256);
  });
  server.retract();
}

void cancel_internal_io_control(Server& server) {
  server.bring_up();
  cancel_in_time_or_not(server, [&](std::uint32_t request) {
    server.io_control(request, pdu::io_control_code::query_bus_time, 4, true);
  });
  server.retract();
}

void cancel_transfer_in(Server& server) {
  server.bring_up();
  cancel_in_time_or_not(server, [&](std::uint32_t request) {
    server.transfer_in(request, urb_function::get_descriptor_from_device,
                       pdu::DescriptorRequest{0, usb::descriptor_type::device, 0},
                       usb::DeviceDescriptor::size);
  });
  cancel_pending(server);
  server.retract();
}

}  // namespace tillbridge::terminal::conformance::microsoft
