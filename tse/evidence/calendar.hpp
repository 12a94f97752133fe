// Unix seconds as a calendar in UTC, and back.
#pragma once

#include <cstdint>
#include <optional>

namespace tillbridge::tse {

struct UtcTime {
  std::int64_t year = 1970;
  unsigned month = 1, day = 1, hour = 0, minute = 0, second = 0;
};

[[nodiscard]] UtcTime utc_time_of(std::int64_t unix_s);
/// Nothing when there is no such day or hour. A leap second counts as the second after it.
[[nodiscard]] std::optional<std::int64_t> unix_of(const UtcTime& time);

}  // namespace tillbridge::tse
