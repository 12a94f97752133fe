#include "cli/admin_session.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

#include <CLI/CLI.hpp>

namespace tillbridge::cli {

namespace {

// What a terminal shows of it; wide characters of the East are rare in shops of this country.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
  }));
}

Exit exit_of(int status) {
  if (status == 404) return Exit::not_found;
  if (status >= 400 && status < 500) return Exit::refused;
  return Exit::failed;
}

void read_environment(ServerOptions& server) {
  const auto read = [](const char* name, auto& value) {
    const char* text = std::getenv(name);
    if (text != nullptr && *text != '\0') value = text;
  };
  read("TILLBRIDGE_SOCKET", server.socket);
  read("TILLBRIDGE_SERVER", server.server);
  read("TILLBRIDGE_FINGERPRINT", server.fingerprint);
  read("TILLBRIDGE_AUTHORITY", server.authority);
  read("TILLBRIDGE_LOGIN", server.login);
  read("TILLBRIDGE_PASSWORD_FILE", server.password_file);
}

}  // namespace

// --- requests

void AdminSession::expect(const Result<ApiAnswer>& answer) const {
  if (!answer) {
    const ErrorCode code = answer.error().code;
    const Exit exit = code == ErrorCode::config    ? Exit::usage
                      : code == ErrorCode::refused ? Exit::refused
                                                   : Exit::unreachable;
    throw Failure{exit, answer.error().message, {}};
  }
  if (answer->ok()) return;
  const Json body = Json::parse(answer->body, nullptr, false);
  Failure failure{
      exit_of(answer->status), "the server answers " + std::to_string(answer->status), {}};
  if (body.is_object() && body.contains("error") && body["error"].is_object()) {
    failure.message = body["error"].value("message", failure.message);
    failure.remedy = body["error"].value("remedy", "");
    failure.code = body["error"].value("code", "");
  }
  throw failure;
}

Json AdminSession::get(const std::string& path) {
  const auto answer = client_.get(path);
  expect(answer);
  return Json::parse(answer->body);
}

Json AdminSession::change(const std::string& method, const std::string& path, Json body) {
  if (!options_.reason.empty()) body["reason"] = options_.reason;
  const auto answer = client_.send(method, path, body);
  expect(answer);
  return Json::parse(answer->body);
}

Exit run_admin(const AdminOptions& options, const std::function<void(AdminSession&)>& verb) {
  try {
    AdminSession session(options);
    verb(session);
    return Exit::success;
  } catch (const Failure& failure) {
    (void)std::fprintf(stderr, "tillbridge: %s\n", printable(failure.message).c_str());
    if (!failure.remedy.empty()) {
      (void)std::fprintf(stderr, "  -> %s\n", printable(failure.remedy).c_str());
    }
    return failure.exit;
  } catch (const Json::exception&) {
    (void)std::fprintf(stderr, "tillbridge: the server's answer is not one of tillbridged\n");
    return Exit::failed;
  }
}

void add_admin_options(CLI::App& verb, AdminOptions& options, bool changes) {
  verb.fallthrough();
  read_environment(options.server);
  const char* group = "Which server";
  verb.add_option("--socket", options.server.socket, "its Unix socket (TILLBRIDGE_SOCKET)")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--server", options.server.server,
                  "HOST[:PORT] of a server that is elsewhere (TILLBRIDGE_SERVER)")
      ->group(group);
  verb.add_option("--fingerprint", options.server.fingerprint,
                  "SHA-256 that proves it is the right one (TILLBRIDGE_FINGERPRINT)")
      ->group(group);
  verb.add_option("--authority", options.server.authority,
                  "its authority's certificate (PEM), instead of a fingerprint "
                  "(TILLBRIDGE_AUTHORITY)")
      ->group(group);
  verb.add_option("--login", options.server.login, "who logs in there (TILLBRIDGE_LOGIN)")
      ->group(group);
  verb.add_option("--password-file", options.server.password_file,
                  "its first line is the password; without it you are asked "
                  "(TILLBRIDGE_PASSWORD_FILE)")
      ->group(group);
  verb.add_flag("--json", options.json, "the server's answer as JSON");
  if (changes) verb.add_option("--reason", options.reason, "why; it goes into the audit");
}

void runs(CLI::App& verb, Chosen& chosen, const std::shared_ptr<AdminOptions>& options,
          std::function<void(AdminSession&)> work) {
  verb.callback([&chosen, options, work = std::move(work)] {
    chosen = [options, work] { return run_admin(*options, work); };
  });
}

// --- what is shown

std::string printable(const std::string& text) {
  std::string shown;
  for (std::size_t index = 0; index < text.size(); ++index) {
    const auto byte = static_cast<unsigned char>(text[index]);
    const auto next = index + 1 < text.size() ? static_cast<unsigned char>(text[index + 1]) : '\0';
    if (byte == 0xC2 && next >= 0x80 && next < 0xA0) {
      shown += '?';  // U+0080..U+009F: a terminal may obey them
      ++index;
    } else {
      shown += byte < 0x20 || byte == 0x7F ? '?' : text[index];
    }
  }
  return shown;
}

void print_line(const std::string& text) {
  (void)std::fprintf(stdout, "%s\n", text.c_str());
}

bool AdminSession::printed_as_json(const Json& json) const {
  if (options_.json) {
    print_line(json.dump(2, ' ', false, Json::error_handler_t::replace));
  }
  return options_.json;
}

void AdminSession::say_done(const Json& answer, const std::string& done,
                            const std::string& already) const {
  if (printed_as_json(answer)) return;
  const bool changed = !answer.is_object() || answer.value("changed", true);
  print_line(printable(changed ? done : already));
}

void print_table(const std::vector<std::string>& headings,
                 const std::vector<std::vector<std::string>>& rows, const std::string& nothing) {
  if (rows.empty()) {
    print_line(nothing);
    return;
  }
  std::vector<std::size_t> widths;
  widths.reserve(headings.size());
  for (const std::string& heading : headings) widths.push_back(width_of(heading));
  for (const auto& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], width_of(printable(row[column])));
    }
  }
  const auto print = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (std::size_t column = 0; column < cells.size(); ++column) {
      const std::string cell = printable(cells[column]);
      line += cell;
      if (column + 1 < cells.size()) line.append(widths[column] - width_of(cell) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    print_line(line);
  };
  print(headings);
  for (const auto& row : rows) print(row);
}

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  if (found->is_string()) return found->get<std::string>();
  if (found->is_boolean()) return found->get<bool>() ? "yes" : "no";
  return found->dump();
}

std::string age_of(const Json& object, const char* key) {
  const auto seconds = seconds_since(object, key);
  return seconds ? duration_text(*seconds) : text_of(object, key);
}

std::optional<long long> seconds_since(const Json& object, const char* key) {
  const std::string time = text_of(object, key);
  std::tm parts{};
  if (time.empty() || ::strptime(time.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) == nullptr) {
    return std::nullopt;
  }
  const auto then = std::chrono::system_clock::from_time_t(::timegm(&parts));
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now() - then)
      .count();
}

std::string duration_text(long long seconds) {
  const auto with = [](long long count, const char* unit) {
    return std::to_string(count) + " " + unit;
  };
  if (seconds < 0) return with((-seconds + 59) / 60, "min to go");
  if (seconds < 60) return with(seconds, "s");
  if (seconds < 3600) return with(seconds / 60, "min");
  if (seconds < 172'800) return with(seconds / 3600, "h");
  return with(seconds / 86'400, "d");
}

std::string latency_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return {};
  std::array<char, 32> text{};
  (void)std::snprintf(text.data(), text.size(), "%.1f ms", found->get<double>() / 1000.0);
  return text.data();
}

Json find_in(const Json& list, const char* key, const std::string& value) {
  for (const Json& item : list) {
    if (text_of(item, key) == value) return item;
  }
  return {};
}

Json stick_of(const Json& state, const std::string& name) {
  for (const char* key : {"id", "serial", "label"}) {
    std::vector<Json> found;
    for (const Json& stick : state.at("sticks")) {
      if (text_of(stick, key) == name) found.push_back(stick);
    }
    if (found.size() == 1) return found.front();
    if (found.size() > 1) {
      throw Failure{Exit::refused, "more than one stick is called '" + name + "'",
                    "write VID:PID:SERIAL, as 'tillbridge stick list' shows it"};
    }
  }
  throw Failure{Exit::not_found, "there is no stick '" + name + "'",
                "look at the list of sticks: tillbridge stick list"};
}

}  // namespace tillbridge::cli
