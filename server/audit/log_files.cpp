#include "server/audit/log_files.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <system_error>

#include "server/files/private_folder.hpp"

namespace tillbridge::audit {

namespace {
constexpr std::string_view older_prefix = "audit-", older_suffix = ".jsonl";
constexpr std::size_t number_digits = 12;
}  // namespace

std::string older_name(std::uint64_t first) {
  std::array<char, 48> name{};
  (void)std::snprintf(name.data(), name.size(), "audit-%012llu.jsonl",
                      static_cast<unsigned long long>(first));
  return name.data();
}

std::optional<std::uint64_t> first_in_name(std::string_view name) {
  if (name.size() < older_prefix.size() + number_digits + older_suffix.size()) return std::nullopt;
  std::uint64_t first = 0;
  const char* const start = name.data() + older_prefix.size();
  const char* const stop = name.data() + name.size() - older_suffix.size();
  const auto [end, error] = std::from_chars(start, stop, first);
  if (error != std::errc() || end != stop || older_name(first) != name) return std::nullopt;
  return first;
}

std::vector<std::string> LogFiles::all() const {
  std::vector<std::string> names = older;
  if (current) names.emplace_back(current_name);
  return names;
}

Result<LogFiles> list_log_files(const std::filesystem::path& folder) {
  LogFiles found;
  std::vector<std::pair<std::uint64_t, std::string>> older;
  std::error_code error;
  std::filesystem::directory_iterator walk(folder, error);
  for (; !error && walk != std::filesystem::directory_iterator(); walk.increment(error)) {
    const std::string name = walk->path().filename().string();
    if (name == current_name) found.current = true;
    if (const auto first = first_in_name(name)) older.emplace_back(*first, name);
  }
  if (error) return files::system_error(folder.string() + " cannot be read", error.value());
  std::sort(older.begin(), older.end());
  for (auto& [first, name] : older) found.older.push_back(std::move(name));
  return found;
}

void for_each_line(std::string_view content,
                   const std::function<bool(std::string_view, std::size_t, bool)>& line) {
  for (std::size_t start = 0; start < content.size();) {
    const std::size_t end = content.find('\n', start);
    const bool complete = end != std::string_view::npos;
    const std::size_t stop = complete ? end : content.size();
    if (!line(content.substr(start, stop - start), start, complete)) return;
    start = stop + 1;
  }
}

}  // namespace tillbridge::audit
