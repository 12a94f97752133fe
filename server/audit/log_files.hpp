// The files of a log, in order, and what is in them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/result.hpp"

namespace tillbridge::audit {

inline constexpr const char* current_name = "audit.jsonl";
inline constexpr const char* head_name = "head.json";
inline constexpr const char* key_name = "audit.key";
inline constexpr const char* public_key_name = "audit.pub";
inline constexpr const char* damaged_prefix = "damaged-";
inline constexpr std::size_t head_file_bytes = 4096, key_file_bytes = 4096;

/// "audit-000000000042.jsonl"
[[nodiscard]] std::string older_name(std::uint64_t first);
/// The number in such a name.
[[nodiscard]] std::optional<std::uint64_t> first_in_name(std::string_view name);

struct LogFiles {
  std::vector<std::string> older;  ///< names, oldest first
  bool current = false;            ///< audit.jsonl is there
  [[nodiscard]] std::vector<std::string> all() const;
  bool operator==(const LogFiles&) const = default;
};
[[nodiscard]] Result<LogFiles> list_log_files(const std::filesystem::path& folder);

/// The lines of a file's content; the last one may lack its end-of-line. `line` gets each without
/// it, and where it begins; false ends the walk.
void for_each_line(
    std::string_view content,
    const std::function<bool(std::string_view line, std::size_t start, bool complete)>& line);

}  // namespace tillbridge::audit
