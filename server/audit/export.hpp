// How an exported file begins and ends; FORMAT.md has the whole. Shared by writing and checking.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/audit/audit_log.hpp"

namespace tillbridge::audit {

inline constexpr std::string_view export_name = "tillbridge audit export 1";

/// The first JSON line.
struct ExportStart {
  Selection selection{};
  Time made{};
  std::uint64_t first = 0, last = 0;  ///< the chain's part; 0: no entry is in the period
  std::uint64_t entries = 0, left_out = 0;
  std::string before{};  ///< the chain before `first`
  std::string public_key{};
};
[[nodiscard]] std::string write_export_start(const ExportStart& start);
[[nodiscard]] std::optional<ExportStart> parse_export_start(std::string_view line);

/// Digests of entries that follow each other and were left out.
struct LeftOut {
  std::uint64_t first = 0;
  std::vector<std::string> digests{};
};
[[nodiscard]] std::string write_left_out(const LeftOut& left_out);
[[nodiscard]] std::optional<LeftOut> parse_left_out(std::string_view line);

/// The last line: where the chain stands after `last`, and the whole file.
struct ExportEnd {
  Head head{};
  std::string digest{};  ///< of all bytes before this line
  std::string signature{};
};
[[nodiscard]] std::string write_export_end(const ExportEnd& end);
[[nodiscard]] std::optional<ExportEnd> parse_export_end(std::string_view line);
/// What the signature over the file is made over.
[[nodiscard]] std::string signed_text(const ExportEnd& end);

/// The entry is about the stick, also if it only names it as the one before.
[[nodiscard]] bool concerns(const Entry& entry, const std::string& stick);

}  // namespace tillbridge::audit
