// With what a monitoring system reads /metrics, which logs in nowhere.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "channel/bytes/result.hpp"
#include "server/store/rows.hpp"

namespace tillbridge::http {

/// Only digests are kept. One thread.
class ScrapeTokens {
 public:
  /// A token a line, so that one can be changed without a gap; empty lines and those with # do not
  /// count. An empty path: none. After an error there are none either. Errors: `config` (others may
  /// read the file; too many tokens, too short ones), `unavailable`, `io`, `limit`.
  [[nodiscard]] Status read(const std::filesystem::path& file);
  /// Takes as long whichever token it is, or none.
  [[nodiscard]] bool fits(std::string_view token) const;

 private:
  std::vector<store::Digest> digests_;
};

}  // namespace tillbridge::http
