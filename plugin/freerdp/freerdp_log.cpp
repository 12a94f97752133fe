#include "plugin/freerdp/freerdp_log.hpp"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <system_error>

#include <syslog.h>
#include <winpr/wlog.h>

namespace tillbridge::plugin {
namespace {

DWORD wlog_level(Level level) {
  switch (level) {
    case Level::debug:
      return WLOG_DEBUG;
    case Level::info:
      return WLOG_INFO;
    case Level::warning:
      return WLOG_WARN;
    case Level::error:
      return WLOG_ERROR;
  }
  return WLOG_ERROR;
}

const char* name(Level level) {
  switch (level) {
    case Level::debug:
      return "debug";
    case Level::info:
      return "info";
    case Level::warning:
      return "warning";
    case Level::error:
      return "error";
  }
  return "error";
}

std::string timestamp() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm local{};
  localtime_r(&now, &local);
  char text[32] = "";
  (void)std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S%z", &local);
  return text;
}

}  // namespace

FreeRdpLog::FreeRdpLog() : wlog_(WLog_Get(tag)) {}

void FreeRdpLog::configure(const LogSettings& settings) {
  if (settings.level) WLog_SetLogLevel(static_cast<wLog*>(wlog_), wlog_level(*settings.level));
  if (settings.file.empty()) return;
  {
    const std::lock_guard guard(mutex_);
    file_level_ = settings.level.value_or(Level::info);
    file_.open(settings.file, std::ios::app);
    if (file_) return;
  }
  const std::string reason = std::generic_category().message(errno);
  write(Level::warning, "log file " + settings.file.string() + " cannot be opened (" + reason +
                            "); logging without it");
}

void FreeRdpLog::write(Level level, const std::string& text) {
  auto* wlog = static_cast<wLog*>(wlog_);
  if (WLog_IsLevelActive(wlog, wlog_level(level))) {
    // WLog prints the name of the function; the plugin's name tells a person more.
    WLog_PrintMessage(wlog, WLOG_MESSAGE_TEXT, wlog_level(level), __LINE__, __FILE__, "tillbridge",
                      "%s", text.c_str());
  }
  if (level == Level::error && !WLog_IsLevelActive(wlog, WLOG_ERROR)) {
    (void)std::fprintf(stderr, "tillbridge: %s\n", text.c_str());
  }
  if (level == Level::warning || level == Level::error) {
    syslog(LOG_USER | (level == Level::error ? LOG_ERR : LOG_WARNING), "tillbridge: %s",
           text.c_str());
  }
  const std::lock_guard guard(mutex_);
  if (file_.is_open() && level >= file_level_) {
    file_ << timestamp() << ' ' << name(level) << ' ' << text << std::endl;
  }
}

}  // namespace tillbridge::plugin
