// A mapping in use: one stick, one till, until one of them goes or the admin says so.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "channel/bytes/queue.hpp"
#include "channel/transport/loop.hpp"
#include "channel/usb/requests.hpp"
#include "server/usb/command_end.hpp"
#include "server/usb/latency.hpp"
#include "server/usb/mapping.hpp"
#include "server/usb/observer.hpp"
#include "server/usb/stick_source.hpp"

namespace tillbridge::server {

/// What is to be seen of a lease.
struct LeaseRecord {
  std::uint64_t id = 0;  ///< among the leases of this run of the program; from 1
  std::string stick;     ///< StickIdentity::text()
  std::string mapping;   ///< Mapping::id: by which one the till has it
  std::string till;      ///< name as in the mapping's `till`
  std::string address;   ///< of the connection
  SessionFacts facts;
  std::string session;     ///< Claimant::session
  std::string continuity;  ///< PresentStick::continuity
  /// It goes on with one that an earlier run of this program had; see KeptLease.
  bool continues = false;
  std::chrono::system_clock::time_point since;
  /// Set while the till's connection is lost and the till is waited for.
  std::optional<std::chrono::system_clock::time_point> away_since;
  std::uint32_t times_away = 0;
  std::chrono::system_clock::duration time_away{};  ///< of those that ended
  std::uint64_t transfers = 0;
  /// Transfers that failed. A stall is an answer, and a cancel somebody's wish: neither counts.
  std::uint64_t errors = 0;
  std::uint64_t bytes_in = 0,
                bytes_out = 0;  ///< data of completed transfers, from and to the stick
  /// From the transfer's arrival here to the stick's answer; not of cancelled ones.
  LatencyHistogram latency;
  LeaseEnd end = LeaseEnd::given_back;  ///< once it has ended
};

/// A lease that ended without its till's wish: an earlier run of this program ended, or the stick
/// left the bus. The stick is for that till only, for a while; the session that had it before a
/// restart goes on with it.
struct KeptLease {
  std::string stick;       ///< StickIdentity::text()
  std::string till;        ///< LeaseRecord::till
  std::string session;     ///< Claimant::session
  std::string continuity;  ///< PresentStick::continuity as it was
  bool left_bus = false;   ///< that is why; the lease has ended
};

/// The exclusive use of a stick. Made by StickRegistry::lease(); destroying it ends it. Callbacks
/// never come from within a call. Also the place where a port reset is turned into what the
/// mapping's reset policy says.
class Lease {
 public:
  using Ended =
      std::function<void(const LeaseRecord&, std::optional<CommandEnd::Leftover> unfinished)>;

  /// `ended` is called by the destructor; `unfinished`: the stick is in the middle of a command.
  Lease(transport::Loop& loop, std::string stick, const Mapping& mapping, LeaseRecord record,
        Ended ended);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Lease(Lease&&) = delete;
  Lease& operator=(Lease&&) = delete;

  /// Called once, by the registry.
  void start(StickSource& source, const std::string& busid, Stick::Events events);

  [[nodiscard]] const usb::DeviceDescription& description() const { return stick_->description(); }
  [[nodiscard]] const LeaseRecord& record() const noexcept { return record_; }
  [[nodiscard]] const std::string& stick_name() const noexcept { return stick_name_; }

  void submit(usb::Transfer transfer);
  void cancel(usb::TransferId id);

  void till_away();
  void till_back(const std::string& address);
  /// What the record will say once it has ended; the first word counts.
  void ends_because(LeaseEnd end);
  /// The mapping by which the till has the stick is this one now.
  void follow(const Mapping& mapping);
  /// nullptr: nobody looks.
  void set_tap(TransferTap* tap) noexcept { tap_ = tap; }
  [[nodiscard]] LatencyHistogram last_minute() { return recent_.minute(loop_.now()); }

 private:
  // A softened port reset: its steps, one after the other, in place of the request `asked`.
  struct SoftReset {
    usb::TransferId asked = 0;
    usb::TransferId step = 0;
    std::deque<usb::SetupPacket> steps;
    usb::TransferStatus worst = usb::TransferStatus::success;
  };

  [[nodiscard]] std::optional<CommandEnd::Leftover> leave();
  void end_absence();
  void pass_on(usb::Transfer transfer);
  void reset_by_policy(const usb::Transfer& transfer);
  void next_reset_step();
  void reset_step_done(usb::TransferStatus status);
  void completed(usb::Completion completion);
  void answer_later(usb::Completion completion);
  void flush_held();
  [[nodiscard]] usb::TransferId unused_id() const;

  transport::Loop& loop_;
  std::string stick_name_;
  ResetPolicy reset_policy_;
  LeaseRecord record_;
  Ended ended_;
  Stick::Events events_;
  std::shared_ptr<Stick::Events> stick_events_ = std::make_shared<Stick::Events>();
  std::unique_ptr<Stick> stick_;
  std::optional<massstorage::CommandWatch> watch_;  ///< from opened() on
  struct Running {
    bool out = false, of_command = false;
    Instant since{};
  };
  std::unordered_map<usb::TransferId, Running> running_;
  SpareNodes<std::unordered_map<usb::TransferId, Running>> spare_running_;
  RecentLatency recent_;
  TransferTap* tap_ = nullptr;
  bool end_said_ = false;
  std::optional<SoftReset> soft_reset_;
  std::deque<usb::Transfer> held_;  // behind the soft reset; bounded by the exporter's limits
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillbridge::server
