#include "server/http/scrape_tokens.hpp"

#include <algorithm>
#include <sstream>
#include <string>

#include <openssl/crypto.h>
#include <sys/stat.h>

#include "server/files/private_folder.hpp"
#include "server/http/limits.hpp"
#include "server/http/secrets.hpp"

namespace tillbridge::http {

namespace {

bool fits_into_a_header(const std::string& token) {
  return std::all_of(token.begin(), token.end(),
                     [](char character) { return character > ' ' && character < 0x7F; });
}

}  // namespace

Status ScrapeTokens::read(const std::filesystem::path& file) {
  digests_.clear();
  if (file.empty()) return {};
  const auto wrong = [&](const std::string& what) {
    return fail(ErrorCode::config, "the tokens for /metrics in " + file.string() + ": " + what);
  };
  // Not only ours: a file of root's that our group may read is how packages and their tools do it.
  struct stat found {};
  if (::stat(file.c_str(), &found) == 0 && (found.st_mode & S_IRWXO) != 0) {
    return wrong("everybody may read them; chmod o= " + file.string());
  }
  const auto text = files::read_file(file, limits::scrape_file_bytes);
  if (!text) return text.error();
  std::vector<store::Digest> digests;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line.front() == '#') continue;
    if (line.size() < limits::scrape_token_characters || line.size() > limits::scrape_token_bytes ||
        !fits_into_a_header(line)) {
      return wrong("a token has " + std::to_string(limits::scrape_token_characters) + " to " +
                   std::to_string(limits::scrape_token_bytes) +
                   " letters, digits and signs; 'openssl rand -hex 32' makes one");
    }
    if (digests.size() == limits::scrape_tokens) {
      return wrong("more than " + std::to_string(limits::scrape_tokens) + " of them");
    }
    digests.push_back(digest_of(line));
  }
  if (digests.empty()) return wrong("there is none; 'openssl rand -hex 32' makes one");
  digests_ = std::move(digests);
  return {};
}

bool ScrapeTokens::fits(std::string_view token) const {
  const store::Digest digest = digest_of(token);
  bool found = false;
  for (const store::Digest& kept : digests_) {
    const bool same = CRYPTO_memcmp(kept.data(), digest.data(), digest.size()) == 0;
    found = found || same;
  }
  return found;
}

}  // namespace tillbridge::http
