#include "server/audit/reading.hpp"

#include <algorithm>

#include "server/audit/line.hpp"
#include "server/audit/log_files.hpp"
#include "server/files/private_folder.hpp"

namespace tillbridge::audit {

namespace {

bool fits(const Line& line, const Query& query) {
  return (query.stick.empty() || line.entry.stick == query.stick) &&
         (query.till.empty() || line.entry.till == query.till) &&
         (!query.from || line.time >= *query.from) && (!query.to || line.time <= *query.to) &&
         (!query.before || line.n < *query.before);
}

}  // namespace

Result<std::vector<Line>> read(const std::filesystem::path& folder, const Query& query) {
  const auto found = list_log_files(folder);
  if (!found) return found.error();
  std::vector<std::string> names = found->all();
  std::reverse(names.begin(), names.end());
  const std::size_t limit = std::min(query.limit, limits::entries_per_answer);
  // Reading JSON costs more than looking for a text, and most lines are about other sticks.
  const std::string stick = ",\"stick\":" + json_text(clean(query.stick));
  const std::string till = ",\"till\":" + json_text(clean(query.till));

  std::vector<Line> lines;
  for (const std::string& name : names) {
    if (lines.size() >= limit) break;
    const auto first = first_in_name(name);
    if (query.before && first && *first >= *query.before) continue;
    const auto content = files::read_file(folder / name, limits::read_file_bytes);
    // It was put away while we looked; its entries are in the file that it became.
    if (!content && content.error().code == ErrorCode::unavailable) continue;
    if (!content) return content.error();
    std::string_view rest = *content;
    while (!rest.empty() && lines.size() < limit) {
      if (rest.back() == '\n') rest.remove_suffix(1);
      const std::size_t border = rest.rfind('\n');
      const std::size_t start = border == std::string_view::npos ? 0 : border + 1;
      const std::string_view text = rest.substr(start);
      rest = rest.substr(0, start);
      if (!query.stick.empty() && text.find(stick) == std::string_view::npos) continue;
      if (!query.till.empty() && text.find(till) == std::string_view::npos) continue;
      auto line = parse_line(text);
      if (line && fits(*line, query)) lines.push_back(std::move(*line));
    }
  }
  return lines;
}

}  // namespace tillbridge::audit
