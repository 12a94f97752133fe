#include "server/audit/line.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include <nlohmann/json.hpp>
#include <openssl/evp.h>

#include "server/audit/limits.hpp"

namespace tillbridge::audit {

namespace {

using nlohmann::ordered_json;

constexpr std::string_view prev_mark = ",\"prev\":\"";
constexpr std::size_t hash_digits = 64, salt_digits = 32;
constexpr std::size_t tail_bytes = prev_mark.size() + hash_digits + 2;  // and its "}

// How many bytes of a well-formed UTF-8 sequence begin at `text[0]`; 0 if it is malformed or a
// control character.
std::size_t sequence_length(std::string_view text) {
  const auto at = [&](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned char first = at(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
  const std::size_t length = first >= 0xF0 && first <= 0xF4   ? 4
                             : first >= 0xE0 && first <= 0xEF ? 3
                             : first >= 0xC2 && first <= 0xDF ? 2
                                                              : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t index = 1; index < length; ++index) {
    if ((at(index) & 0xC0U) != 0x80U) return 0;
  }
  // Overlong forms, surrogates, beyond U+10FFFF, and the control characters U+0080..U+009F.
  if (first == 0xC2 && at(1) < 0xA0) return 0;
  if (first == 0xE0 && at(1) < 0xA0) return 0;
  if (first == 0xED && at(1) > 0x9F) return 0;
  if (first == 0xF0 && at(1) < 0x90) return 0;
  if (first == 0xF4 && at(1) > 0x8F) return 0;
  return length;
}

bool looks_secret(std::string_view text) {
  return text.find("PRIVATE KEY") != std::string_view::npos ||
         text.find("tb1:") != std::string_view::npos;
}

ordered_json json_of(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return clean(*text);
  if (const auto* number = std::get_if<std::int64_t>(&value)) return *number;
  return std::get<bool>(value);
}

std::optional<Value> value_of(const ordered_json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_boolean()) return json.get<bool>();
  if (!json.is_number_integer()) return std::nullopt;
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > INT64_MAX) return std::nullopt;
  return json.get<std::int64_t>();
}

// By name, the last one of a field counts.
ordered_json details_of(const Entry& entry) {
  std::map<std::string_view, const Value*> sorted;
  const std::size_t count = std::min(entry.details.size(), limits::details_per_entry);
  for (std::size_t i = 0; i < count; ++i) {
    sorted[text(entry.details[i].first)] = &entry.details[i].second;
  }
  ordered_json details = ordered_json::object();
  for (const auto& [name, value] : sorted) details[std::string(name)] = json_of(*value);
  return details;
}

std::string dump(const ordered_json& json) {
  // What is not UTF-8 was cleaned away before; "replace" is for what was parsed and is compared.
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

const std::string* text_in(const ordered_json& json, const char* name) {
  const auto found = json.find(name);
  return found == json.end() ? nullptr : found->get_ptr<const std::string*>();
}

}  // namespace

const std::string& chain_start() {
  static const std::string zeros(hash_digits, '0');
  return zeros;
}

std::string sha256(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::string text;
  text.reserve(std::size_t{size} * 2);
  constexpr std::string_view digits = "0123456789abcdef";
  for (unsigned i = 0; i < size; ++i) {
    text += digits[digest.at(i) >> 4U];
    text += digits[digest.at(i) & 15U];
  }
  return text;
}

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string clean(std::string_view text) {
  constexpr std::string_view more = "…";
  if (looks_secret(text)) return "[left out: it looked like a secret]";
  std::string cleaned;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text.substr(at));
    const std::string_view next = length == 0 ? "?" : text.substr(at, length);
    if (cleaned.size() + next.size() > limits::text_bytes) {
      // Back to where the sign for "more" fits, at a character's border.
      std::size_t end = limits::text_bytes - more.size();
      while (end > 0 && (static_cast<unsigned char>(cleaned[end]) & 0xC0U) == 0x80U) --end;
      return cleaned.substr(0, end) + std::string(more);
    }
    cleaned += next;
    at += std::max<std::size_t>(length, 1);
  }
  return cleaned;
}

std::string json_text(std::string_view text) {
  return dump(ordered_json(std::string(text)));
}

std::string write_line(const Line& line) {
  ordered_json json;
  json["n"] = line.n;
  json["time"] = time_text(line.time);
  json["kind"] = text(line.entry.kind);
  json["who"] = clean(line.entry.who);
  json["stick"] = clean(line.entry.stick);
  json["till"] = clean(line.entry.till);
  json["reason"] = clean(line.entry.reason);
  json["details"] = details_of(line.entry);
  json["salt"] = line.salt;
  json["prev"] = line.prev;
  return dump(json);
}

Result<Line> parse_line(std::string_view text) {
  if (text.size() > limits::line_bytes)
    return fail(ErrorCode::limit, "it is longer than any entry");
  const auto json = ordered_json::parse(
      text.begin(), text.end(),
      [](int depth, ordered_json::parse_event_t, ordered_json&) {
        return depth <= static_cast<int>(limits::json_depth);
      },
      false);
  if (json.is_discarded() || !json.is_object())
    return fail(ErrorCode::malformed, "it is no JSON object");

  Line line;
  const auto n = json.find("n");
  if (n == json.end() || !n->is_number_unsigned())
    return fail(ErrorCode::malformed, "it has no number");
  line.n = n->get<std::uint64_t>();
  const std::string* const time = text_in(json, "time");
  const auto parsed_time = time != nullptr ? parse_time(*time) : std::nullopt;
  if (!parsed_time) return fail(ErrorCode::malformed, "its time is none");
  line.time = *parsed_time;
  const std::string* const kind = text_in(json, "kind");
  const auto known_kind = kind != nullptr ? kind_of(*kind) : std::nullopt;
  if (!known_kind) return fail(ErrorCode::malformed, "its kind is unknown");
  line.entry.kind = *known_kind;
  for (const auto& [name, member] : {std::pair{"who", &line.entry.who},
                                     {"stick", &line.entry.stick},
                                     {"till", &line.entry.till},
                                     {"reason", &line.entry.reason},
                                     {"salt", &line.salt},
                                     {"prev", &line.prev}}) {
    const std::string* const found = text_in(json, name);
    if (found == nullptr) return fail(ErrorCode::malformed, std::string("it has no ") + name);
    *member = *found;
  }
  if (!is_hex(line.salt, salt_digits) || !is_hex(line.prev, hash_digits)) {
    return fail(ErrorCode::malformed, "its salt or its link to the entry before is none");
  }
  const auto details = json.find("details");
  if (details == json.end() || !details->is_object() ||
      details->size() > limits::details_per_entry) {
    return fail(ErrorCode::malformed, "it has no details");
  }
  for (const auto& [name, value] : details->items()) {
    const auto field = field_of(name);
    auto known_value = value_of(value);
    if (!field || !known_value) return fail(ErrorCode::malformed, "it has unknown details");
    line.entry.details.emplace_back(*field, std::move(*known_value));
  }
  if (write_line(line) != text) {
    return fail(ErrorCode::malformed, "it is not written as tillbridged writes an entry");
  }
  return line;
}

std::string chain(std::string_view prev, std::string_view digest) {
  return sha256(std::string(prev) + std::string(digest));
}

std::string Link::hash() const {
  return chain(prev, digest);
}

std::optional<Link> link_of(std::string_view line) {
  constexpr std::string_view start = "{\"n\":";
  if (line.size() < start.size() + tail_bytes || line.size() > limits::line_bytes)
    return std::nullopt;
  if (line.substr(0, start.size()) != start) return std::nullopt;
  const std::string_view tail = line.substr(line.size() - tail_bytes);
  if (tail.substr(0, prev_mark.size()) != prev_mark || tail.substr(tail.size() - 2) != "\"}") {
    return std::nullopt;
  }
  Link link;
  link.prev = tail.substr(prev_mark.size(), hash_digits);
  const char* const digits = line.data() + start.size();
  const auto [end, error] = std::from_chars(digits, line.data() + line.size(), link.n);
  if (error != std::errc() || *end != ',' || !is_hex(link.prev, hash_digits)) return std::nullopt;
  link.digest = sha256(std::string(line.substr(0, line.size() - tail_bytes)) + "}");
  return link;
}

}  // namespace tillbridge::audit
