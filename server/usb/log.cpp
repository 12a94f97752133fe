#include "server/usb/log.hpp"

#include <memory>
#include <utility>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "channel/bytes/limits.hpp"

namespace tillbridge::server::log {

namespace {

// The logger of spdlog is process-wide state behind a lock of its own; only the test sink is ours.
std::function<void(Level, const std::string&)>& test_sink() {
  static std::function<void(Level, const std::string&)> sink;
  return sink;
}

std::function<void(Level, const std::string&, const About&)>& writer() {
  static std::function<void(Level, const std::string&, const About&)> function;
  return function;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto created = spdlog::stderr_logger_mt("tillbridged");
    // systemd's journal stamps each line itself; a person's terminal gets the time from us.
    const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
    created->set_pattern(journal ? "%l: %v" : "%Y-%m-%dT%H:%M:%S.%e %l: %v");
    created->flush_on(spdlog::level::debug);
    return created;
  }();
  return *instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      break;
  }
  return spdlog::level::err;
}

void write(Level level, const std::string& message, const About& about) {
  if (test_sink()) {
    test_sink()(level, message);
    return;
  }
  if (writer()) {
    if (logger().should_log(to_spdlog(level))) writer()(level, message, about);
    return;
  }
  logger().log(to_spdlog(level), spdlog::string_view_t(message));
}

// How many bytes of a well-formed UTF-8 sequence begin at `text[0]`; 0 if it is malformed or a
// control character.
std::size_t sequence_length(std::string_view text) {
  const auto at = [&](std::size_t index) { return static_cast<unsigned char>(text[index]); };
  const unsigned char first = at(0);
  if (first < 0x80) return first >= 0x20 && first != 0x7F ? 1 : 0;
  const std::size_t length = first >= 0xF0 && first <= 0xF4   ? 4
                             : first >= 0xE0 && first <= 0xEF ? 3
                             : first >= 0xC2 && first <= 0xDF ? 2
                                                              : 0;
  if (length == 0 || length > text.size()) return 0;
  for (std::size_t index = 1; index < length; ++index) {
    if ((at(index) & 0xC0U) != 0x80U) return 0;
  }
  // U+0080..U+009F are control characters as well: a terminal obeys them.
  if (first == 0xC2 && at(1) < 0xA0) return 0;
  return length;
}

}  // namespace

void debug(const std::string& message, const About& about) {
  write(Level::debug, message, about);
}
void info(const std::string& message, const About& about) {
  write(Level::info, message, about);
}
void warning(const std::string& message, const About& about) {
  write(Level::warning, message, about);
}
void error(const std::string& message, const About& about) {
  write(Level::error, message, about);
}

void set_level(Level level) {
  logger().set_level(to_spdlog(level));
}

void set_writer(std::function<void(Level, const std::string&, const About&)> function) {
  writer() = std::move(function);
}

void set_sink(std::function<void(Level, const std::string&)> sink) {
  test_sink() = std::move(sink);
}

std::string printable(std::string_view text) {
  std::string result;
  while (!text.empty() && result.size() < limits::name_bytes) {
    const std::size_t length = sequence_length(text);
    if (length == 0) {
      result += '?';
      text.remove_prefix(1);
    } else {
      result += text.substr(0, length);
      text.remove_prefix(length);
    }
  }
  if (!text.empty()) result += "...";
  return result;
}

}  // namespace tillbridge::server::log
