#include "server/usb/config_reader.hpp"

#include <algorithm>
#include <numeric>

namespace tillbridge::server {

namespace {

// Levenshtein distance, ignoring case.
std::size_t distance(std::string_view left, std::string_view right) {
  const auto lower = [](char character) {
    return character >= 'A' && character <= 'Z' ? static_cast<char>(character + 32) : character;
  };
  std::vector<std::size_t> row(right.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= left.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= right.size(); ++j) {
      const std::size_t replaced = diagonal + (lower(left[i - 1]) == lower(right[j - 1]) ? 0U : 1U);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::string_view type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
      return "a number";
    case toml::node_type::floating_point:
      return "a fraction";
    case toml::node_type::boolean:
      return "true or false";
    default:
      return "a date or time";
  }
}

}  // namespace

std::string ConfigProblems::text() const {
  std::string text;
  for (const auto& [line, problem] : lines_) text += (text.empty() ? "" : "\n") + problem;
  return text;
}

std::string did_you_mean(std::string_view word, const std::set<std::string>& known) {
  if (word.size() > 64) return {};
  const auto nearest =
      std::min_element(known.begin(), known.end(), [&](const auto& left, const auto& right) {
        return distance(word, left) < distance(word, right);
      });
  if (nearest == known.end()) return {};
  // Half of a word wrong is another word.
  if (distance(word, *nearest) > std::max<std::size_t>(1, nearest->size() / 2)) return {};
  return "; did you mean '" + *nearest + "'?";
}

const toml::node* ConfigTable::find(const std::string& key) {
  known_.insert(key);
  return table_.get(key);
}

std::string ConfigTable::quoted(const std::string& key) const {
  return "key '" + key + "'" + (name_.empty() ? "" : " in " + name_);
}

void ConfigTable::problem(const std::string& key, const std::string& what) {
  problems_.add(line_of(key), quoted(key) + " " + what);
}

std::uint32_t ConfigTable::line_of(const std::string& key) const {
  const toml::node* node = table_.get(key);
  return node != nullptr ? node->source().begin.line : line();
}

std::optional<std::string> ConfigTable::text(const std::string& key) {
  const toml::node* node = find(key);
  if (node == nullptr) return std::nullopt;
  const auto* value = node->as_string();
  if (value == nullptr) {
    problem(key, "must be a text in quotes, not " + std::string(type_name(*node)));
    return std::nullopt;
  }
  if (value->get().find('\0') != std::string::npos) {
    problem(key, "must not hold a NUL character");
    return std::nullopt;
  }
  return value->get();
}

std::string ConfigTable::required_text(const std::string& key, std::string_view example) {
  const bool there = find(key) != nullptr;
  auto value = text(key);
  if (!there) problem(key, "is missing; write " + key + " = \"" + std::string(example) + "\"");
  if (value && value->empty()) problem(key, "must not be empty");
  return value.value_or("");
}

bool ConfigTable::flag(const std::string& key, bool fallback) {
  const toml::node* node = find(key);
  if (node == nullptr) return fallback;
  const auto* value = node->as_boolean();
  if (value == nullptr) problem(key, "must be true or false, not " + std::string(type_name(*node)));
  return value != nullptr ? value->get() : fallback;
}

std::int64_t ConfigTable::number(const std::string& key, std::int64_t least, std::int64_t most,
                                 std::int64_t fallback) {
  const toml::node* node = find(key);
  if (node == nullptr) return fallback;
  const auto* value = node->as_integer();
  if (value == nullptr) {
    problem(key, "must be a number, not " + std::string(type_name(*node)));
    return fallback;
  }
  if (value->get() < least || value->get() > most) {
    problem(key, "must be from " + std::to_string(least) + " to " + std::to_string(most));
    return fallback;
  }
  return value->get();
}

std::optional<std::int64_t> ConfigTable::maybe_number(const std::string& key, std::int64_t least,
                                                      std::int64_t most) {
  if (find(key) == nullptr) return std::nullopt;
  return number(key, least, most, least);
}

double ConfigTable::real(const std::string& key, double least, double most, double fallback) {
  const toml::node* node = find(key);
  if (node == nullptr) return fallback;
  const auto value = node->value<double>();
  if (!value || !(*value >= least && *value <= most)) {
    problem(key, "must be a number from " + std::to_string(least) + " to " + std::to_string(most));
    return fallback;
  }
  return *value;
}

std::vector<std::string> ConfigTable::texts(const std::string& key) {
  std::vector<std::string> texts;
  const toml::node* node = find(key);
  if (node == nullptr) return texts;
  const toml::array* array = node->as_array();
  if (array == nullptr || (!array->empty() && !array->is_homogeneous(toml::node_type::string))) {
    problem(key, "must be a list of texts, [\"...\", \"...\"]");
    return texts;
  }
  for (const toml::node& element : *array) texts.push_back(element.as_string()->get());
  return texts;
}

std::string ConfigTable::word(const std::string& key, const std::set<std::string>& allowed,
                              const std::string& fallback) {
  const auto value = text(key);
  if (!value) return fallback;
  if (allowed.contains(*value)) return *value;
  std::string list;
  for (const std::string& one : allowed) list += (list.empty() ? "" : ", ") + one;
  problem(key, "is '" + *value + "', but must be one of: " + list + did_you_mean(*value, allowed));
  return fallback;
}

const toml::table* ConfigTable::table(const std::string& key) {
  const toml::node* node = find(key);
  if (node == nullptr) return nullptr;
  const toml::table* inner = node->as_table();
  if (inner == nullptr) problem(key, "must be a table; write [" + key + "] on a line of its own");
  return inner;
}

std::vector<const toml::table*> ConfigTable::tables(const std::string& key) {
  std::vector<const toml::table*> tables;
  const toml::node* node = find(key);
  if (node == nullptr) return tables;
  const toml::array* array = node->as_array();
  if (array == nullptr || !array->is_homogeneous(toml::node_type::table)) {
    problem(key, "must be a list of tables; write [[" + key + "]] on a line of its own");
    return tables;
  }
  for (const toml::node& element : *array) tables.push_back(element.as_table());
  return tables;
}

void ConfigTable::finish() {
  for (const auto& [key, node] : table_) {
    const std::string name(key.str());
    if (known_.contains(name)) continue;
    problems_.add(node.source().begin.line,
                  quoted(name) + " is unknown" + did_you_mean(name, known_));
  }
}

}  // namespace tillbridge::server
