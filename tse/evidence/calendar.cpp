#include "tse/evidence/calendar.hpp"

#include <chrono>

namespace tillbridge::tse {

using std::chrono::days;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;

namespace {

constexpr std::int64_t first_year = 1, last_year = 9999;
constexpr std::int64_t seconds_a_day = 86400;

}  // namespace

UtcTime utc_time_of(std::int64_t unix_s) {
  const auto lowest = sys_seconds(sys_days{std::chrono::year(first_year) / 1 / 1});
  const auto highest =
      sys_seconds(sys_days{std::chrono::year(last_year) / 12 / 31} + days(1)) - seconds(1);
  auto moment = sys_seconds(seconds(unix_s));
  if (moment < lowest) moment = lowest;
  if (moment > highest) moment = highest;
  const auto day = std::chrono::floor<days>(moment);
  const std::chrono::year_month_day date(day);
  const auto within = static_cast<unsigned>((moment - day).count());
  return {static_cast<int>(date.year()),
          static_cast<unsigned>(date.month()),
          static_cast<unsigned>(date.day()),
          within / 3600,
          within / 60 % 60,
          within % 60};
}

std::optional<std::int64_t> unix_of(const UtcTime& time) {
  if (time.year < first_year || time.year > last_year || time.hour > 23 || time.minute > 59 ||
      time.second > 60) {
    return std::nullopt;
  }
  const auto date = std::chrono::year(static_cast<int>(time.year)) /
                    std::chrono::month(time.month) / std::chrono::day(time.day);
  if (!date.ok()) return std::nullopt;
  return sys_days(date).time_since_epoch().count() * seconds_a_day +
         static_cast<std::int64_t>(time.hour) * 3600 + static_cast<std::int64_t>(time.minute) * 60 +
         static_cast<std::int64_t>(time.second);
}

}  // namespace tillbridge::tse
