// The sticks of this machine: which are there, which may be exported, whose they are, and who uses
// them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "channel/transport/loop.hpp"
#include "server/usb/lease.hpp"
#include "server/usb/mapping.hpp"
#include "server/usb/observer.hpp"
#include "server/usb/stick_source.hpp"

namespace tillbridge::server {

/// Names one stay of a stick in its port: plugged in again, it is another one. Never used twice.
using StayId = std::uint64_t;

/// Why a stick is given to nobody.
struct Refusal {
  enum class Kind : std::uint8_t {
    not_allowed,          ///< by its class; most of them are no sticks at all
    twin,                 ///< another one of the same identity is there
    ambiguous,            ///< a mapping that names only a serial fits two sticks
    descriptors_changed,  ///< it is not the one that the admin accepted
    wrong_stick           ///< its port is mapped for another one
  };
  Kind kind{};
  std::string problem, remedy;
  [[nodiscard]] std::string text() const { return problem + "; " + remedy; }
};

/// To whom a stick is offered. It is nobody else's until that session takes it, gives it back, or
/// lets it lie.
struct OfferRecord {
  std::string till, session, mapping;
  Instant since{};
};

/// "until 2026-11-23 12:30 UTC", or that it is until somebody says so.
[[nodiscard]] std::string until_text(std::chrono::system_clock::time_point when);

/// A stick that is plugged in.
struct PresentStick {
  StayId stay = 0;
  Arrival arrival;
  StickIdentity identity;
  std::string fingerprint;         ///< of its descriptors
  std::optional<Refusal> refusal;  ///< why it is given to nobody, and what to do about it
  std::optional<std::chrono::system_clock::time_point> blocked_until;
  std::vector<Mapping> mappings;   ///< all of them, in the order in which they are looked at
  std::set<std::string> released;  ///< sessions that the admin took it from
  std::optional<OfferRecord> offer;
  const Lease* lease = nullptr;  ///< who uses it now
  /// Of whom it was before the server was restarted, or before it left the bus a moment ago: for
  /// that till only, until it comes or its time is over.
  std::optional<KeptLease> kept;
  /// Names this device in its present coming to the bus: the same text later, also after a restart
  /// of the server, is the same device, with power all the time. Empty: nobody can tell.
  std::string continuity;

  /// The first mapping that is fulfilled; nullptr: it is not this claimant's.
  [[nodiscard]] const Mapping* mapping_for(const Claimant& claimant) const;
  [[nodiscard]] bool mapped_to(const std::string& till) const;
  /// It may have the stick, as far as nobody else has it.
  [[nodiscard]] bool exported_to(const Claimant& claimant) const {
    return !refusal && !blocked_until && !released.contains(claimant.session) &&
           mapping_for(claimant) != nullptr;
  }
  /// It is not kept for another till.
  [[nodiscard]] bool waits_for(const TillIdentity& till) const {
    return !kept || (till.kind == TillIdentity::Kind::certificate && kept->till == till.name);
  }
  /// This very session had it when the server was restarted, and the stick knows of no interruption
  /// but that of its transfers.
  [[nodiscard]] bool continues(const Claimant& claimant) const {
    return waits_for(claimant.till) && kept && kept->session == claimant.session &&
           !continuity.empty() && kept->continuity == continuity;
  }
};

/// Since when the stick is `kept`, as a clause for a person.
[[nodiscard]] std::string kept_since(const PresentStick& stick);

/// Why whoever has a stick may not have it any more.
struct Withdrawal {
  LeaseEnd end{};
  std::string reason;  ///< for the person at the till
};
/// `stick`: nullptr once it was unplugged; otherwise it is not exported to `claimant`.
[[nodiscard]] Withdrawal withdrawal_of(const PresentStick* stick, const Claimant& claimant);

class StickRegistry;

/// A stick is kept for one session for as long as this lives.
class Offer {
 public:
  Offer(StickRegistry& registry, StayId stay);
  ~Offer();
  Offer(const Offer&) = delete;
  Offer& operator=(const Offer&) = delete;
  Offer(Offer&&) = delete;
  Offer& operator=(Offer&&) = delete;

 private:
  StickRegistry& registry_;
  StayId stay_;
};

/// Holds the sources and the rules. All on the loop's thread. Must outlive its offers and leases.
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
  void observe(Observer* observer) { observer_ = observer; }
  void add(std::unique_ptr<StickSource> source);
  /// Before start(): what is kept, and for how long. At most one for a stick.
  void keep(const std::vector<KeptLease>& leases, Duration duration);
  void start();
  /// Replaces the rules; sticks that are there are judged anew.
  void apply(Rules rules);
  /// Somebody may get another stick now: see watch().
  void notify();

  [[nodiscard]] const Rules& rules() const noexcept { return rules_; }
  [[nodiscard]] std::vector<const PresentStick*> sticks() const;
  [[nodiscard]] const PresentStick* find(StayId stay) const;
  /// By StickIdentity::text(); of two with one identity the first.
  [[nodiscard]] const PresentStick* find(const std::string& identity) const;

  /// Keeps a stick that is exported to `claimant` for it; nullptr if it is not free.
  [[nodiscard]] std::unique_ptr<Offer> offer(StayId stay, const Claimant& claimant);
  /// The exclusive use of a stick that is exported to `claimant` and not kept for another one.
  /// Refused with a reason for a person otherwise.
  [[nodiscard]] Result<std::unique_ptr<Lease>> lease(StayId stay, const Claimant& claimant,
                                                     LeaseRecord record, Stick::Events events);
  [[nodiscard]] std::size_t leases() const;
  /// Sticks in the middle of a command that their till left unfinished: see CommandEnd.
  [[nodiscard]] std::size_t unfinished() const;
  [[nodiscard]] Lease* find_lease(std::uint64_t id);
  void lease_changed(const Lease& lease);

  /// The admin takes the stick from this session: it does not get it again by itself. By identity,
  /// so that pulling and plugging changes nothing.
  void release(const std::string& identity, const std::string& session);
  /// All sessions may have it again. False: it was taken from none.
  bool forgive(const std::string& identity);
  /// That session is over.
  void forget_session(const std::string& session);

  /// Looks at the transfers of this stick, in whatever leases, until it is taken away (nullptr).
  void tap(const std::string& identity, TransferTap* tap);

 private:
  friend class Offer;
  struct Entry {
    PresentStick stick;
    StickSource* source = nullptr;
    Lease* lease = nullptr;
    std::unique_ptr<CommandEnd> unfinished;  // of the lease before; this one begins behind it
    std::function<void()> begin;             // the lease that waits for that
    bool held = false;
    std::string told;  // the last verdict that was logged, so that each is logged once
  };

  void arrived(StickSource& source, const Arrival& arrival);
  void departed(StickSource& source, const std::string& busid);
  void judge_all();
  void judge(Entry& entry);
  [[nodiscard]] std::optional<Refusal> refusal_of(const Entry& entry) const;
  [[nodiscard]] std::optional<Refusal> twin_of(const Entry& entry) const;
  void tell(Entry& entry);
  void follow(Entry& entry);
  void wait_for_block_ends();
  void offer_ended(StayId stay);
  void lease_ended(StayId stay, const LeaseRecord& record,
                   std::optional<CommandEnd::Leftover> left);
  void finished(StayId stay);
  void keep(const KeptLease& lease, Duration duration);
  void look_at_kept();
  [[nodiscard]] Status may_lease(const PresentStick& stick, const Claimant& claimant) const;

  transport::Loop& loop_;
  Rules rules_;
  std::vector<std::unique_ptr<StickSource>> sources_;
  std::map<StayId, Entry>
      entries_;  // in the order of arrival: of two with one identity, the first stays
  StayId next_stay_ = 1;
  std::uint64_t next_lease_ = 1;
  std::map<std::string, std::set<std::string>> released_;  // sessions by identity
  std::map<std::string, TransferTap*> taps_;
  std::function<void()> changed_;
  Observer none_;
  Observer* observer_ = &none_;
  struct Kept {
    KeptLease lease;
    Instant until{};
    LeaseEnd end = LeaseEnd::lost;  ///< why it is not kept any longer, then
  };
  std::map<std::string, Kept> kept_;  ///< by stick
  transport::Timer block_timer_, kept_timer_;
  bool notifying_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillbridge::server
