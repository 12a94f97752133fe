// The inside of Administration: what it remembers, and how a change is carried out so that store,
// audit and rules never tell different stories.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/admin/administration.hpp"
#include "server/admin/documents.hpp"
#include "server/admin/state_clock.hpp"

namespace tillbridge::admin {

using audit::Field;
using audit::Kind;
using Details = std::vector<std::pair<Field, audit::Value>>;

/// What the store holds, read whole after every change: a few hundred rows.
struct Memory {
  std::map<std::string, store::Stick> sticks;
  std::map<std::string, store::Till> tills;
  std::vector<store::Mapping> mappings;  // by stick, then position
  std::vector<store::Certificate> certificates;
  std::vector<store::Pending> pending;
  bool draining = false;

  [[nodiscard]] const store::Mapping* mapping(const std::string& id) const;
  [[nodiscard]] std::vector<store::Mapping> mappings_of(const std::string& stick) const;
};

/// A lease that runs: its row, and the number that the registry gave it.
struct RunningLease {
  std::string id;
  store::Lease row;
  std::optional<std::int64_t> stored;  // nothing: the store could not be written
  store::Lease before{};               // what it had moved before the server was restarted
};

struct Administration::Impl final : public server::Observer {
  explicit Impl(Parts given);

  // --- observation (observation.cpp)
  void stick_arrived(const server::PresentStick& stick) override;
  void stick_left(const server::PresentStick& stick) override;
  void stick_judged(const server::PresentStick& stick) override;
  void stick_offered(const server::PresentStick& stick) override;
  void till_connected(const server::TillStatus& till) override;
  void till_lost(const server::TillStatus& till, const std::string& cause) override;
  void till_back(const server::TillStatus& till) override;
  void till_left(const server::TillStatus& till, server::TillEnd how,
                 const std::string& why) override;
  void connection_refused(const std::string& address, const server::TillIdentity& till,
                          const std::string& why, bool news) override;
  void lease_begun(const server::PresentStick& stick) override;
  void lease_changed(const server::LeaseRecord& record) override;
  void lease_ended(const server::LeaseRecord& record) override;
  void kept_ended(const server::KeptLease& kept, server::LeaseEnd how) override;
  void stick_seen(const server::PresentStick& stick);
  void put(const store::Stick& stick);
  void put(const store::Till& till);
  void keep_open_leases();
  void kept_goes_on(const server::LeaseRecord& record);
  void end_kept(store::Lease row, const std::string& why, const std::string& text);

  // --- changes (administration.cpp)
  using Work = std::function<Status(store::Store&)>;
  /// All of `work` and these entries of the audit, or nothing. Afterwards the rules are those of
  /// the new state.
  [[nodiscard]] Outcome<Done> commit(std::vector<audit::Entry> entries, const Work& work);
  [[nodiscard]] std::optional<Problem> refused(const Actor& actor, const std::string& action,
                                               const std::string& stick = {},
                                               const std::string& till = {});
  [[nodiscard]] static audit::Entry entry(Kind kind, const Change& change, const std::string& stick,
                                          const std::string& till, Details details = {});
  [[nodiscard]] Outcome<std::string> find_stick(const std::string& name) const;
  [[nodiscard]] Status load();
  void apply_rules();
  void recover_outbox();
  void note(audit::Entry fresh);
  [[nodiscard]] Status flush(audit::AuditLog::Sign sign);
  void audit_checked(const Result<audit::Report>& report);
  /// What the observer writes: not worth ending a lease for, but worth an alarm.
  void stored(const Status& status);
  void tell(Level level, const std::string& kind, const std::string& text, const std::string& stick,
            const std::string& till, const std::string& who);

  [[nodiscard]] static Status use_up(store::Store& rows, const Change& change) {
    return change.uses_up.empty() ? Status() : rows.remove_setting(change.uses_up);
  }
  [[nodiscard]] bool last_admin(const std::string& name) const;

  // --- mappings (administration_mappings.cpp)
  /// The rows of one stick as they shall be; positions are given by the order.
  [[nodiscard]] Status put_mappings(store::Store& rows, const std::vector<store::Mapping>& before,
                                    std::vector<store::Mapping>& after) const;
  /// What a new mapping of a stick makes of its descriptors.
  void accept_when_first(store::Stick& stick, bool mapped_before) const;

  // --- what is seen (administration_state.cpp)
  [[nodiscard]] State state() const;
  [[nodiscard]] std::vector<Alarm> alarms_now(Time now) const;
  void publish_soon();
  void publish();
  void publish_load();
  void renew_alarms();
  void tick();

  [[nodiscard]] static Time now() { return std::chrono::system_clock::now(); }

  Parts parts;
  transport::Loop& loop;
  store::Store& store;
  server::UsbServer& usb;
  Memory memory;
  server::Rules file_rules;
  Time started = now();
  Instant began;
  EventHub events;
  Counts counts;
  std::function<void(const Alarm&, bool)> alarm_heard;

  std::map<std::uint64_t, RunningLease> leases;      // by the registry's number
  std::map<std::string, store::Lease> kept_leases;   // rows of UsbServer::keep(), by stick
  std::map<std::string, std::string> lost_tills;     // name, and why
  mutable std::map<std::string, StateClock> clocks;  // of tills: whoever looks also counts
  std::set<std::string> seen_here;                   // sticks that were there since the start

  // The audit: entries that are not on the disk yet.
  std::deque<std::pair<audit::Entry, Time>> unwritten;
  std::optional<std::string> audit_fault, store_fault;
  std::optional<std::string> audit_damage;  // what the last check of the log found
  std::optional<Time> audit_put_aside;      // when a start put a damaged one aside
  bool flush_posted = false;
  // Strangers cannot fill the disk with refusals.
  Instant refusals_since{};
  unsigned refusals = 0;
  std::uint64_t refusals_untold = 0;

  std::map<std::string, Alarm> alarms;  // by id
  std::uint64_t version = 1;
  std::map<std::string, std::map<std::string, Json>> published;  // list -> id -> document
  Json published_server;
  bool publish_posted = false, stopped = false;
  transport::Timer tick_timer;
  std::shared_ptr<bool> alive = std::make_shared<bool>(true);
};

[[nodiscard]] Problem problem_of(const Error& error);
[[nodiscard]] Problem not_found(const std::string& what, const std::string& remedy);
/// "(reason)" behind a line of the journal.
[[nodiscard]] std::string because(const std::string& reason);

}  // namespace tillbridge::admin
