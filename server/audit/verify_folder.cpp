// Checking a log's folder, and what was put aside there when it was found damaged.

#include <algorithm>
#include <system_error>
#include <utility>

#include "server/audit/follower.hpp"
#include "server/audit/log_files.hpp"
#include "server/files/private_folder.hpp"

namespace tillbridge::audit {

namespace {

/// False: it is about entries before `begin`, which must be looked for elsewhere.
bool await_known_head(Follower& follower, const std::optional<Head>& known, const PublicKey& key,
                      std::uint64_t begin) {
  if (!known) return true;
  if (!key.verifies(signed_text(*known), known->signature)) {
    follower.find(known->n, {}, "The head that was kept from earlier is not signed with this key.");
    return true;
  }
  if (known->n + 1 < begin) return false;
  follower.await(*known, "the head that was kept from earlier");
  return true;
}

void note(Report& report, std::string what) {
  if (report.notes.size() < limits::findings) report.notes.push_back(std::move(what));
}

void note_entry(Report& report, const Line& line) {
  if (line.entry.kind == Kind::log_cut) {
    note(report, entry_name(line.n) + ": after a crash a half-written line was removed.");
  } else if (line.entry.kind == Kind::log_damaged) {
    note(report, entry_name(line.n) + ": " + line.entry.reason);
  }
}

/// One folder of log files, followed from its first entry to its last.
struct Part {
  Report report{};
  std::optional<Line> begins{};         // its first entry
  std::optional<Line> last_in_order{};  // everything up to this one fits
  bool leads_to_known = true;           // false: that head is about entries before this part
  bool meets_known = false;
};

/// The folder that a log was put aside into before this entry was written.
std::string put_aside_before(const std::optional<Line>& line) {
  if (!line || line->entry.kind != Kind::log_damaged) return {};
  for (const auto& [field, value] : line->entry.details) {
    const auto* const name = std::get_if<std::string>(&value);
    if (field == Field::file && name != nullptr) return *name;
  }
  return {};
}

// A log that was put aside goes on behind its last signed entry, and its first entry says so: that
// one is chained and signed like all others, so it may stand at the beginning. Nothing else may.
// Gives the number of the entry that is due first.
std::uint64_t look_at_beginning(Part& part, std::string_view content) {
  for_each_line(content, [&](std::string_view text, std::size_t, bool) {
    if (const auto line = parse_line(text)) part.begins = *line;
    return false;
  });
  const bool anew = part.begins && part.begins->entry.kind == Kind::log_damaged;
  return anew ? part.begins->n : 1;
}

// Nothing: the files changed their names meanwhile.
Result<std::optional<Part>> follow_folder(const std::filesystem::path& folder, const PublicKey& key,
                                          const std::optional<Head>& known, const Ended& ended) {
  Part part;
  Report& report = part.report;
  report.key_fingerprint = key.fingerprint();
  Follower follower(report);

  // The head first, so that what is read after it holds at least what it speaks of.
  const auto head_text = files::read_file(folder / head_name, head_file_bytes);
  const auto found = list_log_files(folder);
  if (!found) return found.error();
  if (!head_text && found->all().empty()) {
    return fail(ErrorCode::unavailable, folder.string() + " holds no audit log.");
  }
  const auto head = head_text ? parse_head(*head_text) : std::nullopt;
  if (!head_text) {
    follower.find(0, head_name,
                  "The signed head is not there: nobody can tell whether the end is.");
  } else if (!head) {
    follower.find(0, head_name, "The signed head was changed: it is not written as one.");
  } else if (!key.verifies(signed_text(*head), head->signature)) {
    follower.find(head->n, head_name, "The signed head was changed, or signed with another key.");
  } else {
    follower.await(*head, "the signed head");
    report.signed_to = head->n;
    report.signed_at = head->time;
  }

  std::string last_name = current_name;
  if (found->all().empty()) (void)await_known_head(follower, known, key, 1);
  for (const std::string& name : found->all()) {
    const auto content = files::read_file(folder / name, limits::read_file_bytes);
    if (!content && content.error().code == ErrorCode::unavailable) return std::optional<Part>();
    if (!content) return content.error();
    if (name == found->all().front()) {
      const std::uint64_t begin = look_at_beginning(part, *content);
      part.leads_to_known = await_known_head(follower, known, key, begin);
      follower.expect(begin, part.begins && begin > 1 ? part.begins->prev : chain_start());
    }
    last_name = name;
    follower.look_at_line(0);
    const auto first = first_in_name(name);
    if (first && *first != follower.next()) {
      follower.find(*first, name,
                    *first > follower.next()
                        ? range_name(follower.next(), *first - 1) + " missing: a file is not here."
                        : "The file's name does not fit its place.");
      follower.expect(*first, {});
    }
    const bool current = name == current_name;
    std::size_t line = 0;
    bool given_up = false;
    for_each_line(*content, [&](std::string_view text, std::size_t, bool complete) {
      given_up = ended && ended();
      if (given_up) return false;
      follower.look_at_line(++line);
      const bool behind_head = head && follower.next() > head->n;
      if (!complete && current && behind_head) {
        note(report,
             "The last line is not finished: it is being written now, or a crash "
             "left it. It never counted.");
        return false;
      }
      if (!complete) {
        follower.find(follower.next(), name, "The last line has no end: it was cut.");
      }
      const bool is_entry = follower.entry(name, text);
      if (is_entry) note_entry(report, *follower.last_line());
      return true;
    });
    if (given_up) return fail(ErrorCode::unavailable, "The check was ended before its time.");
  }
  follower.finish(last_name);
  part.last_in_order = follower.last_in_order();
  part.meets_known = known && part.leads_to_known && follower.met(*known);
  if (head && report.last > head->n) {
    note(report,
         range_name(head->n + 1, report.last) + " not signed yet: the next signature covers them.");
  }
  const auto after = list_log_files(folder);
  if (!after) return after.error();
  return *after == *found ? std::optional<Part>(std::move(part)) : std::nullopt;
}

void add(Report& report, Finding finding) {
  if (report.findings.size() < limits::findings) {
    report.findings.push_back(std::move(finding));
  } else {
    ++report.findings_more;
  }
}

// The entries before an entry `log_damaged` are in the folder that it names: who takes that away
// has taken entries away.
void look_for_what_was_put_aside(const std::filesystem::path& folder, const Part& part,
                                 const std::string& file, Report& report) {
  const std::string name = put_aside_before(part.begins);
  std::error_code ignored;
  if (name.empty() || (name.rfind(damaged_prefix, 0) == 0 && name.find('/') == std::string::npos &&
                       std::filesystem::is_directory(folder / name, ignored))) {
    return;
  }
  add(report,
      Finding{part.begins->n, file,
              "What was put aside into " + name + " when the log was found changed is not here.",
              0});
}

std::string place_of(const Finding& finding) {
  if (finding.file.empty()) return {};
  return " (" + finding.file + (finding.line == 0 ? "" : ", line " + std::to_string(finding.line)) +
         ")";
}

/// What is wrong in a log that was put aside, in one sentence for the person who checks.
std::string warning_of(const std::string& name, const Part& part) {
  std::string text = name + " holds what was there when the log was found changed at that time";
  if (part.report.findings.empty()) {
    text += "; its entries are in order";
  } else {
    const Finding& first = part.report.findings.front();
    text += ". " + first.what + place_of(first);
    const std::size_t more = part.report.findings.size() - 1 + part.report.findings_more;
    if (more > 0) text += " And " + std::to_string(more) + " more.";
  }
  if (part.last_in_order) {
    text += " It is in order up to " + entry_name(part.last_in_order->n) + " of " +
            time_text(part.last_in_order->time) + ".";
  }
  return text;
}

/// True: the head that somebody kept is met in one of these.
bool look_at_what_was_put_aside(const std::filesystem::path& folder, const PublicKey& key,
                                const std::optional<Head>& known, const Ended& ended,
                                Report& report) {
  bool met = false;
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(damaged_prefix, 0) == 0) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (report.warnings.size() >= limits::findings) break;
    // With its own key if that was put aside as well.
    const auto own = files::read_file(folder / name / public_key_name, key_file_bytes);
    const auto own_key = own ? PublicKey::from_pem(*own) : Result<PublicKey>(own.error());
    const auto part = follow_folder(folder / name, own_key ? *own_key : key, known, ended);
    if (!part || !*part) {
      report.warnings.push_back(name +
                                " holds what was there when the log was found changed at "
                                "that time, and no log that can be read.");
      continue;
    }
    report.warnings.push_back(warning_of(name, **part));
    look_for_what_was_put_aside(folder, **part, name, report);
    met = met || (*part)->meets_known;
  }
  return met;
}

Result<std::optional<Report>> try_folder(const std::filesystem::path& folder, const PublicKey& key,
                                         const std::optional<Head>& known, const Ended& ended) {
  auto part = follow_folder(folder, key, known, ended);
  if (!part) return part.error();
  if (!*part) return std::optional<Report>();
  Report& report = (*part)->report;
  const auto shown = files::read_file(folder / public_key_name, key_file_bytes);
  if (!shown || *shown != key.pem()) {
    add(report, Finding{0, public_key_name,
                        "The public key beside the log is not the one to check with.", 0});
  }
  if (!put_aside_before((*part)->begins).empty()) report.damaged_at = (*part)->begins->time;
  look_for_what_was_put_aside(folder, **part, current_name, report);
  const bool met = look_at_what_was_put_aside(folder, key, known, ended, report);
  if (!(*part)->leads_to_known && !met) {
    add(report,
        Finding{known->n,
                {},
                "The head that was kept from earlier is about entries that were put aside, and "
                "does not fit those either.",
                0});
  }
  return std::optional<Report>(std::move(report));
}

}  // namespace

Result<Report> verify_folder(const std::filesystem::path& folder, const PublicKey& key,
                             const std::optional<Head>& known, const Ended& ended) {
  // A file that is put away while we look would be missed or seen twice.
  for (int attempt = 0; attempt < 5; ++attempt) {
    auto report = try_folder(folder, key, known, ended);
    if (!report) return report.error();
    if (*report) return std::move(**report);
  }
  return fail(ErrorCode::unavailable, "The log changes too fast to be checked. Try again.");
}

}  // namespace tillbridge::audit
