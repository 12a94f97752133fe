// The sticks of this machine: which are there, which may be exported, whose they are, and who uses
// them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/transport/loop.hpp"
#include "server/usb/lease.hpp"
#include "server/usb/mapping.hpp"
#include "server/usb/stick_source.hpp"

namespace tillbridge::server {

/// Names one stay of a stick in its port: plugged in again, it is another one. Never used twice.
using StayId = std::uint64_t;

/// A stick that is plugged in.
struct PresentStick {
  StayId stay = 0;
  Arrival arrival;
  StickIdentity identity;
  std::optional<std::string>
      refusal;                     ///< why it is not exported to anybody, and what to do about it
  std::optional<Mapping> mapping;  ///< absent: belongs to no till
  const Lease* lease = nullptr;    ///< who uses it now

  [[nodiscard]] bool exported_to(const TillIdentity& till) const {
    return !refusal && mapping && mapping->allows(till);
  }
};

/// Holds the sources and the rules. All on the loop's thread.
class StickRegistry {
 public:
  explicit StickRegistry(transport::Loop& loop);
  ~StickRegistry();
  StickRegistry(const StickRegistry&) = delete;
  StickRegistry& operator=(const StickRegistry&) = delete;
  StickRegistry(StickRegistry&&) = delete;
  StickRegistry& operator=(StickRegistry&&) = delete;

  /// `changed` is called after anything that may change what a till gets (never from within a call
  /// of this class): look at sticks() again.
  void watch(std::function<void()> changed) { changed_ = std::move(changed); }
  void add(std::unique_ptr<StickSource> source);
  void start();
  /// Replaces the rules; sticks that are there are judged anew.
  void apply(Rules rules);

  [[nodiscard]] const Rules& rules() const noexcept { return rules_; }
  [[nodiscard]] std::vector<const PresentStick*> sticks() const;
  [[nodiscard]] const PresentStick* find(StayId stay) const;

  /// The exclusive use of a stick that is exported to `till`. Refused with a reason for a person
  /// otherwise.
  [[nodiscard]] Result<std::unique_ptr<Lease>> lease(StayId stay, const TillIdentity& till,
                                                     LeaseRecord record, Stick::Events events);
  [[nodiscard]] std::size_t leases() const;

 private:
  struct Entry {
    PresentStick stick;
    StickSource* source = nullptr;
    bool held = false;
    std::string told;  // the last verdict that was logged, so that each is logged once
  };

  void arrived(StickSource& source, const Arrival& arrival);
  void departed(StickSource& source, const std::string& busid);
  void judge_all();
  void judge(Entry& entry);
  void tell(Entry& entry);
  void lease_ended(StayId stay, const std::string& name, const LeaseRecord& record);
  void notify();

  transport::Loop& loop_;
  Rules rules_;
  std::vector<std::unique_ptr<StickSource>> sources_;
  std::map<StayId, Entry>
      entries_;  // in the order of arrival: of two with one identity, the first stays
  StayId next_stay_ = 1;
  std::function<void()> changed_;
  bool notifying_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillbridge::server
