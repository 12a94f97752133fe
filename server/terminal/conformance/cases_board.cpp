// Microsoft's cases with the OSR USB-FX2 learning board: 24 to 29.
#include <array>

#include "server/terminal/conformance/cases.hpp"
#include "server/terminal/conformance/requests.hpp"

namespace tillbridge::terminal::conformance::microsoft {

namespace {

constexpr std::uint32_t read_flags =
    pdu::transfer_flag::direction_in | pdu::transfer_flag::short_transfer_ok;

/// Vendor requests of the board.
constexpr std::uint8_t read_segments = 0xD4, read_switches = 0xD6, read_bar_graph = 0xD7,
                       set_bar_graph = 0xD8, is_high_speed = 0xD9, set_segments = 0xDB;
constexpr std::uint8_t switches_endpoint = 0x81, write_endpoint = 0x06, read_endpoint = 0x88;

void bring_up_board(Server& server) {
  server.bring_up();
  require_board(server);
}

std::optional<std::uint8_t> read_byte(Server& server, std::uint8_t request,
                                      const std::string& what) {
  pdu::VendorOrClassRequest body;
  body.flags = read_flags;
  body.request = request;
  const Ended ended = ask_in(server, urb_function::vendor_device, body, 1);
  if (!expect_data(server, ended, what, 1)) return std::nullopt;
  server.expect(ended.kind == Ended::Kind::urb,
                what + ": expected URB_COMPLETION, got " + ended.text());
  return ended.data[0];
}

void write_and_read_back(Server& server, std::uint8_t set, std::uint8_t read, std::uint8_t value) {
  const std::string text = pdu::hex_text(value, 2);
  pdu::VendorOrClassRequest body;
  body.request = set;
  const Bytes data{value};
  expect_done(server, ask_out(server, urb_function::vendor_device, body, data), "writing " + text,
              1);
  const auto shown = read_byte(server, read, "reading back " + text);
  if (shown) {
    server.expect(*shown == value, "expected " + text + " back, got " + pdu::hex_text(*shown, 2));
  }
}

/// Three pipes, as the suite wants them; gives up without.
Selection select_board(Server& server) {
  Selection selection = configure(server);
  if (server.over()) return selection;
  if (selection.interfaces.size() != 1 || selection.pipes.size() != 3 ||
      !selection.find(switches_endpoint) || !selection.find(write_endpoint) ||
      !selection.find(read_endpoint)) {
    server.give_up("expected one interface with the pipes 81, 06 and 88");
  }
  return selection;
}

void write(Server& server, const Pipe& pipe, ByteView data) {
  expect_done(server,
              ask_out(server, urb_function::bulk_or_interrupt_transfer,
                      pdu::BulkOrInterruptTransfer{pipe.handle, 0}, data),
              "bulk OUT of " + std::to_string(data.size()) + " bytes",
              static_cast<std::uint32_t>(data.size()));
}

void expect_read(Server& server, const Pipe& pipe, std::uint32_t size, std::uint32_t flags,
                 const Bytes& expected) {
  const std::string what = "bulk IN of " + std::to_string(size) + " bytes";
  const Ended ended = server.completion_of(start_read(server, pipe, size, flags));
  if (expect_data(server, ended, what, expected.size())) {
    server.expect(ended.data == expected, what + ": expected the bytes that were written");
  }
}

}  // namespace

void bar_graph(Server& server) {
  bring_up_board(server);
  for (unsigned bit = 0; bit < 8; ++bit) {
    write_and_read_back(server, set_bar_graph, read_bar_graph,
                        static_cast<std::uint8_t>(1U << bit));
  }
  server.retract();
}

void segment_display(Server& server) {
  bring_up_board(server);
  for (const std::uint8_t value : std::array<std::uint8_t, 5>{0x06, 0xB3, 0xA7, 0x66, 0xE5}) {
    write_and_read_back(server, set_segments, read_segments, value);
  }
  server.retract();
}

void high_speed(Server& server) {
  bring_up_board(server);
  const auto value = read_byte(server, is_high_speed, "IsHighSpeed");
  if (value) {
    server.expect(*value == 0x00 || *value == 0x80,
                  "IsHighSpeed: expected 0x00 or 0x80, got " + pdu::hex_text(*value, 2));
    const bool announced = server.announcement().capabilities.high_speed != 0;
    server.expect((*value != 0) == announced,
                  "expected that DeviceIsHighSpeed of ADD_DEVICE says the same as the board, got " +
                      std::to_string(server.announcement().capabilities.high_speed) + " and " +
                      pdu::hex_text(*value, 2));
  }
  server.retract();
}

void switches(Server& server) {
  bring_up_board(server);
  static_cast<void>(read_byte(server, read_switches, "ReadSwitches"));
  server.retract();
}

/// A byte, if somebody moves a switch; else the read stays pending, until it is cancelled.
void interrupt_in(Server& server) {
  bring_up_board(server);
  const Selection selection = select_board(server);
  if (server.over()) return;
  const Pipe pipe = *selection.find(switches_endpoint);
  for (int round = 0; round < 2; ++round) {
    const std::uint32_t request = start_read(server, pipe, 1, pdu::transfer_flag::direction_in);
    const auto ended = server.completion_within(request, server.settings().silence);
    if (ended) {
      expect_data(server, *ended, "interrupt IN", 1);
      continue;
    }
    server.cancel(request);
    const Ended cancelled = server.completion_of(request);
    // A switch may have been moved in the meantime.
    if (!cancelled.succeeded()) expect_cancelled(server, cancelled, "interrupt IN, cancelled");
  }
  server.retract();
}

void bulk_write_read(Server& server) {
  bring_up_board(server);
  const Selection selection = select_board(server);
  if (server.over()) return;
  const Pipe out = *selection.find(write_endpoint), in = *selection.find(read_endpoint);
  const Bytes data{1, 2, 3, 4, 5};
  constexpr std::uint32_t short_not_ok = pdu::transfer_flag::direction_in;

  server.step("as long as asked for");
  write(server, out, data);
  expect_read(server, in, 5, short_not_ok, data);

  server.step("shorter, with USBD_SHORT_TRANSFER_OK");
  write(server, out, data);
  expect_read(server, in, 64, read_flags, data);

  server.step("shorter, without USBD_SHORT_TRANSFER_OK");
  write(server, out, data);
  const Ended ended = server.completion_of(start_read(server, in, 64, short_not_ok));
  // The data that came is as good as it is; whether it is told is the client's affair.
  server.expect(ended.failed() && (ended.data.empty() || ended.data == data),
                "bulk IN: expected a failure, got " + ended.text());

  server.step("after a stall and SYNC_RESET_PIPE_AND_CLEAR_STALL");
  stall_and_reset(server, in);
  write(server, out, data);
  expect_read(server, in, 5, short_not_ok, data);
  server.retract();
}

}  // namespace tillbridge::terminal::conformance::microsoft
