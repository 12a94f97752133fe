// What has happened since the program's start, for each pair of a stick and a till: a lease's own
// figures end with it, and counters of a monitoring system must never fall.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "server/usb/latency.hpp"
#include "server/usb/lease.hpp"
#include "server/usb/observer.hpp"

namespace tillbridge::operations {

struct Total {
  std::uint64_t leases = 0, transfers = 0, errors = 0, bytes_in = 0, bytes_out = 0;
  server::LatencyHistogram latency;
  void add(const server::LeaseRecord& record);
};

/// On the loop's thread.
class Totals final : public server::Observer {
 public:
  using Pair = std::pair<std::string, std::string>;  ///< stick, till

  void lease_ended(const server::LeaseRecord& record) override;
  void till_back(const server::TillStatus& till) override;
  void till_left(const server::TillStatus& till, server::TillEnd how,
                 const std::string& why) override;

  /// Of leases that have ended.
  [[nodiscard]] const std::map<Pair, Total>& ended() const noexcept { return ended_; }
  /// By till: how often its connection came back to its session, and how often it did not.
  [[nodiscard]] const std::map<std::string, std::uint64_t>& reconnects() const noexcept {
    return reconnects_;
  }
  [[nodiscard]] const std::map<std::string, std::uint64_t>& losses() const noexcept {
    return losses_;
  }

 private:
  static void count(std::map<std::string, std::uint64_t>& counts, const std::string& till);
  std::map<Pair, Total> ended_;
  std::map<std::string, std::uint64_t> reconnects_, losses_;
};

}  // namespace tillbridge::operations
