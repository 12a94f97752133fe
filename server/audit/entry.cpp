#include "server/audit/entry.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace tillbridge::audit {

namespace {

// In the order of the enumerators. They stand in logs, so they never change.
constexpr std::array<std::string_view, 56> kind_names = {"log_begun",
                                                         "log_cut",
                                                         "log_damaged",
                                                         "server_started",
                                                         "server_stopped",
                                                         "configuration_read",
                                                         "drain_begun",
                                                         "drain_ended",
                                                         "alarm_raised",
                                                         "alarm_cleared",
                                                         "stick_attached",
                                                         "stick_detached",
                                                         "stick_refused",
                                                         "stick_accepted",
                                                         "stick_blocked",
                                                         "stick_unblocked",
                                                         "stick_labelled",
                                                         "stick_identified",
                                                         "stick_forgotten",
                                                         "mapping_added",
                                                         "mapping_changed",
                                                         "mapping_removed",
                                                         "lease_begun",
                                                         "lease_away",
                                                         "lease_back",
                                                         "lease_ended",
                                                         "lease_released",
                                                         "till_added",
                                                         "till_changed",
                                                         "till_connected",
                                                         "till_lost",
                                                         "till_left",
                                                         "till_refused",
                                                         "till_revoked",
                                                         "till_removed",
                                                         "token_issued",
                                                         "pairing_done",
                                                         "pairing_refused",
                                                         "pending_seen",
                                                         "pending_approved",
                                                         "pending_ignored",
                                                         "certificate_issued",
                                                         "certificate_renewed",
                                                         "certificate_revoked",
                                                         "login",
                                                         "login_refused",
                                                         "login_link_made",
                                                         "logout",
                                                         "user_added",
                                                         "user_changed",
                                                         "user_removed",
                                                         "action_refused",
                                                         "capture_begun",
                                                         "capture_ended",
                                                         "audit_verified",
                                                         "audit_exported"};
static_assert(kind_names.size() == static_cast<std::size_t>(Kind::audit_exported) + 1);
constexpr std::array<std::string_view, 45> field_names = {
    "action",       "address",     "alarm",       "answer",    "bytes_in",     "bytes_out",
    "certificate",  "changed",     "client_name", "count",     "digest",       "domain",
    "duration_ms",  "entry",       "errors",      "expires",   "file",         "fingerprint",
    "key",          "label",       "lease",       "mapping",   "minutes",      "not_after",
    "p50_us",       "p99_us",      "payloads",    "pipeline",  "port",         "position",
    "reset",        "role",        "since",       "software",  "stick_before", "terminal_server",
    "text",         "till_before", "times_away",  "transfers", "until",        "user",
    "value_before", "version",     "words"};
static_assert(field_names.size() == static_cast<std::size_t>(Field::words) + 1);

template <typename Enum, typename Names>
std::optional<Enum> value_in(const Names& names, std::string_view name) {
  const auto* const found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(std::distance(names.begin(), found));
}

std::string text_of(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
  return std::get<bool>(value) ? "yes" : "no";
}

// Two digits and more, all of them digits.
std::optional<int> number_at(std::string_view text, std::size_t start, std::size_t size) {
  int value = 0;
  const char* const begin = text.data() + start;
  if (*begin < '0' || *begin > '9') return std::nullopt;
  const auto [end, error] = std::from_chars(begin, begin + size, value);
  if (error != std::errc() || end != begin + size) return std::nullopt;
  return value;
}

}  // namespace

std::string_view text(Kind kind) {
  return kind_names.at(static_cast<std::size_t>(kind));
}
std::optional<Kind> kind_of(std::string_view text) {
  return value_in<Kind>(kind_names, text);
}
std::string_view text(Field field) {
  return field_names.at(static_cast<std::size_t>(field));
}
std::optional<Field> field_of(std::string_view text) {
  return value_in<Field>(field_names, text);
}

std::string time_text(Time time) {
  using std::chrono::floor;
  const auto day = floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(floor<std::chrono::microseconds>(time - day));
  std::array<char, 40> text{};
  (void)std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ",
                      static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                      static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
                      static_cast<int>(clock.minutes().count()),
                      static_cast<int>(clock.seconds().count()),
                      static_cast<int>(clock.subseconds().count()));
  return text.data();
}

std::optional<Time> parse_time(std::string_view text) {
  constexpr std::string_view shape = "0000-00-00T00:00:00.000000Z";
  if (text.size() != shape.size()) return std::nullopt;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != '0' && text[i] != shape[i]) return std::nullopt;
  }
  const auto year = number_at(text, 0, 4), month = number_at(text, 5, 2),
             day = number_at(text, 8, 2);
  const auto hour = number_at(text, 11, 2), minute = number_at(text, 14, 2);
  const auto second = number_at(text, 17, 2), micro = number_at(text, 20, 6);
  if (!year || !month || !day || !hour || !minute || !second || !micro) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  // Time counts nanoseconds from 1970, which ends in 2262.
  if (!date.ok() || *year < 1970 || *year > 2261) return std::nullopt;
  if (*hour > 23 || *minute > 59 || *second > 59) return std::nullopt;
  return Time(std::chrono::sys_days(date)) + std::chrono::hours(*hour) +
         std::chrono::minutes(*minute) + std::chrono::seconds(*second) +
         std::chrono::microseconds(*micro);
}

std::string describe(const Line& line) {
  const Entry& entry = line.entry;
  std::string time = time_text(line.time).substr(0, 19);
  time[10] = ' ';
  std::string kind(text(entry.kind));
  std::replace(kind.begin(), kind.end(), '_', ' ');
  std::string told = time + " UTC  #" + std::to_string(line.n) + "  " + kind + "  by " + entry.who;
  if (!entry.stick.empty()) told += "  stick " + entry.stick;
  if (!entry.till.empty()) told += "  till " + entry.till;
  for (const auto& [field, value] : entry.details) {
    told += "  " + std::string(text(field)) + "=" + text_of(value);
  }
  if (!entry.reason.empty()) told += "  reason: " + entry.reason;
  return told;
}

}  // namespace tillbridge::audit
