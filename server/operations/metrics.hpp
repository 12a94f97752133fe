// The state as Prometheus reads it (text exposition format 0.0.4).
#pragma once

#include <string>

#include "server/admin/administration.hpp"
#include "server/admin/state.hpp"
#include "server/operations/totals.hpp"

namespace tillbridge::operations {

inline constexpr const char* metrics_content_type = "text/plain; version=0.0.4; charset=utf-8";

/// Every family has its HELP and TYPE, names are in base units, and no counter ever falls while the
/// program runs. A stick's or till's state is one series for each word, of which one is 1.
[[nodiscard]] std::string metrics(const admin::State& state, const Totals& totals,
                                  const admin::Administration::Counts& counts, admin::Time now);

}  // namespace tillbridge::operations
