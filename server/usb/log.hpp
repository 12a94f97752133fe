// What tillbridged tells the person who runs it: one line per event, to stderr (the journal when
// systemd runs it).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace tillbridge::server::log {

enum class Level : std::uint8_t { debug, info, warning, error };

/// What a line is about, for the journal's own fields (STICK=, TILL=). Empty: about none.
struct About {
  std::string stick;  ///< StickIdentity::text()
  std::string till;   ///< its name
};

void debug(const std::string& message, const About& about = {});
void info(const std::string& message, const About& about = {});
void warning(const std::string& message, const About& about = {});
void error(const std::string& message, const About& about = {});

void set_level(Level level);
/// Where lines go instead of stderr, such as the journal; only those that the level lets through.
/// Set it before any thread is started.
void set_writer(std::function<void(Level, const std::string&, const About&)> writer);
/// Replaces stderr, for tests; an empty function brings stderr back. Set it before any thread is
/// started.
void set_sink(std::function<void(Level, const std::string&)> sink);

/// Text that came from outside (a certificate, a device's string, a till's hello) as it may stand
/// in a log line: control characters and invalid UTF-8 become '?', and it is cut at
/// limits::name_bytes.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace tillbridge::server::log
