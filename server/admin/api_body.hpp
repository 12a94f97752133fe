// Reading what a request says: every field by name, type and length, and nothing that is not known.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "server/admin/limits.hpp"
#include "server/admin/reply.hpp"

namespace tillbridge::admin {

/// A JSON object. The first mistake is kept; look at problem() after all fields were asked for.
class Body {
 public:
  /// An empty text is an empty object.
  explicit Body(std::string_view text);

  [[nodiscard]] std::string required_text(const std::string& key, std::size_t most);
  [[nodiscard]] std::string text(const std::string& key, std::size_t most);
  [[nodiscard]] std::optional<std::string> maybe_text(const std::string& key, std::size_t most);
  [[nodiscard]] std::optional<bool> maybe_flag(const std::string& key);
  [[nodiscard]] std::optional<std::int64_t> maybe_number(const std::string& key, std::int64_t least,
                                                         std::int64_t most);
  /// Complains about every field that was not asked for.
  [[nodiscard]] const std::optional<Problem>& problem();
  void complain(const std::string& message, const std::string& remedy);

 private:
  [[nodiscard]] const nlohmann::json* find(const std::string& key);
  void wrong_type(const std::string& key, const std::string& wanted);

  nlohmann::json object_ = nlohmann::json::object();
  std::set<std::string> known_;
  std::optional<Problem> problem_;
};

/// "/api/v1/sticks/1209%3A0001/block" without the prefix, in decoded segments; nothing if it is not
/// below /api/v1, is broken, or too long.
[[nodiscard]] std::optional<std::vector<std::string>> segments_of(std::string_view path);

/// RFC 3339 in UTC or with an offset, or a day ("2026-11-23": its first moment; `end_of_day`: its
/// last).
[[nodiscard]] std::optional<std::chrono::system_clock::time_point> time_of(std::string_view text,
                                                                           bool end_of_day);

}  // namespace tillbridge::admin
