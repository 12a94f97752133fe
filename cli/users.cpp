// `tillbridge user ...`, `login-link`: who may log in on the page.
#include <fstream>
#include <iostream>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/admin_session.hpp"

namespace tillbridge::cli {

namespace {

struct Words {
  std::string name, role = "viewer", file;
};

/// Never on the command line, where everybody on the machine could read it.
std::string new_password(const Words& words) {
  std::string password;
  if (words.file.empty()) {
    throw Failure{Exit::usage, "where is the password?",
                  "name a file whose first line it is (- for the standard input): "
                  "--new-password-file FILE"};
  }
  std::ifstream file;
  std::istream* in = &std::cin;
  if (words.file != "-") {
    file.open(words.file);
    in = &file;
  }
  if (!std::getline(*in, password)) throw Failure{Exit::usage, words.file + " cannot be read", {}};
  return password;
}

}  // namespace

void add_users(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options) {
  const auto words = std::make_shared<Words>();
  CLI::App* user = app.add_subcommand("user", "who may log in on the page, and as what");
  add_admin_options(*user, *options, true);
  user->require_subcommand(1);
  const auto with_name = [&](const char* name, const char* help) {
    CLI::App* verb = user->add_subcommand(name, help);
    verb->add_option("name", words->name, "the account")->required();
    return verb;
  };
  const auto with_role = [&](CLI::App* verb) {
    return verb->add_option("--role", words->role, "admin, or viewer: who may only look")
        ->check(CLI::IsMember(std::vector<std::string>{"admin", "viewer"}));
  };
  const auto with_password = [&](CLI::App* verb) {
    verb->add_option("--new-password-file", words->file,
                     "its first line is the password; - for "
                     "the standard input");
    return verb;
  };
  const auto path = [words] { return "/users/" + encoded(words->name); };

  runs(*user->add_subcommand("list", "all of them"), chosen, options, [](AdminSession& session) {
    const Json answer = session.get("/users");
    if (session.printed_as_json(answer)) return;
    std::vector<std::vector<std::string>> rows;
    for (const Json& one : answer.at("users")) {
      rows.push_back({text_of(one, "name"), text_of(one, "role"), age_of(one, "last_login")});
    }
    print_table({"USER", "ROLE", "LAST LOGIN"}, rows,
                "nobody can log in: tillbridge login-link makes a link for the first one");
  });
  CLI::App* add = with_password(with_name("add", "one more"));
  with_role(add)->capture_default_str();
  runs(*add, chosen, options, [words](AdminSession& session) {
    session.say_done(
        session.change(
            "POST", "/users",
            {{"name", words->name}, {"role", words->role}, {"password", new_password(*words)}}),
        words->name + " may log in as " + words->role, "it is so already");
  });
  CLI::App* role = with_name("role", "what he may");
  with_role(role)->required();
  runs(*role, chosen, options, [words, path](AdminSession& session) {
    session.say_done(session.change("PATCH", path(), {{"role", words->role}}),
                     words->name + " is " + words->role + " now", "he is so already");
  });
  runs(*with_password(with_name("password", "a new password; his logins end")), chosen, options,
       [words, path](AdminSession& session) {
         session.say_done(session.change("PATCH", path(), {{"password", new_password(*words)}}),
                          "the password of " + words->name + " is changed", "it is so already");
       });
  runs(*with_name("remove", "he may not log in any more"), chosen, options,
       [words, path](AdminSession& session) {
         session.say_done(session.change("DELETE", path()), words->name + " is removed",
                          "there is no user " + words->name);
       });

  CLI::App* link = app.add_subcommand(
      "login-link",
      "a link that lets one person in once, to choose a password; on the server only");
  add_admin_options(*link, *options, true);
  runs(*link, chosen, options, [](AdminSession& session) {
    const Json answer = session.change("POST", "/login/link");
    if (session.printed_as_json(answer)) return;
    print_line("Open it within " + text_of(answer, "valid_minutes") + " minutes:");
    print_line("");
    print_line("  " + printable(text_of(answer, "link")));
  });
}

}  // namespace tillbridge::cli
