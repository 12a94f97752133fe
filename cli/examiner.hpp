// The part of an examination that speaks with the USB server.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "cli/examination.hpp"
#include "plugin/configuration.hpp"

namespace tillbridge::cli {

/// TLS, link, lease, stick and round trips, each as far as the one before allows; what it finds
/// goes to `found`. Runs a loop of its own until it knows all that it can, or SIGINT or SIGTERM.
void examine_link(Examination& found, plugin::ServerSource source);

/// Errors of the rooms below say what is wrong, and behind the first semicolon what to do;
/// `otherwise` is the remedy if they don't.
[[nodiscard]] Finding trouble(const std::string& step, const std::string& message,
                              const std::string& otherwise = "look into the USB server's log");

[[nodiscard]] std::int64_t unix_seconds(std::chrono::system_clock::time_point time);
[[nodiscard]] std::int64_t unix_now();

}  // namespace tillbridge::cli
