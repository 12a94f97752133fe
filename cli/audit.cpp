// `tillbridge audit show|verify|export`: who did what to which stick, and that nobody changed the
// record of it.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/admin_session.hpp"
#include "server/audit/reading.hpp"
#include "server/audit/signing.hpp"

namespace tillbridge::cli {

namespace {

struct Words {
  std::string stick, till, from, to;
  std::uint32_t limit = 50;
  std::string output;
  std::string file, audit_key;
};

std::string query(const std::vector<std::pair<const char*, std::string>>& values) {
  std::string text;
  for (const auto& [key, value] : values) {
    if (value.empty()) continue;
    text += (text.empty() ? "?" : "&") + std::string(key) + "=" + encoded(value);
  }
  return text;
}

std::string details_of(const Json& entry) {
  std::string text = text_of(entry, "reason");
  const Json details = entry.value("details", Json::object());
  for (const auto& [key, value] : details.items()) {
    text += (text.empty() ? "" : ", ") + key + " " +
            (value.is_string() ? value.get<std::string>() : value.dump());
  }
  return text;
}

void show(AdminSession& session, const Words& words) {
  const Json answer = session.get("/audit" + query({{"stick", words.stick},
                                                    {"till", words.till},
                                                    {"from", words.from},
                                                    {"to", words.to},
                                                    {"limit", std::to_string(words.limit)}}));
  if (session.printed_as_json(answer)) return;
  std::vector<std::vector<std::string>> rows;
  for (const Json& entry : answer.at("entries")) {
    rows.insert(rows.begin(), {text_of(entry, "n"), text_of(entry, "time").substr(0, 19),
                               text_of(entry, "kind"), text_of(entry, "who"),
                               text_of(entry, "stick"), text_of(entry, "till"), details_of(entry)});
  }
  print_table({"N", "TIME (UTC)", "WHAT", "WHO", "STICK", "TILL", "WHY, AND MORE"}, rows,
              "nothing of that is in the log");
}

void print_report(const Json& report) {
  for (const Json& finding : report.at("findings")) {
    const std::string file = text_of(finding, "file");
    const auto line = finding.value("line", 0);
    print_line("! " + printable(file) + (line > 0 ? ":" + std::to_string(line) : "") +
               (file.empty() ? "" : ": ") + printable(text_of(finding, "what")));
  }
  if (const auto more = report.value("findings_more", 0); more > 0) {
    print_line("! and " + std::to_string(more) + " more");
  }
  for (const Json& warning : report.value("warnings", Json::array())) {
    print_line("warning: " + printable(warning.get<std::string>()));
  }
  for (const Json& note : report.value("notes", Json::array())) {
    print_line(printable(note.get<std::string>()));
  }
  print_line(text_of(report, "entries") + " entries" +
             (report.value("left_out", 0) > 0
                  ? " and " + text_of(report, "left_out") + " left out between them"
                  : "") +
             ", signed up to " + text_of(report, "signed_to") + " with the key " +
             text_of(report, "key_fingerprint"));
}

void verify(AdminSession& session) {
  const Json report = session.get("/audit/verify");
  const bool intact = report.value("intact", false);
  if (!session.printed_as_json(report)) print_report(report);
  if (!intact) {
    throw Failure{Exit::failed, "the audit log was changed",
                  "keep a copy of the state folder as it is, and find out who could write there"};
  }
  if (!session.options().json) print_line("intact: nothing was changed, left out or cut off");
}

// An exported file, or a copy of the log's folder: no server is asked.
void verify_offline(AdminSession& session, const Words& words) {
  const bool named = !words.audit_key.empty();
  std::string key;
  if (named) {
    std::ifstream file(words.audit_key, std::ios::binary);
    key.assign(std::istreambuf_iterator<char>(file), {});
    if (key.empty()) {
      throw Failure{Exit::usage, words.audit_key + " cannot be read",
                    "it is the file audit.pub of the server's audit log"};
    }
  } else {
    auto within = audit::key_within(words.file);
    if (!within) throw Failure{Exit::failed, within.error().message, {}};
    key = std::move(*within);
  }
  if (const auto usable = audit::PublicKey::from_pem(key); named && !usable) {
    throw Failure{Exit::usage, words.audit_key + ": " + usable.error().message, {}};
  }
  const auto report = audit::verify(words.file, key);
  if (!report) throw Failure{Exit::failed, report.error().message, {}};
  const Json document = Json::parse(audit::write_report(*report));
  if (!session.printed_as_json(document)) print_report(document);
  if (!report->intact()) {
    throw Failure{Exit::failed, words.file + " was changed",
                  "ask for another copy from the server, and check the log there: tillbridge "
                  "audit verify"};
  }
  if (session.options().json) return;
  print_line("intact: nothing was changed, left out or cut off");
  if (!named) {
    print_line(
        "The key is the one that the file itself names: compare it with what the server shows "
        "(tillbridge audit verify there), or name it with --audit-key");
  }
}

void write_export(AdminSession& session, const Words& words) {
  std::ofstream file;
  if (!words.output.empty()) {
    file.open(words.output, std::ios::binary | std::ios::trunc);
    if (!file) throw Failure{Exit::failed, words.output + " cannot be written", {}};
  }
  session.expect(session.client().stream(
      "/audit/export" + query({{"stick", words.stick},
                               {"from", words.from},
                               {"to", words.to},
                               {"reason", session.options().reason}}),
      [&](std::string_view piece) {
        if (words.output.empty()) {
          return std::fwrite(piece.data(), 1, piece.size(), stdout) == piece.size();
        }
        file.write(piece.data(), static_cast<std::streamsize>(piece.size()));
        return file.good();
      }));
  if (words.output.empty()) return;
  file.close();
  if (!file) throw Failure{Exit::failed, words.output + " cannot be written", "make room for it"};
  print_line("written: " + words.output);
}

}  // namespace

void add_audit(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options) {
  const auto words = std::make_shared<Words>();
  CLI::App* audit = app.add_subcommand("audit", "who did what, when and why");
  add_admin_options(*audit, *options, true);
  audit->require_subcommand(1);
  const auto period = [&](CLI::App* verb) {
    verb->add_option("--stick", words->stick, "about this stick");
    verb->add_option("--from", words->from, "a day (2026-11-23) or a time (2026-11-23T04:05:06Z)");
    verb->add_option("--to", words->to, "the same; a day's end");
    return verb;
  };
  CLI::App* shown = period(audit->add_subcommand("show", "the last entries"));
  shown->add_option("--till", words->till, "about this till");
  shown->add_option("--limit", words->limit, "so many at most")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  runs(*shown, chosen, options, [words](AdminSession& session) { show(session, *words); });
  CLI::App* check =
      audit->add_subcommand("verify", "whether anything was changed, left out or cut off");
  check->add_option("file", words->file,
                    "an exported file, or a copy of the log's folder; without it the server checks "
                    "its own log");
  check->add_option("--audit-key", words->audit_key,
                    "the server's audit.pub, to check the file with; without it the key that the "
                    "file names");
  runs(*check, chosen, options, [words](AdminSession& session) {
    if (words->file.empty()) {
      if (!words->audit_key.empty()) {
        throw Failure{Exit::usage, "--audit-key is for a file",
                      "name the file: tillbridge audit verify FILE --audit-key KEYFILE"};
      }
      return verify(session);
    }
    verify_offline(session, *words);
  });
  CLI::App* file = period(audit->add_subcommand("export", "a file that an auditor can check"));
  file->add_option("-o,--output", words->output, "where to; without it to the terminal");
  runs(*file, chosen, options, [words](AdminSession& session) { write_export(session, *words); });
}

}  // namespace tillbridge::cli
