// Microsoft's cases about configurations, interfaces and pipes: 10, 11 and 12.
#include "server/terminal/conformance/cases.hpp"
#include "server/terminal/conformance/requests.hpp"

namespace tillbridge::terminal::conformance::microsoft {

namespace {

/// A handle that opens nothing: SYNC_RESET_PIPE on it must fail.
void expect_dead(Server& server, const Selection& selection, const Pipe& old,
                 const std::string& after) {
  for (const Pipe& pipe : selection.pipes) {
    if (pipe.handle == old.handle) return;  // given out again: the specification does not forbid it
  }
  expect_failed(server, ask_pipe(server, urb_function::sync_reset_pipe, old.handle),
                "SYNC_RESET_PIPE on a PipeHandle from before " + after);
}

void expect_alive(Server& server, const Pipe& pipe, const std::string& after) {
  expect_done(server, ask_pipe(server, urb_function::sync_reset_pipe, pipe.handle),
              "SYNC_RESET_PIPE after " + after);
}

}  // namespace

void select_configuration(Server& server) {
  server.bring_up();
  server.step("first selection");
  Selection selection = configure(server);
  for (const Pipe& pipe : selection.pipes) expect_alive(server, pipe, "SELECT_CONFIGURATION");

  server.step("selected again");
  const std::vector<Pipe> old = selection.pipes;
  select_again(server, selection);
  for (const Pipe& pipe : selection.pipes) expect_alive(server, pipe, "another one");
  for (const Pipe& pipe : old) expect_dead(server, selection, pipe, "SELECT_CONFIGURATION");
  server.retract();
}

void select_interface(Server& server) {
  server.bring_up();
  Selection selection = configure(server);
  const std::vector<Pipe> old = selection.pipes;
  constexpr std::uint32_t zero = 0;  // Windows' first RequestId
  select_setting(server, selection, 0, zero);
  for (const Pipe& pipe : selection.pipes) expect_alive(server, pipe, "SELECT_INTERFACE");
  const std::uint8_t number =
      selection.interfaces.empty() ? std::uint8_t{0} : selection.interfaces[0].interface_number;
  for (const Pipe& pipe : old) {
    if (pipe.interface_number == number) expect_dead(server, selection, pipe, "SELECT_INTERFACE");
  }

  server.step("a ConfigurationHandle that is none");
  pdu::SelectInterface select;
  select.configuration_handle = selection.handle ^ 0x5A5A5A5AU;
  select.interface.interface_number = number;
  expect_failed(server, ask_in(server, urb_function::select_interface, std::move(select), 0),
                "SELECT_INTERFACE");
  for (const Pipe& pipe : selection.pipes) expect_alive(server, pipe, "a refused SELECT_INTERFACE");
  server.retract();
}

void pipe_request(Server& server) {
  server.bring_up();
  const Selection selection = configure(server);
  const auto ask = [&](std::uint16_t function, std::uint32_t handle) {
    return ask_pipe(server, function, handle);
  };
  for (const Pipe& pipe : selection.pipes) {
    server.step("pipe " + pdu::hex_text(pipe.endpoint.address, 2));
    expect_done(server, ask(urb_function::sync_reset_pipe, pipe.handle), "SYNC_RESET_PIPE");
    expect_done(server, ask(urb_function::abort_pipe, pipe.handle), "ABORT_PIPE");
    expect_done(server, ask(urb_function::sync_clear_stall, pipe.handle), "SYNC_CLEAR_STALL");
    expect_done(server, ask(urb_function::sync_reset_pipe_and_clear_stall, pipe.handle),
                "SYNC_RESET_PIPE_AND_CLEAR_STALL");
  }
  server.step("a PipeHandle that is none");
  std::uint32_t unknown = 0x5A5A5A5A;
  for (const Pipe& pipe : selection.pipes) unknown += pipe.handle == unknown ? 1 : 0;
  for (const std::uint16_t function :
       {urb_function::sync_reset_pipe, urb_function::abort_pipe, urb_function::sync_clear_stall,
        urb_function::sync_reset_pipe_and_clear_stall}) {
    expect_failed(server, ask(function, unknown), pdu::urb_function_text(function));
  }
  server.retract();
}

}  // namespace tillbridge::terminal::conformance::microsoft
