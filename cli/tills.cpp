// `tillbridge till ...`: who may come.
#include <string>

#include <CLI/CLI.hpp>

#include "cli/admin_session.hpp"
#include "cli/lists.hpp"

namespace tillbridge::cli {

namespace {

struct Words {
  std::string till, text, stick, label, name, address;
  bool qr = false, replace = false;
};

std::string path_of(const std::string& till, const std::string& verb = {}) {
  return "/tills/" + encoded(till) + (verb.empty() ? "" : "/" + verb);
}

void print_ticket(AdminSession& session, const Json& ticket, bool qr) {
  if (session.printed_as_json(ticket)) return;
  const std::string expires = text_of(ticket, "expires");
  print_line("On the till, once, before " +
             (expires.size() >= 16 ? expires.substr(11, 5) : expires) + " UTC:");
  print_line("");
  print_line("  " + text_of(ticket, "line"));
  if (qr) {
    print_line("");
    (void)std::fputs(text_of(ticket, "qr_text").c_str(), stdout);
  }
}

/// A pending till by its name, its words, or the beginning of its id.
Json pending_of(const Json& state, const std::string& name) {
  std::vector<Json> found;
  for (const Json& pending : state.at("pending")) {
    if (text_of(pending, "name") == name || text_of(pending, "words") == name ||
        (name.size() >= 8 && text_of(pending, "id").rfind(name, 0) == 0)) {
      found.push_back(pending);
    }
  }
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    throw Failure{Exit::not_found, "no till '" + name + "' waits for approval",
                  "look at those that do: tillbridge till pending"};
  }
  throw Failure{Exit::refused, "several tills that wait for approval are called '" + name + "'",
                "write the id: tillbridge till pending"};
}

}  // namespace

void add_tills(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options) {
  const auto words = std::make_shared<Words>();
  CLI::App* till = app.add_subcommand("till", "who may come, and who came");
  add_admin_options(*till, *options, true);
  till->require_subcommand(1);
  const auto sub = [&](const char* name, const char* help) {
    return till->add_subcommand(name, help);
  };
  const auto with_till = [&](CLI::App* verb) {
    verb->add_option("till", words->till, "its name")->required();
    return verb;
  };

  runs(*sub("list", "all of them"), chosen, options, [](AdminSession& session) {
    const Json state = session.get("/state");
    if (!session.printed_as_json(state.at("tills"))) print_tills(state);
  });
  runs(*with_till(sub("show", "all about one")), chosen, options, [words](AdminSession& session) {
    const Json one = session.get(path_of(words->till));
    if (session.printed_as_json(one)) return;
    print_values(one, {{"name", "till"},
                       {"label", "label"},
                       {"state", "state"},
                       {"address", "address"},
                       {"last_seen", "last seen"},
                       {"note", "note"}});
    if (one.value("certificate", Json()).is_object()) {
      print_values(one["certificate"],
                   {{"fingerprint", "certificate"}, {"not_after", "valid until"}});
    }
    print_times(one);
    print_bonds(session.get("/state"), "till", text_of(one, "name"));
  });

  CLI::App* add = with_till(sub("add", "one more: prints the line that makes a machine this till"));
  add->add_option("--stick", words->stick, "mapped once it has paired");
  add->add_option("--label", words->label, "what people call it");
  const auto with_line_options = [&](CLI::App* verb) {
    verb->add_option("--address", words->address,
                     "HOST or HOST:PORT at which the till reaches this server; without it what the "
                     "server is configured to say");
    verb->add_flag("--qr", words->qr, "the line as a QR code as well");
  };
  with_line_options(add);
  runs(*add, chosen, options, [words](AdminSession& session) {
    Json body = {{"name", words->till}};
    if (!words->label.empty()) body["label"] = words->label;
    if (!words->stick.empty()) body["stick"] = words->stick;
    if (!words->address.empty()) body["address"] = words->address;
    print_ticket(session, session.change("POST", "/tills", body), words->qr);
  });
  CLI::App* token = with_till(sub("token", "a new line for a till, e.g. when its machine is new"));
  token->add_flag("--replace", words->replace,
                  "the old machine is out of use: its certificates are revoked and its session is "
                  "cut before there is a new line");
  with_line_options(token);
  runs(*token, chosen, options, [words](AdminSession& session) {
    Json body = Json::object();
    if (!words->address.empty()) body["address"] = words->address;
    if (words->replace) (void)session.change("POST", path_of(words->till, "revoke"));
    print_ticket(session, session.change("POST", path_of(words->till, "token"), body), words->qr);
  });

  CLI::App* label = with_till(sub("label", "what people call it"));
  label->add_option("text", words->text, "the name")->required();
  runs(*label, chosen, options, [words](AdminSession& session) {
    session.say_done(session.change("PATCH", path_of(words->till), {{"label", words->text}}),
                     words->till + " is called '" + words->text + "'", "it is called so already");
  });
  CLI::App* note = with_till(sub("note", "something to remember about it"));
  note->add_option("text", words->text, "the note")->required();
  runs(*note, chosen, options, [words](AdminSession& session) {
    session.say_done(session.change("PATCH", path_of(words->till), {{"note", words->text}}),
                     "noted", "it says so already");
  });
  runs(*with_till(sub("revoke", "its certificates are worth nothing; its session is cut")), chosen,
       options, [words](AdminSession& session) {
         session.say_done(session.change("POST", path_of(words->till, "revoke")),
                          words->till + " is revoked", words->till + " was revoked already");
       });
  runs(*with_till(sub("remove", "revoke it and forget it, with its mappings")), chosen, options,
       [words](AdminSession& session) {
         session.say_done(session.change("DELETE", path_of(words->till)),
                          words->till + " is removed", "there is no till " + words->till);
       });

  runs(*sub("pending", "machines that asked without a token"), chosen, options,
       [](AdminSession& session) {
         const Json state = session.get("/state");
         if (!session.printed_as_json(state.at("pending"))) print_pending(state);
       });
  CLI::App* approve = sub("approve", "one of these becomes a till; compare the words first");
  approve->add_option("pending", words->text, "its name, words or id")->required();
  approve->add_option("--name", words->name, "what it is called from now on");
  approve->add_option("--stick", words->stick, "mapped to it");
  runs(*approve, chosen, options, [words](AdminSession& session) {
    const Json pending = pending_of(session.get("/state"), words->text);
    Json body = Json::object();
    if (!words->name.empty()) body["name"] = words->name;
    if (!words->stick.empty()) body["stick"] = words->stick;
    const std::string name = words->name.empty() ? text_of(pending, "name") : words->name;
    session.say_done(
        session.change("POST", "/pending/" + encoded(text_of(pending, "id")) + "/approve", body),
        name + " is a till of this server now", name + " was approved already");
  });
  CLI::App* ignore = sub("ignore", "one of these is not shown any more");
  ignore->add_option("pending", words->text, "its name, words or id")->required();
  runs(*ignore, chosen, options, [words](AdminSession& session) {
    const Json pending = pending_of(session.get("/state"), words->text);
    session.say_done(
        session.change("POST", "/pending/" + encoded(text_of(pending, "id")) + "/ignore"),
        text_of(pending, "name") + " is ignored", "it is ignored already");
  });
}

}  // namespace tillbridge::cli
