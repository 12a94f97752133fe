// What is told when an alarm begins or ends, and to whom.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/admin/state.hpp"

namespace tillbridge::operations {

struct Alert {
  admin::Alarm alarm;
  bool raised = true;  ///< false: the alarm is over
  admin::Time when;
  std::string server;      ///< its name
  std::uint64_t lost = 0;  ///< messages before this one that were dropped or never taken
};

/// One line of JSON: {"event": "raised" | "cleared", "server", "kind", "id", "stick", "till",
/// "text", "remedy", "since", "time", "lost"}.
[[nodiscard]] std::string json(const Alert& alert);
/// "TILLBRIDGE_EVENT=raised" and so on: the same, for a command's environment.
[[nodiscard]] std::vector<std::string> environment(const Alert& alert);

}  // namespace tillbridge::operations
