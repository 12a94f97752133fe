// The state as JSON, in the API's words.
#pragma once

#include <nlohmann/json.hpp>

#include "server/admin/state.hpp"
#include "server/audit/reading.hpp"

namespace tillbridge::admin {

using Json = nlohmann::json;

[[nodiscard]] std::string rfc3339(Time time);
/// null for nothing.
[[nodiscard]] Json time_or_null(const std::optional<Time>& time);
/// Text from outside may be no UTF-8; what is not becomes U+FFFD.
[[nodiscard]] std::string dump(const Json& json);

[[nodiscard]] Json document(const ServerView& server, Time now);
[[nodiscard]] Json document(const StickView& stick);
[[nodiscard]] Json document(const TillView& till, Time now);
[[nodiscard]] Json document(const MappingView& mapping);
[[nodiscard]] Json document(const LeaseView& lease);
[[nodiscard]] Json document(const PendingView& pending);
[[nodiscard]] Json document(const Alarm& alarm);
[[nodiscard]] Json document(const State& state, Time now);
[[nodiscard]] Json document(const audit::Line& line);
[[nodiscard]] Json document(const audit::Report& report);

}  // namespace tillbridge::admin
