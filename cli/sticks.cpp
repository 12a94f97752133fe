// `tillbridge stick ...`, `block`, `unblock`, `identify`.
#include <string>

#include <CLI/CLI.hpp>

#include "cli/admin_session.hpp"
#include "cli/lists.hpp"

namespace tillbridge::cli {

namespace {

constexpr const char* what_a_stick_is = "its id, its serial, or its label";

std::string path_of(const Json& stick, const std::string& verb = {}) {
  return "/sticks/" + encoded(text_of(stick, "id")) + (verb.empty() ? "" : "/" + verb);
}

void show(AdminSession& session, const std::string& name) {
  const Json state = session.get("/state");
  const Json stick = stick_of(state, name);
  if (session.printed_as_json(stick)) return;
  print_values(stick, {{"id", "stick"},
                       {"label", "label"},
                       {"state", "state"},
                       {"problem", "problem"},
                       {"remedy", "remedy"},
                       {"manufacturer", "manufacturer"},
                       {"product", "product"},
                       {"family", "family"},
                       {"port", "port"},
                       {"first_seen", "first seen"},
                       {"last_seen", "last seen"},
                       {"blocked_until", "blocked until"},
                       {"fingerprint", "descriptors"}});
  print_bonds(state, "stick", text_of(stick, "id"));
}

struct Words {
  std::string stick, text;
  std::int64_t minutes = 0;
};

}  // namespace

void add_sticks(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options) {
  const auto words = std::make_shared<Words>();
  // A verb about one stick that is one request.
  const auto simple = [&](CLI::App& parent, const char* name, const char* help, const char* method,
                          const char* verb, const std::string& done, const std::string& already) {
    CLI::App* sub = parent.add_subcommand(name, help);
    if (&parent == &app) add_admin_options(*sub, *options, true);
    sub->add_option("stick", words->stick, what_a_stick_is)->required();
    runs(*sub, chosen, options,
         [words, method = std::string(method), verb = std::string(verb), done,
          already](AdminSession& session) {
           const Json stick = stick_of(session.get("/state"), words->stick);
           const std::string id = text_of(stick, "id");
           const Json answer = session.change(method, path_of(stick, verb));
           session.say_done(answer, id + done, id + already);
         });
  };

  CLI::App* stick = app.add_subcommand("stick", "what is known of sticks");
  add_admin_options(*stick, *options, true);
  stick->require_subcommand(1);
  CLI::App* list = stick->add_subcommand("list", "all of them");
  runs(*list, chosen, options, [](AdminSession& session) {
    const Json state = session.get("/state");
    if (!session.printed_as_json(state.at("sticks"))) print_sticks(state);
  });
  CLI::App* one = stick->add_subcommand("show", "all about one");
  one->add_option("stick", words->stick, what_a_stick_is)->required();
  runs(*one, chosen, options, [words](AdminSession& session) { show(session, words->stick); });
  CLI::App* label = stick->add_subcommand("label", "give it a name; an empty one takes it away");
  label->add_option("stick", words->stick, what_a_stick_is)->required();
  label->add_option("text", words->text, "the name")->required();
  runs(*label, chosen, options, [words](AdminSession& session) {
    const Json found = stick_of(session.get("/state"), words->stick);
    session.say_done(session.change("PATCH", path_of(found), {{"label", words->text}}),
                     text_of(found, "id") + " is called '" + words->text + "'",
                     "it is called so already");
  });
  simple(*stick, "accept", "its descriptors as they are now are right", "POST", "accept",
         " is accepted as it is", " was accepted already");
  simple(*stick, "forget", "an absent one that nothing is mapped to", "DELETE", "", " is forgotten",
         " is not known any more");

  CLI::App* block = app.add_subcommand("block", "give a stick to nobody; ends a running use");
  add_admin_options(*block, *options, true);
  block->add_option("stick", words->stick, what_a_stick_is)->required();
  CLI::Option* minutes = block->add_option("--minutes", words->minutes,
                                           "for so long; without it until somebody unblocks it");
  minutes->check(CLI::PositiveNumber);
  runs(*block, chosen, options, [words](AdminSession& session) {
    const Json found = stick_of(session.get("/state"), words->stick);
    Json body = Json::object();
    if (words->minutes > 0) body["minutes"] = words->minutes;
    session.say_done(session.change("POST", path_of(found, "block"), body),
                     text_of(found, "id") + " is blocked",
                     text_of(found, "id") + " is blocked already");
  });
  simple(app, "unblock", "ends a block, and gives back what was taken from a session", "POST",
         "unblock", " is free again", " is not blocked");

  CLI::App* identify = app.add_subcommand("identify", "where a stick is, in words");
  add_admin_options(*identify, *options, true);
  identify->add_option("stick", words->stick, what_a_stick_is)->required();
  runs(*identify, chosen, options, [words](AdminSession& session) {
    const Json found = stick_of(session.get("/state"), words->stick);
    try {
      const Json answer = session.change("POST", path_of(found, "identify"));
      if (!session.printed_as_json(answer)) print_line(printable(text_of(answer, "text")));
    } catch (const Failure& failure) {
      // Where it is can be said, even if nothing can be made to blink.
      if (failure.code != "no_light") throw;
      if (session.printed_as_json({{"text", failure.message}})) return;
      print_line(printable(failure.message));
      print_line("  -> " + printable(failure.remedy));
    }
  });
}

}  // namespace tillbridge::cli
