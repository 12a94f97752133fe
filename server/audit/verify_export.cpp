// Checking an exported file: everything that does not fit is told, as far as it can be told apart.

#include "server/audit/export.hpp"
#include "server/audit/follower.hpp"
#include "server/audit/log_files.hpp"
#include "server/files/private_folder.hpp"

namespace tillbridge::audit {

namespace {

// How the lines of an export begin that are no entries.
constexpr std::string_view left_out_mark = "{\"left_out\":", end_mark = "{\"end\":";

}  // namespace

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

}  // namespace tillbridge::audit
