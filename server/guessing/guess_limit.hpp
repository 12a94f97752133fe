// How often somebody may try a secret. A value; time is a parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "channel/bytes/instant.hpp"

namespace tillbridge::guessing {

/// Counts tries of the last window, for each address and in total. An address without its port.
class GuessLimit {
 public:
  GuessLimit(std::size_t per_address, std::size_t in_total, Duration window)
      : per_address_(per_address), in_total_(in_total), window_(window) {}

  /// Nothing: go on. Otherwise so long to wait.
  [[nodiscard]] std::optional<Duration> wait(const std::string& address, Instant now);
  void count(const std::string& address, Instant now);

 private:
  void forget(Instant now);

  std::size_t per_address_, in_total_;
  Duration window_;
  struct Try {
    Instant when;
    std::string address;
  };
  std::deque<Try> tries_;  // at most in_total_
  std::map<std::string, std::size_t> by_address_;
};

/// "192.0.2.7" of "192.0.2.7:51344", "2001:db8::7" of "[2001:db8::7]:51344". Of an IPv6 address the
/// first 64 bits: one machine has all that are in them.
[[nodiscard]] std::string network_of(const std::string& peer_address);

}  // namespace tillbridge::guessing
