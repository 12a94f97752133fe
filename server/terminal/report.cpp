#include "server/terminal/report.hpp"

#include <cstdio>
#include <mutex>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace tillbridge::terminal {
namespace {

spdlog::level::level_enum level_of(rdpeusb::Level level) {
  switch (level) {
    case rdpeusb::Level::debug:
      return spdlog::level::debug;
    case rdpeusb::Level::info:
      return spdlog::level::info;
    case rdpeusb::Level::warning:
      return spdlog::level::warn;
    case rdpeusb::Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

void Reporter::report(std::uint32_t session, const Report& report) {
  if (session == 0) {
    spdlog::log(level_of(report.level), "{}", report.text);
  } else {
    spdlog::log(level_of(report.level), "session {}: {}", session, report.text);
  }
  if (!json_ || report.level == rdpeusb::Level::debug) return;
  nlohmann::ordered_json line;
  line["event"] = report.event;
  if (session != 0) line["session"] = session;
  line["text"] = report.text;
  for (const Field& field : report.fields) {
    std::visit([&](const auto& value) { line[field.name] = value; }, field.value);
  }
  // Text of a client may be anything, so what is no UTF-8 is replaced instead of thrown about.
  const std::string text =
      line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  static std::mutex mutex;  // one line is one write, also when the buffer is small
  const std::lock_guard lock(mutex);
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace tillbridge::terminal
