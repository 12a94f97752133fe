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
  expect_failed(server, pipe_request(server, urb_function::sync_reset_pipe, old.handle),
                "SYNC_RESET_PIPE on a PipeHandle from before " + after);
}

void expect_alive(Server& server, const Pipe& pipe, const std::string& after) {
  expect_done(server, pipe_request(server, urb_function::sync_reset_pipe, pipe.handle),
              "SYNC_RESET_PIPE after " + after);
}

}  // namespace

void select_configuration(Server& server) {
  server.bring_up();
  server.step("first selection");
  Selection selection = conformance::select_configuration(server);
  for (const Pipe& pipe : selection.pipes) expect_alive(server, pipe, "SELECT_CONFIGURATION");

  server.step("selected again");
  const std::vector<Pipe> old = selection.pipes;
  select_again(server, selection);
  for (const Pipe& pipe : selection.pipes) expect_alive(server, pipe, "another one");
  for (const Pipe& pipe : old) expect_dead(server, selection, pipe, "SELECT_CONFIGURATION");
  server.retract();
}

}  // namespace tillbridge::terminal::conformance::microsoft
