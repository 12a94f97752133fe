#include "server/audit/export.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>
#include <openssl/evp.h>

#include "server/audit/audit_log_impl.hpp"
#include "server/audit/line.hpp"
#include "server/audit/log_files.hpp"

namespace tillbridge::audit {

namespace {

using nlohmann::ordered_json;

ordered_json parse(std::string_view line) {
  if (line.size() > limits::line_bytes) return ordered_json::value_t::discarded;
  return ordered_json::parse(line.begin(), line.end(), nullptr, false);
}

std::optional<std::string> text_in(const ordered_json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

std::optional<std::uint64_t> number_in(const ordered_json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<std::uint64_t>();
}

std::optional<Time> time_in(const ordered_json& json, const char* name) {
  const auto text = text_in(json, name);
  return text ? parse_time(*text) : std::nullopt;
}

bool in_period(const Line& line, const Selection& selection) {
  return line.time >= selection.from && line.time <= selection.to;
}

bool is_chosen(const Line& line, const Selection& selection) {
  return in_period(line, selection) &&
         (selection.stick.empty() || concerns(line.entry, selection.stick));
}

/// Counts what goes through to the real sink into a hash.
class HashingSink {
 public:
  explicit HashingSink(const Sink& sink) : sink_(sink), context_(EVP_MD_CTX_new()) {
    EVP_DigestInit_ex(context_, EVP_sha256(), nullptr);
  }
  ~HashingSink() { EVP_MD_CTX_free(context_); }
  HashingSink(const HashingSink&) = delete;
  HashingSink& operator=(const HashingSink&) = delete;
  HashingSink(HashingSink&&) = delete;
  HashingSink& operator=(HashingSink&&) = delete;

  [[nodiscard]] Status write(const std::string& line) {
    const std::string text = line + "\n";
    EVP_DigestUpdate(context_, text.data(), text.size());
    return sink_(text);
  }
  /// Of all that was written.
  [[nodiscard]] std::string digest() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
    unsigned size = 0;
    EVP_DigestFinal_ex(context_, raw.data(), &size);
    std::string hex;
    constexpr std::string_view digits = "0123456789abcdef";
    for (unsigned i = 0; i < size; ++i) {
      hex += digits[raw.at(i) >> 4U];
      hex += digits[raw.at(i) & 15U];
    }
    return hex;
  }

 private:
  const Sink& sink_;
  EVP_MD_CTX* context_;
};

std::vector<std::string> preface(const ExportStart& start, const std::string& fingerprint) {
  const Selection& asked = start.selection;
  return {
      "# tillbridge: what happened to " +
          (asked.stick.empty() ? std::string("all sticks") : "stick " + clean(asked.stick)),
      "# from " + time_text(asked.from) + " to " + time_text(asked.to) + ", written " +
          time_text(start.made),
      "# entries: " + std::to_string(start.entries) +
          "; left out in between, about other things: " + std::to_string(start.left_out),
      "#",
      "# Lines that begin with # are for reading; below them stand the same entries as JSON with "
      "what",
      "# proves them: each is chained to the one before, the end and this file are signed by the",
      "# server's audit key " + fingerprint,
      "# Check it with: tillbridge audit verify FILE",
      "#"};
}

}  // namespace

bool concerns(const Entry& entry, const std::string& stick) {
  return entry.stick == stick ||
         std::any_of(entry.details.begin(), entry.details.end(), [&](const auto& detail) {
           const auto* const text = std::get_if<std::string>(&detail.second);
           return detail.first == Field::stick_before && text != nullptr && *text == stick;
         });
}

std::string write_export_start(const ExportStart& start) {
  ordered_json json;
  json["export"] = export_name;
  json["stick"] = clean(start.selection.stick);
  json["from"] = time_text(start.selection.from);
  json["to"] = time_text(start.selection.to);
  json["made"] = time_text(start.made);
  json["first"] = start.first;
  json["last"] = start.last;
  json["entries"] = start.entries;
  json["left_out"] = start.left_out;
  json["before"] = start.before;
  json["public_key"] = start.public_key;
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::optional<ExportStart> parse_export_start(std::string_view line) {
  const ordered_json json = parse(line);
  if (!json.is_object() || text_in(json, "export") != export_name) return std::nullopt;
  const auto stick = text_in(json, "stick"), before = text_in(json, "before"),
             public_key = text_in(json, "public_key");
  const auto from = time_in(json, "from"), to = time_in(json, "to"), made = time_in(json, "made");
  const auto first = number_in(json, "first"), last = number_in(json, "last"),
             entries = number_in(json, "entries"), left_out = number_in(json, "left_out");
  if (!stick || !before || !public_key || !from || !to || !made || !first || !last || !entries ||
      !left_out || !is_hex(*before, 64)) {
    return std::nullopt;
  }
  ExportStart start{{*stick, *from, *to}, *made, *first, *last, *entries, *left_out, *before,
                    *public_key};
  if (write_export_start(start) != line) return std::nullopt;
  return start;
}

std::string write_left_out(const LeftOut& left_out) {
  ordered_json json;
  json["left_out"] = left_out.first;
  json["digests"] = left_out.digests;
  return json.dump();
}

std::optional<LeftOut> parse_left_out(std::string_view line) {
  const ordered_json json = parse(line);
  if (!json.is_object()) return std::nullopt;
  const auto first = number_in(json, "left_out");
  const auto digests = json.find("digests");
  if (!first || digests == json.end() || !digests->is_array()) return std::nullopt;
  LeftOut left_out{*first, {}};
  for (const auto& digest : *digests) {
    if (!digest.is_string() || !is_hex(digest.get_ref<const std::string&>(), 64))
      return std::nullopt;
    left_out.digests.push_back(digest.get<std::string>());
  }
  if (left_out.digests.size() > limits::digests_per_line || write_left_out(left_out) != line) {
    return std::nullopt;
  }
  return left_out;
}

std::string write_export_end(const ExportEnd& end) {
  ordered_json json;
  json["end"] = end.head.n;
  json["hash"] = end.head.hash;
  json["time"] = time_text(end.head.time);
  json["head_signature"] = end.head.signature;
  json["file"] = end.digest;
  json["file_signature"] = end.signature;
  return json.dump();
}

std::optional<ExportEnd> parse_export_end(std::string_view line) {
  const ordered_json json = parse(line);
  if (!json.is_object()) return std::nullopt;
  const auto n = number_in(json, "end");
  const auto hash = text_in(json, "hash"), head_signature = text_in(json, "head_signature"),
             file = text_in(json, "file"), file_signature = text_in(json, "file_signature");
  const auto time = time_in(json, "time");
  if (!n || !hash || !head_signature || !file || !file_signature || !time) return std::nullopt;
  for (const auto& hex : {hash, head_signature, file, file_signature}) {
    if (!is_hex(*hex, hex->size())) return std::nullopt;
  }
  ExportEnd end{{*n, *hash, *time, *head_signature}, *file, *file_signature};
  if (write_export_end(end) != line) return std::nullopt;
  return end;
}

std::string signed_text(const ExportEnd& end) {
  return std::string(export_name) + "\n" + end.digest + "\n" + std::to_string(end.head.n) + "\n" +
         end.head.hash + "\n" + time_text(end.head.time) + "\n";
}

Snapshot AuditLog::snapshot() const {
  Snapshot snapshot;
  snapshot.folder_ = folder();
  snapshot.key_ = impl_->key;
  snapshot.last_ = impl_->durable_n;
  snapshot.current_first_ = impl_->file_month_known ? impl_->file_first : impl_->durable_n + 1;
  return snapshot;
}

// Up to the last entry of that time, in order. What cannot be read as an entry is an error, since a
// file that is exported is to prove something.
Status Snapshot::each_entry(
    const std::function<Status(std::string_view, const Line&)>& entry) const {
  const auto found = list_log_files(folder_);
  if (!found) return found.error();
  const auto changed = [](const std::string& what) {
    return fail(ErrorCode::malformed,
                "The audit log was changed: " + what + " Run: tillbridge audit verify");
  };
  std::uint64_t seen = 0;
  const auto each_of = [&](const std::string& name, const std::string& content) {
    Status status;
    for_each_line(content, [&](std::string_view text, std::size_t, bool) {
      const auto line = parse_line(text);
      if (!line) {
        status = changed(line.error().message + " (" + name + ").");
      } else {
        seen = line->n;
        status = entry(text, *line);
      }
      return status.ok() && seen < last_;
    });
    return status;
  };
  for (const std::string& name : found->older) {
    if (first_in_name(name) >= current_first_ || seen >= last_) break;
    const auto content = files::read_file(folder_ / name, limits::read_file_bytes);
    if (!content) return content.error();
    if (Status status = each_of(name, *content); !status) return status;
  }
  if (seen < last_) {
    // The file that was the current one may have been put away since, or be put away now: if it has
    // no name of its own after it was read, it was still the right one.
    auto content = files::read_file(folder_ / current_name, limits::read_file_bytes);
    const std::string put_away = older_name(current_first_);
    const auto moved = files::read_file(folder_ / put_away, limits::read_file_bytes);
    if (moved || moved.error().code != ErrorCode::unavailable) content = moved;
    if (!content) return content.error();
    if (Status status = each_of(moved ? put_away : current_name, *content); !status) return status;
  }
  if (seen != last_) return changed(std::to_string(last_) + " is not its last entry any more.");
  return {};
}

// Three walks over the log instead of one that would have to keep all of it.
Status Snapshot::write_export(const Selection& selection, Time now, const Sink& sink) const {
  const PublicKey& public_key = key_->public_key();
  ExportStart start{
      .selection = selection, .made = now, .before = chain_start(), .public_key = public_key.pem()};
  const auto is_within = [&](const Line& line) {
    return start.first != 0 && line.n >= start.first && line.n <= start.last;
  };
  // The clock may have been set back, so the period is the part between its first and last entry.
  Status status = each_entry([&](std::string_view, const Line& line) {
    if (!in_period(line, selection)) return Status();
    if (start.first == 0) {
      start.first = line.n;
      start.before = line.prev;
    }
    start.last = line.n;
    if (is_chosen(line, selection)) ++start.entries;
    return Status();
  });
  if (!status) return status;
  if (start.first != 0) start.left_out = start.last - start.first + 1 - start.entries;

  HashingSink out(sink);
  for (const std::string& line : preface(start, public_key.fingerprint())) {
    if (status = out.write(line); !status) return status;
  }
  status = each_entry([&](std::string_view, const Line& line) {
    if (!is_within(line) || !is_chosen(line, selection)) return Status();
    return out.write("# " + describe(line));
  });
  if (!status) return status;
  if (status = out.write(write_export_start(start)); !status) return status;

  std::string hash = start.before;
  LeftOut left_out;
  const auto write_what_was_left_out = [&] {
    if (left_out.digests.empty()) return Status();
    return out.write(write_left_out(std::exchange(left_out, {})));
  };
  status = each_entry([&](std::string_view text, const Line& line) {
    if (!is_within(line)) return Status();
    const auto link = link_of(text);
    if (!link || link->prev != hash) {
      return Status(fail(ErrorCode::malformed, "The audit log was changed before entry " +
                                                   std::to_string(line.n) +
                                                   ". Run: tillbridge audit verify"));
    }
    hash = link->hash();
    if (is_chosen(line, selection)) {
      if (Status written = write_what_was_left_out(); !written) return written;
      return out.write(std::string(text));
    }
    if (left_out.digests.empty()) left_out.first = line.n;
    left_out.digests.push_back(link->digest);
    return left_out.digests.size() < limits::digests_per_line ? Status()
                                                              : write_what_was_left_out();
  });
  if (status) status = write_what_was_left_out();
  if (!status) return status;

  ExportEnd end;
  end.head = {start.last, hash, std::chrono::floor<std::chrono::microseconds>(now), {}};
  end.digest = out.digest();
  auto head_signature = key_->sign(signed_text(end.head));
  if (!head_signature) return head_signature.error();
  end.head.signature = std::move(*head_signature);
  auto signature = key_->sign(signed_text(end));
  if (!signature) return signature.error();
  end.signature = std::move(*signature);
  return sink(write_export_end(end) + "\n");
}

}  // namespace tillbridge::audit
