// Reads tables of a TOML document and keeps account of every key, so that a typo never passes
// silently. Included by config.cpp only: toml++ is heavy.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

namespace tillbridge::server {

/// Everything that is wrong in one file, by line.
class ConfigProblems {
 public:
  explicit ConfigProblems(std::string file) : file_(std::move(file)) {}
  void add(std::uint32_t line, const std::string& what) {
    lines_.emplace(line, file_ + ":" + std::to_string(line) + ": " + what);
  }
  [[nodiscard]] bool empty() const noexcept { return lines_.empty(); }
  [[nodiscard]] std::string text() const;

 private:
  std::string file_;
  std::multimap<std::uint32_t, std::string> lines_;
};

/// ", did you mean 'y'?" for the known word that is nearest, if one is near enough.
[[nodiscard]] std::string did_you_mean(std::string_view word, const std::set<std::string>& known);

/// One table. Every getter notes its key as known; finish() complains about all others.
class ConfigTable {
 public:
  ConfigTable(const toml::table& table, std::string name, ConfigProblems& problems)
      : table_(table), name_(std::move(name)), problems_(problems) {}

  [[nodiscard]] std::optional<std::string> text(const std::string& key);
  [[nodiscard]] std::string required_text(const std::string& key, std::string_view example);
  [[nodiscard]] bool flag(const std::string& key, bool fallback);
  [[nodiscard]] std::int64_t number(const std::string& key, std::int64_t least, std::int64_t most,
                                    std::int64_t fallback);
  /// The same, and nothing where the key is not there.
  [[nodiscard]] std::optional<std::int64_t> maybe_number(const std::string& key, std::int64_t least,
                                                         std::int64_t most);
  /// Whole or with a fraction.
  [[nodiscard]] double real(const std::string& key, double least, double most, double fallback);
  /// A list of texts; empty where the key is not there.
  [[nodiscard]] std::vector<std::string> texts(const std::string& key);
  /// A word out of a list; the fallback if it is not there.
  [[nodiscard]] std::string word(const std::string& key, const std::set<std::string>& allowed,
                                 const std::string& fallback);
  /// A table inside this one; nullptr if it is not there.
  [[nodiscard]] const toml::table* table(const std::string& key);
  /// An array of tables inside this one ("[[key]]").
  [[nodiscard]] std::vector<const toml::table*> tables(const std::string& key);
  void finish();

  void problem(const std::string& key, const std::string& what);
  [[nodiscard]] std::uint32_t line_of(const std::string& key) const;
  [[nodiscard]] std::uint32_t line() const { return table_.source().begin.line; }

 private:
  [[nodiscard]] const toml::node* find(const std::string& key);
  [[nodiscard]] std::string quoted(const std::string& key) const;

  const toml::table& table_;
  std::string name_;  // "[link]"; empty for the document
  ConfigProblems& problems_;
  std::set<std::string> known_;
};

}  // namespace tillbridge::server
