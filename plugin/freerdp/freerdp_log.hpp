// The plugin's log: FreeRDP's WLog, the journal for what goes wrong, and a file of its own if
// configured.
#pragma once

#include <fstream>
#include <mutex>

#include "plugin/configuration.hpp"
#include "plugin/log.hpp"

namespace tillbridge::plugin {

/// A thin client mostly throws away what its RDP client prints. So warnings and errors also go to
/// syslog, where `journalctl | grep tillbridge` finds them, and errors to stderr where FreeRDP's
/// log level would hide them.
class FreeRdpLog final : public Log {
 public:
  static constexpr const char* tag = "com.tillbridge.plugin";

  FreeRdpLog();
  /// Once the configuration is read. A file that cannot be opened is logged and done without.
  void configure(const LogSettings& settings);
  void write(Level level, const std::string& text) override;

 private:
  void* const wlog_;  ///< a wLog, which belongs to WinPR
  std::mutex mutex_;  ///< the two below
  std::ofstream file_;
  Level file_level_ = Level::info;
};

}  // namespace tillbridge::plugin
