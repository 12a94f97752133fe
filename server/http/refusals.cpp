#include "server/http/refusals.hpp"

#include <chrono>
#include <cstddef>
#include <mutex>

#include "server/http/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::http {

bool note_refusal(const std::string& who, const std::string& why) {
  using std::chrono::steady_clock;
  static std::mutex mutex;
  static steady_clock::time_point minute;
  static std::size_t written = 0;
  static std::size_t silent = 0;
  const std::lock_guard lock(mutex);
  const auto now = steady_clock::now();
  if (minute == steady_clock::time_point{} || now - minute >= std::chrono::minutes(1)) {
    if (silent > 0) {
      server::log::warning("administration: " + std::to_string(silent) +
                           " more requests were refused in the minute before");
    }
    minute = now;
    written = silent = 0;
  }
  if (written >= limits::refusals_logged) {
    ++silent;
    return false;
  }
  ++written;
  server::log::warning("administration: " + who + " refused: " + why);
  return true;
}

}  // namespace tillbridge::http
