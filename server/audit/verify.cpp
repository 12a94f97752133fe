// Checking a log or an exported file: everything that does not fit is told, as far as it can be
// told apart.

#include <algorithm>
#include <filesystem>
#include <functional>
#include <system_error>
#include <utility>

#include "server/audit/export.hpp"
#include "server/audit/line.hpp"
#include "server/audit/log_files.hpp"
#include "server/audit/reading.hpp"
#include "server/audit/signing.hpp"
#include "server/files/private_folder.hpp"

namespace tillbridge::audit {

namespace {

// How the lines of an export begin that are no entries.
constexpr std::string_view left_out_mark = "{\"left_out\":", end_mark = "{\"end\":";

std::string entry_name(std::uint64_t n) {
  return "entry " + std::to_string(n);
}

std::string range_name(std::uint64_t first, std::uint64_t last) {
  return first == last
             ? "Entry " + std::to_string(first) + " is"
             : "Entries " + std::to_string(first) + " to " + std::to_string(last) + " are";
}

/// Follows a chain, entry by entry, and says where it breaks.
class Follower {
 public:
  explicit Follower(Report& report) : report_(report) {}

  void find(std::uint64_t n, const std::string& file, std::string what) {
    if (report_.findings.size() < limits::findings) {
      report_.findings.push_back({n, file, std::move(what), line_});
    } else {
      ++report_.findings_more;
    }
  }

  /// The line that what follows is about; 0: none.
  void look_at_line(std::size_t line) { line_ = line; }
  /// Where the chain must begin.
  void expect(std::uint64_t n, std::string hash) {
    next_ = n;
    hash_ = std::move(hash);
    meet(n - 1);
  }
  /// A head that must be met.
  void await(const Head& head, std::string name) {
    heads_.push_back({head, std::move(name), false});
  }

  [[nodiscard]] bool met(const Head& head) const {
    return std::any_of(heads_.begin(), heads_.end(),
                       [&](const Awaited& awaited) { return awaited.met && awaited.head == head; });
  }

  /// False: it is none.
  bool entry(const std::string& file, std::string_view text) {
    const auto line = parse_line(text);
    if (!line) {
      find(next_, file,
           "What stands in the place of " + entry_name(next_) +
               " is no entry: " + line.error().message + ". It was changed, or put there.");
      // Whatever it was, the chain is known again only from the next entry on.
      hash_.clear();
      unknown_ = true;
      return false;
    }
    const auto link = link_of(text);
    place(file, link->n);
    if (!hash_.empty() && link->prev != hash_ && link->n == next_) {
      find(link->n, file,
           "The chain breaks between " + entry_name(link->n - 1) + " and " + entry_name(link->n) +
               ": one of them was changed.");
    }
    take(link->n, link->hash());
    ++report_.entries;
    if (report_.first == 0) report_.first = link->n;
    report_.last = std::max(report_.last, link->n);
    last_line_ = *line;
    if (report_.findings.empty()) last_in_order_ = *line;
    return true;
  }

  void left_out(const std::string& file, std::uint64_t n, const std::string& digest) {
    place(file, n);
    take(n, hash_.empty() ? std::string() : chain(hash_, digest));
    ++report_.left_out;
    report_.last = std::max(report_.last, n);
  }

  void finish(const std::string& file) {
    line_ = 0;
    for (const Awaited& awaited : heads_) {
      if (awaited.met || awaited.head.n == 0) continue;
      const std::uint64_t last = next_ - 1;
      if (awaited.head.n > last) {
        find(last, file,
             range_name(last + 1, awaited.head.n) + " missing at the end: " + awaited.name +
                 " knows " + std::to_string(awaited.head.n) + " entries. The end was cut off.");
      } else {
        find(awaited.head.n, file,
             entry_name(awaited.head.n) + " is not the one that " + awaited.name +
                 " was signed for: it or one before it was "
                 "changed or is not here.");
      }
    }
  }

  [[nodiscard]] std::uint64_t next() const noexcept { return next_; }
  [[nodiscard]] bool ends_in(const std::string& hash) const { return hash_ == hash; }
  [[nodiscard]] const std::optional<Line>& last_line() const noexcept { return last_line_; }
  /// Everything up to this one fits.
  [[nodiscard]] const std::optional<Line>& last_in_order() const noexcept { return last_in_order_; }

 private:
  struct Awaited {
    Head head;
    std::string name;
    bool met = false;
  };

  // The number is the one that is due, or what its being another one means.
  void place(const std::string& file, std::uint64_t n) {
    if (n == next_) return;
    if (unknown_ && n == next_ + 1) {
      next_ = n;
    } else if (n > next_) {
      find(n, file, range_name(next_, n - 1) + " missing before " + entry_name(n) + ".");
    } else {
      find(n, file,
           entry_name(n) + " stands where " + entry_name(next_) +
               " is due: it was repeated or moved.");
    }
    hash_.clear();
  }

  void take(std::uint64_t n, std::string hash) {
    next_ = n + 1;
    hash_ = std::move(hash);
    unknown_ = false;
    meet(n);
  }

  void meet(std::uint64_t n) {
    for (Awaited& awaited : heads_) {
      if (awaited.head.n == n && awaited.head.hash == hash_) awaited.met = true;
    }
  }

  Report& report_;
  std::uint64_t next_ = 1;
  std::string hash_;      // the chain after the last entry; empty: not known
  bool unknown_ = false;  // the last line was no entry
  std::size_t line_ = 0;
  std::vector<Awaited> heads_;
  std::optional<Line> last_line_, last_in_order_;
};

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

using Ended = std::function<bool()>;

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

Error no_export(const std::filesystem::path& path, std::string_view content) {
  const std::string_view first_line = content.substr(0, content.find('\n'));
  if (link_of(first_line)) {
    return fail(ErrorCode::malformed,
                path.string() +
                    " is one file of a log; what proves it lies beside it. Copy the whole folder "
                    "(audit*.jsonl, head.json, audit.pub) and name that.");
  }
  return fail(ErrorCode::malformed, path.string() + " is no file that tillbridge exported.");
}

Result<Report> verify_export(const std::filesystem::path& path, const PublicKey& key,
                             const std::optional<Head>& known) {
  const auto content = files::read_file(path, limits::export_file_bytes);
  if (!content) return content.error();
  const std::string file = path.filename().string();
  Report report;
  report.key_fingerprint = key.fingerprint();
  Follower follower(report);
  std::optional<ExportStart> start;
  std::optional<ExportEnd> end;
  std::size_t end_at = 0, line_number = 0;
  for_each_line(*content, [&](std::string_view text, std::size_t at, bool complete) {
    follower.look_at_line(++line_number);
    if (!complete) follower.find(0, file, "The last line has no end: the file was cut.");
    if (end) {
      follower.find(0, file, "Something stands behind the file's end.");
      return false;
    }
    if (!start && !text.empty() && text.front() == '#') return true;
    if (!start) {
      start = parse_export_start(text);
      if (!start) return false;
      follower.expect(start->first, start->before);
      return true;
    }
    if (text.rfind(left_out_mark, 0) == 0) {
      const auto left_out = parse_left_out(text);
      if (!left_out) {
        follower.find(follower.next(), file,
                      "What was left out here is not written as it should be.");
        follower.expect(follower.next(), {});
        return true;
      }
      std::uint64_t n = left_out->first;
      for (const std::string& digest : left_out->digests) follower.left_out(file, n++, digest);
      return true;
    }
    if (text.rfind(end_mark, 0) == 0) end = parse_export_end(text);
    end_at = at;
    if (!end) {
      const bool is_entry = follower.entry(file, text);
      const auto& line = follower.last_line();
      if (is_entry && !start->selection.stick.empty() &&
          !concerns(line->entry, start->selection.stick)) {
        follower.find(line->n, file, entry_name(line->n) + " is about something else.");
      }
    }
    return true;
  });
  if (!start) return no_export(path, *content);
  follower.look_at_line(0);
  if (start->public_key != key.pem()) {
    follower.find(0, file, "The file was signed by another server than the one whose key this is.");
  }
  if (report.entries != start->entries || report.left_out != start->left_out) {
    follower.find(0, file,
                  "The file speaks of " + std::to_string(start->entries) + " entries and " +
                      std::to_string(start->left_out) + " left out; here are " +
                      std::to_string(report.entries) + " and " + std::to_string(report.left_out) +
                      ".");
  }
  if (!end) {
    follower.find(0, file, "The file's end is not there: it was cut off, or changed.");
    return report;
  }
  if (!key.verifies(signed_text(end->head), end->head.signature)) {
    follower.find(end->head.n, file, "The signature of the chain's end is wrong.");
  } else {
    report.signed_to = end->head.n;
    report.signed_at = end->head.time;
  }
  if (known && known->n == end->head.n && known->hash != end->head.hash) {
    follower.find(known->n, file, "The head that was kept from earlier is another one.");
  }
  if (start->first != 0 &&
      (follower.next() - 1 != end->head.n || follower.next() - 1 != start->last)) {
    follower.find(follower.next() - 1, file, "The entries end elsewhere than the file says.");
  } else if (start->first != 0 && !follower.ends_in(end->head.hash)) {
    follower.find(end->head.n, file, "The chain of the entries does not lead to the signed end.");
  }
  if (sha256(std::string_view(*content).substr(0, end_at)) != end->digest ||
      !key.verifies(signed_text(*end), end->signature)) {
    follower.find(0, file,
                  "The file as a whole is not as it was signed: a line, the part for reading "
                  "or the signature was changed.");
  }
  return report;
}

}  // namespace

Result<std::string> key_within(const std::filesystem::path& folder_or_file) {
  std::error_code error;
  if (std::filesystem::is_directory(folder_or_file, error)) {
    return files::read_file(folder_or_file / public_key_name, key_file_bytes);
  }
  const auto content = files::read_file(folder_or_file, limits::export_file_bytes);
  if (!content) return content.error();
  std::optional<ExportStart> start;
  for_each_line(*content, [&](std::string_view text, std::size_t, bool) {
    if (!text.empty() && text.front() == '#') return true;
    start = parse_export_start(text);
    return false;
  });
  if (!start) return no_export(folder_or_file, *content);
  return start->public_key;
}

Result<Report> verify(const std::filesystem::path& folder_or_file, std::string_view public_key,
                      const std::optional<Head>& known, const Ended& ended) {
  const auto key = PublicKey::from_pem(public_key);
  if (!key) return key.error();
  std::error_code error;
  const bool folder = std::filesystem::is_directory(folder_or_file, error);
  return folder ? verify_folder(folder_or_file, *key, known, ended)
                : verify_export(folder_or_file, *key, known);
}

}  // namespace tillbridge::audit
