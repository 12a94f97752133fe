// Reading and checking the log. Plain functions over files: any thread, also while the server
// writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/result.hpp"
#include "server/audit/audit_log.hpp"

namespace tillbridge::audit {

struct Query {
  std::string stick{}, till{};            ///< empty: any
  std::optional<Time> from{}, to{};       ///< both included
  std::optional<std::uint64_t> before{};  ///< entries with a smaller number only: the next page
  std::size_t limit = 100;                ///< at most limits::entries_per_answer
};
/// Newest first. A line that is none is left out: finding those is what verify() is for.
[[nodiscard]] Result<std::vector<Line>> read(const std::filesystem::path& folder,
                                             const Query& query);

/// One thing that is wrong.
struct Finding {
  std::uint64_t n = 0;   ///< the entry at which it shows; 0: not at an entry
  std::string file{};    ///< name without folder
  std::string what{};    ///< a sentence
  std::size_t line = 0;  ///< of the file, from 1; 0: not at a line
};

struct Report {
  std::vector<Finding> findings{};  ///< at most limits::findings
  std::uint64_t findings_more = 0;  ///< not listed
  /// Damage of the past: what was put aside at a start, since when, and how far it is in order.
  std::vector<std::string> warnings{};
  std::vector<std::string> notes{};  ///< worth knowing, but nothing wrong
  std::uint64_t first = 0, last = 0, entries = 0;
  std::uint64_t left_out = 0;   ///< in an export
  std::uint64_t signed_to = 0;  ///< the entry that the signed head proves
  std::optional<Time> signed_at{};
  std::optional<Time> damaged_at{};  ///< when the log was put aside last
  std::string key_fingerprint{};     ///< of the key that was checked against, hex
  [[nodiscard]] bool intact() const { return findings.empty(); }
};

/// As a JSON object: the fields above by their names, "intact", and times as in the log. The REST
/// interface and the command line show the same.
[[nodiscard]] std::string write_report(const Report& report);

/// The public key (PEM) that an exported file names, or that lies beside a log. Whoever changed the
/// one could change the other, so its fingerprint has to be compared with what the server shows.
[[nodiscard]] Result<std::string> key_within(const std::filesystem::path& folder_or_file);

/// Checks a log's folder, or an exported file, against a public key (PEM). `known`: a head that
/// somebody kept from earlier; a log that was written anew since does not fit it. An Error only if
/// nothing could be checked at all (nothing there, not readable, no key).
/// `ended` is asked before each line of a log: true ends the check with `unavailable`.
[[nodiscard]] Result<Report> verify(const std::filesystem::path& folder_or_file,
                                    std::string_view public_key,
                                    const std::optional<Head>& known = {},
                                    const std::function<bool()>& ended = {});

}  // namespace tillbridge::audit
