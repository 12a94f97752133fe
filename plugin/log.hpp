// Where the plugin's lines for a person go. Implemented over FreeRDP's log, and by tests.
#pragma once

#include <string>

#include "channel/rdpeusb/till_role.hpp"

namespace tillbridge::plugin {

using rdpeusb::Level;

/// One line per event that a person cares about; none per transfer above `debug`.
class Log {
 public:
  Log() = default;
  virtual ~Log() = default;
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  /// From any thread. `text` has no line break.
  virtual void write(Level level, const std::string& text) = 0;
};

}  // namespace tillbridge::plugin
