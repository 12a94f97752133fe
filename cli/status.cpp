// `tillbridge status`, `drain`: the server at a glance.
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/admin_session.hpp"
#include "cli/lists.hpp"

namespace tillbridge::cli {

namespace {

void print_status(AdminSession& session) {
  const Json state = session.get("/state");
  if (session.printed_as_json(state)) return;
  const Json& server = state.at("server");
  print_line(printable(text_of(server, "name")) + ": tillbridged " + text_of(server, "version") +
             ", for " + age_of(server, "started") +
             (server.value("draining", false)
                  ? ", IN MAINTENANCE: nobody gets a stick (tillbridge drain off)"
                  : ""));
  if (!text_of(server, "fingerprint").empty()) {
    print_line("its authority: " + text_of(server, "fingerprint") + " (" +
               text_of(server, "words") + ")");
  }
  for (const Json& alarm : state.at("alarms")) {
    print_line("");
    print_line("! " + printable(text_of(alarm, "text")) + " (for " + age_of(alarm, "since") + ")");
    if (!text_of(alarm, "remedy").empty()) {
      print_line("  -> " + printable(text_of(alarm, "remedy")));
    }
  }
  print_line("");
  print_sticks(state);
  print_line("");
  print_tills(state);
  if (!state.at("pending").empty()) {
    print_line("");
    print_pending(state);
  }
}

}  // namespace

void add_status(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options) {
  CLI::App* status = app.add_subcommand("status", "sticks, tills and alarms at a glance");
  add_admin_options(*status, *options, false);
  runs(*status, chosen, options, print_status);

  CLI::App* drain = app.add_subcommand(
      "drain", "begin or end maintenance: nobody gets a stick that he does not have already");
  add_admin_options(*drain, *options, true);
  const auto word = std::make_shared<std::string>();
  drain->add_option("what", *word, "on or off")
      ->required()
      ->check(CLI::IsMember(std::vector<std::string>{"on", "off"}));
  runs(*drain, chosen, options, [word](AdminSession& session) {
    const bool on = *word == "on";
    const Json answer = session.change("POST", "/drain", {{"on", on}});
    session.say_done(answer, on ? "maintenance: no new leases from now on" : "maintenance is over",
                     on ? "it is in maintenance already" : "it is not in maintenance");
  });
}

void add_admin(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<AdminOptions>();
  add_status(app, chosen, options);
  add_sticks(app, chosen, options);
  add_tills(app, chosen, options);
  add_mappings(app, chosen, options);
  add_audit(app, chosen, options);
  add_users(app, chosen, options);
  add_completion(app, chosen, options);
}

}  // namespace tillbridge::cli
