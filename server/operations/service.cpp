#include "server/operations/service.hpp"

#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string_view>
#include <utility>

#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

// Where in our code a line was written is of no interest to who reads the journal.
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>

#include "server/usb/log.hpp"

namespace tillbridge::operations {

namespace {

constexpr Duration status_every = std::chrono::seconds(5);

std::string monotonic_usec() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::to_string(std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000);
}

/// systemd names the journal's stream by device and inode: a service may have sent stderr
/// elsewhere.
bool stderr_is_journal() {
  const char* const stream = std::getenv("JOURNAL_STREAM");
  if (stream == nullptr) return false;
  const std::string_view text(stream);
  const std::size_t colon = text.find(':');
  struct stat status {};
  if (colon == std::string_view::npos || ::fstat(STDERR_FILENO, &status) != 0) return false;
  return text.substr(0, colon) == std::to_string(status.st_dev) &&
         text.substr(colon + 1) == std::to_string(status.st_ino);
}

// As in syslog.h, whose names are macros that collide with ours.
int priority(server::log::Level level) {
  switch (level) {
    case server::log::Level::debug:
      return 7;
    case server::log::Level::info:
      return 6;
    case server::log::Level::warning:
      return 4;
    case server::log::Level::error:
      break;
  }
  return 3;
}

void write_to_journal(server::log::Level level, const std::string& message,
                      const server::log::About& about) {
  std::array<std::string, 5> fields{"MESSAGE=" + message,
                                    "PRIORITY=" + std::to_string(priority(level)),
                                    "SYSLOG_IDENTIFIER=tillbridged"};
  std::size_t count = 3;
  if (!about.stick.empty()) fields.at(count++) = "STICK=" + server::log::printable(about.stick);
  if (!about.till.empty()) fields.at(count++) = "TILL=" + server::log::printable(about.till);
  std::array<iovec, 5> parts{};
  for (std::size_t index = 0; index < count; ++index) {
    parts.at(index) = {fields.at(index).data(), fields.at(index).size()};
  }
  (void)sd_journal_sendv(parts.data(), static_cast<int>(count));
}

}  // namespace

Service::Service(transport::Loop& loop, std::function<std::string()> status)
    : loop_(loop), status_(std::move(status)), every_(status_every), timer_(loop) {
  std::uint64_t period_us = 0;
  watched_ = sd_watchdog_enabled(0, &period_us) > 0 && period_us > 0;
  if (watched_) {
    every_ = std::min(every_, Duration(static_cast<Duration::rep>(period_us / 3)));
  }
}

void Service::tell(const std::string& lines) {
  (void)sd_notify(0, lines.c_str());
}

void Service::ready() {
  told_ = status_();
  tell("READY=1\nSTATUS=" + told_);
  beat();
}

void Service::reloading() {
  tell("RELOADING=1\nMONOTONIC_USEC=" + monotonic_usec() + "\nSTATUS=reading the configuration");
}

void Service::stopping(const std::string& status) {
  stopping_ = true;
  tell("STOPPING=1\nSTATUS=" + status);
}

void Service::beat() {
  timer_.arm(loop_.now() + every_, [this] { beat(); });
  std::string lines = watched_ ? "WATCHDOG=1\n" : "";
  if (!stopping_) {
    if (std::string now = status_(); now != told_) {
      lines += "STATUS=" + now + "\n";
      told_ = std::move(now);
    }
  }
  if (!lines.empty()) tell(lines);
}

void log_to_journal_if_there() {
  if (stderr_is_journal()) server::log::set_writer(write_to_journal);
}

}  // namespace tillbridge::operations
