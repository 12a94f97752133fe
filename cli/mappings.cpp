// `tillbridge map`, `unmap`, `lease`, `release`: who has which stick.
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/admin_session.hpp"
#include "cli/lists.hpp"

namespace tillbridge::cli {

namespace {

struct Words {
  std::string stick, till, user, terminal_server, reset, pipeline;
  bool also = false;
  std::uint32_t position = 0;
  std::int64_t minutes = 0;
};

/// As it is already: the server would replace the mapping by an equal one.
bool is_mapped_so(const Json& state, const std::string& stick, const Words& words) {
  std::size_t mappings = 0;
  bool same = false;
  for (const Json& mapping : state.at("mappings")) {
    if (text_of(mapping, "stick") != stick || text_of(mapping, "source") == "file") continue;
    ++mappings;
    same =
        same ||
        (text_of(mapping, "till") == words.till && text_of(mapping, "user") == words.user &&
         text_of(mapping, "terminal_server") == words.terminal_server &&
         (words.reset.empty() || text_of(mapping, "reset") == words.reset) &&
         (words.pipeline.empty() || mapping.value("pipeline", true) == (words.pipeline == "on")) &&
         (words.position == 0 || mapping.value("position", 0U) == words.position));
  }
  return same && (words.also || mappings == 1);
}

void map(AdminSession& session, const Words& words) {
  const Json state = session.get("/state");
  if (words.stick.empty()) {
    if (!session.printed_as_json(state.at("mappings"))) print_mappings(state);
    return;
  }
  if (words.till.empty())
    throw Failure{Exit::usage, "to which till? tillbridge map STICK TILL", {}};
  const std::string stick = text_of(stick_of(state, words.stick), "id");
  const std::string sentence = stick + " belongs to till " + words.till;
  if (is_mapped_so(state, stick, words)) {
    session.say_done({{"changed", false}}, "", sentence + " already");
    return;
  }
  Json body = {{"stick", stick}, {"till", words.till}};
  if (!words.user.empty()) body["user"] = words.user;
  if (!words.terminal_server.empty()) body["terminal_server"] = words.terminal_server;
  if (words.also) body["also"] = true;
  if (words.position > 0) body["position"] = words.position;
  if (!words.reset.empty()) body["reset"] = words.reset;
  if (!words.pipeline.empty()) body["pipeline"] = words.pipeline == "on";
  session.say_done(session.change("POST", "/mappings", body), sentence, sentence + " already");
}

void unmap(AdminSession& session, const Words& words) {
  const Json state = session.get("/state");
  const std::string stick = text_of(stick_of(state, words.stick), "id");
  Json gone = Json::array();
  bool by_file = false;
  for (const Json& mapping : state.at("mappings")) {
    if (text_of(mapping, "stick") != stick) continue;
    if (!words.till.empty() && text_of(mapping, "till") != words.till) continue;
    if (text_of(mapping, "source") == "file") {
      by_file = true;
      continue;
    }
    (void)session.change("DELETE", "/mappings/" + encoded(text_of(mapping, "id")));
    gone.push_back(text_of(mapping, "id"));
  }
  if (gone.empty() && by_file) {
    throw Failure{Exit::refused, stick + " is mapped by the configuration file",
                  "take its [[map]] out of the file, then: systemctl reload tillbridged"};
  }
  session.say_done({{"changed", !gone.empty()}, {"mappings", gone}},
                   stick + " is not mapped any more", stick + " is not mapped");
}

void release(AdminSession& session, const Words& words) {
  const Json state = session.get("/state");
  Json lease = find_in(state.at("leases"), "id", words.stick);
  if (lease.is_null()) {
    const std::string stick = text_of(stick_of(state, words.stick), "id");
    lease = find_in(state.at("leases"), "stick", stick);
    if (lease.is_null()) {
      session.say_done({{"changed", false}}, "", stick + " is not in use");
      return;
    }
  }
  Json body = Json::object();
  if (words.minutes > 0) body["block_minutes"] = words.minutes;
  const std::string stick = text_of(lease, "stick");
  session.say_done(
      session.change("POST", "/leases/" + encoded(text_of(lease, "id")) + "/end", body),
      stick + " is taken from till " + text_of(lease, "till") +
          (words.minutes > 0 ? "" : "; to give it back: tillbridge unblock " + stick),
      stick + " is not in use");
}

}  // namespace

void add_mappings(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options) {
  const auto words = std::make_shared<Words>();
  CLI::App* verb =
      app.add_subcommand("map", "a stick belongs to a till from now on; without names, how it is");
  add_admin_options(*verb, *options, true);
  verb->add_option("stick", words->stick, "its id, its serial, or its label");
  verb->add_option("till", words->till, "its name");
  verb->add_option("--user", words->user, "only for sessions of this user");
  verb->add_option("--terminal-server", words->terminal_server, "only for sessions to this one");
  verb->add_flag("--also", words->also, "beside the stick's other mappings, not in their place");
  verb->add_option("--position", words->position, "among them; 1 is looked at first")
      ->check(CLI::PositiveNumber);
  verb->add_option("--reset", words->reset, "what a reset by the session does")
      ->check(CLI::IsMember(std::vector<std::string>{"soften", "pass", "refuse"}));
  verb->add_option("--pipeline", words->pipeline, "hide the link's latency: on or off")
      ->check(CLI::IsMember(std::vector<std::string>{"on", "off"}));
  runs(*verb, chosen, options, [words](AdminSession& session) { map(session, *words); });

  verb = app.add_subcommand("unmap", "a stick belongs to nobody, or not to that till");
  add_admin_options(*verb, *options, true);
  verb->add_option("stick", words->stick, "its id, its serial, or its label")->required();
  verb->add_option("till", words->till, "only this till's mappings");
  runs(*verb, chosen, options, [words](AdminSession& session) { unmap(session, *words); });

  verb = app.add_subcommand("lease", "which stick is in use, by whom, and how well");
  add_admin_options(*verb, *options, false);
  runs(*verb, chosen, options, [](AdminSession& session) {
    const Json state = session.get("/state");
    if (!session.printed_as_json(state.at("leases"))) print_leases(state);
  });

  verb = app.add_subcommand("release", "take a stick from the session that uses it");
  add_admin_options(*verb, *options, true);
  verb->add_option("stick", words->stick, "the stick, or the lease's number")->required();
  verb->add_option("--block", words->minutes, "nobody gets it for so many minutes")
      ->check(CLI::PositiveNumber);
  runs(*verb, chosen, options, [words](AdminSession& session) { release(session, *words); });
}

}  // namespace tillbridge::cli
