#include <system_error>

#include "server/audit/export.hpp"
#include "server/audit/follower.hpp"
#include "server/audit/log_files.hpp"
#include "server/files/private_folder.hpp"

namespace tillbridge::audit {

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
