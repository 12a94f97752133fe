#include "server/admin/api_body.hpp"

#include <algorithm>
#include <cstdio>
#include <ctime>

namespace tillbridge::admin {

namespace {

using nlohmann::json;

// How deep arrays and objects nest, without building anything: text in strings does not count.
bool too_deep(std::string_view text) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t index = 0; index < text.size(); ++index) {
    const char character = text[index];
    if (in_string) {
      if (character == '\\') ++index;
      if (character == '"') in_string = false;
    } else if (character == '"') {
      in_string = true;
    } else if (character == '{' || character == '[') {
      if (++depth > limits::json_depth) return true;
    } else if ((character == '}' || character == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

std::optional<std::string> decoded(std::string_view segment) {
  std::string text;
  for (std::size_t index = 0; index < segment.size(); ++index) {
    if (segment[index] != '%') {
      text += segment[index];
      continue;
    }
    if (index + 2 >= segment.size()) return std::nullopt;
    const int high = hex_value(segment[index + 1]);
    const int low = hex_value(segment[index + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    text += static_cast<char>(high * 16 + low);
    index += 2;
  }
  const bool control = std::any_of(text.begin(), text.end(), [](char character) {
    return static_cast<unsigned char>(character) < 0x20 || character == 0x7F;
  });
  if (control || text.empty() || text.size() > limits::parameter_bytes) return std::nullopt;
  return text;
}

bool printable(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](char character) {
    const auto byte = static_cast<unsigned char>(character);
    return (byte < 0x20 && character != '\n' && character != '\t') || byte == 0x7F;
  });
}

}  // namespace

Body::Body(std::string_view text) {
  if (text.size() > limits::body_bytes) {
    problem_ = Problem{413, "too_large",
                       "the body has more than " + std::to_string(limits::body_bytes) + " bytes",
                       "send only the fields that are documented"};
    return;
  }
  if (text.empty()) return;
  if (too_deep(text)) {
    complain("the body is nested too deeply", "send one flat JSON object");
    return;
  }
  json parsed = json::parse(text, nullptr, false);
  if (!parsed.is_object()) {
    complain(parsed.is_discarded() ? "the body is no JSON" : "the body is no JSON object",
             "send an object such as {\"reason\": \"...\"} as application/json");
    problem_->status = 400;
    return;
  }
  object_ = std::move(parsed);
}

void Body::complain(const std::string& message, const std::string& remedy) {
  if (!problem_) problem_ = Problem{422, "invalid", message, remedy};
}

const json* Body::find(const std::string& key) {
  known_.insert(key);
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

void Body::wrong_type(const std::string& key, const std::string& wanted) {
  complain("'" + key + "' must be " + wanted, "correct it, or leave it out if it is optional");
}

std::optional<std::string> Body::maybe_text(const std::string& key, std::size_t most) {
  const json* found = find(key);
  if (found == nullptr) return std::nullopt;
  if (!found->is_string()) {
    wrong_type(key, "a text");
    return std::nullopt;
  }
  auto text = found->get<std::string>();
  if (text.size() > most) {
    complain("'" + key + "' is longer than " + std::to_string(most) + " bytes", "shorten it");
  } else if (!printable(text)) {
    complain("'" + key + "' has control characters in it", "leave them out");
  }
  return text;
}

std::string Body::text(const std::string& key, std::size_t most) {
  return maybe_text(key, most).value_or("");
}

std::string Body::required_text(const std::string& key, std::size_t most) {
  auto found = text(key, most);
  if (found.empty()) complain("'" + key + "' is missing", "add it: {\"" + key + "\": \"...\"}");
  return found;
}

std::optional<bool> Body::maybe_flag(const std::string& key) {
  const json* found = find(key);
  if (found == nullptr) return std::nullopt;
  if (!found->is_boolean()) {
    wrong_type(key, "true or false");
    return std::nullopt;
  }
  return found->get<bool>();
}

std::optional<std::int64_t> Body::maybe_number(const std::string& key, std::int64_t least,
                                               std::int64_t most) {
  const json* found = find(key);
  if (found == nullptr) return std::nullopt;
  const bool whole = found->is_number_integer() &&
                     !(found->is_number_unsigned() &&
                       found->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX));
  if (!whole || found->get<std::int64_t>() < least || found->get<std::int64_t>() > most) {
    wrong_type(key, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
    return std::nullopt;
  }
  return found->get<std::int64_t>();
}

const std::optional<Problem>& Body::problem() {
  for (const auto& [key, value] : object_.items()) {
    if (known_.contains(key)) continue;
    std::string names;
    for (const std::string& name : known_) names += (names.empty() ? "" : ", ") + name;
    complain("'" + key.substr(0, limits::name_bytes) + "' is not a field of this request",
             names.empty() ? "send no fields" : "its fields are " + names);
  }
  return problem_;
}

std::optional<std::vector<std::string>> segments_of(std::string_view path) {
  constexpr std::string_view prefix = "/api/v1/";
  if (path.substr(0, prefix.size()) != prefix || path.size() > 4 * limits::parameter_bytes) {
    return std::nullopt;
  }
  path.remove_prefix(prefix.size());
  std::vector<std::string> segments;
  while (true) {
    const std::size_t slash = path.find('/');
    auto segment = decoded(path.substr(0, slash));
    if (!segment) return std::nullopt;
    segments.push_back(std::move(*segment));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

std::optional<std::chrono::system_clock::time_point> time_of(std::string_view given,
                                                             bool end_of_day) {
  const std::string text(given.substr(0, 64));
  std::tm parts{};
  int used = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2d%n", &parts.tm_year, &parts.tm_mon, &parts.tm_mday,
                  &used) != 3 ||
      used != 10) {
    return std::nullopt;
  }
  if (parts.tm_year < 1970 || parts.tm_year > 9999 || parts.tm_mon < 1 || parts.tm_mon > 12 ||
      parts.tm_mday < 1 || parts.tm_mday > 31) {
    return std::nullopt;
  }
  parts.tm_year -= 1900;
  parts.tm_mon -= 1;
  std::chrono::microseconds fraction{0};
  int offset_minutes = 0;
  std::string_view rest = std::string_view(text).substr(10);
  if (rest.empty()) {
    if (end_of_day) {
      parts.tm_hour = 23;
      parts.tm_min = parts.tm_sec = 59;
      fraction = std::chrono::microseconds(999999);
    }
  } else {
    int clock = 0;
    if ((rest[0] != 'T' && rest[0] != 't' && rest[0] != ' ') ||
        std::sscanf(text.c_str() + 11, "%2d:%2d:%2d%n", &parts.tm_hour, &parts.tm_min,
                    &parts.tm_sec, &clock) != 3 ||
        clock != 8 || parts.tm_hour > 23 || parts.tm_min > 59 || parts.tm_sec > 60 ||
        parts.tm_hour < 0 || parts.tm_min < 0 || parts.tm_sec < 0) {
      return std::nullopt;
    }
    rest.remove_prefix(9);
    if (!rest.empty() && rest[0] == '.') {
      std::int64_t unit = 100000;
      rest.remove_prefix(1);
      while (!rest.empty() && rest[0] >= '0' && rest[0] <= '9') {
        fraction += std::chrono::microseconds((rest[0] - '0') * unit);
        unit /= 10;
        rest.remove_prefix(1);
      }
    }
    if (rest != "Z" && rest != "z") {
      int hours = 0;
      int minutes = 0;
      if (rest.size() != 6 || (rest[0] != '+' && rest[0] != '-' && rest[0] != ' ') ||
          std::sscanf(std::string(rest.substr(1)).c_str(), "%2d:%2d", &hours, &minutes) != 2) {
        return std::nullopt;
      }
      // A '+' that nobody encoded arrives as a space.
      offset_minutes = (hours * 60 + minutes) * (rest[0] == '-' ? -1 : 1);
    }
  }
  const std::time_t seconds = timegm(&parts);
  return std::chrono::system_clock::from_time_t(seconds) + fraction -
         std::chrono::minutes(offset_minutes);
}

}  // namespace tillbridge::admin
