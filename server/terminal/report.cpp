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

std::string one_line(std::string_view text) {
  // Announced strings may have 12 KiB; what a person reads fits into this.
  constexpr std::size_t most = 2048;
  std::string line;
  bool after_c2 = false;  // of U+0080 to U+009F, which terminals obey, too
  for (const char letter : text) {
    const auto byte = static_cast<std::uint8_t>(letter);
    const bool inside = (byte & 0xC0U) == 0x80U;
    if (line.size() >= most && !inside) return line + "...";
    if (byte < 0x20 || byte == 0x7F) {
      line += '?';
    } else if (after_c2 && byte < 0xA0) {
      line.back() = '?';
    } else {
      line += letter;
    }
    after_c2 = byte == 0xC2;
  }
  return line;
}

void Reporter::report(std::uint32_t session, const Report& report) {
  if (session == 0) {
    spdlog::log(level_of(report.level), "{}", one_line(report.text));
  } else {
    spdlog::log(level_of(report.level), "session {}: {}", session, one_line(report.text));
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
