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
#include "server/usb/mapping.hpp"
#include "server/usb/stick_source.hpp"

namespace tillbridge::server {

/// What is to be seen of a lease.
struct LeaseRecord {
  std::string till;     ///< name as in the mapping's `till`
  std::string address;  ///< of the connection
  std::string session;  ///< "user DOMAIN\name on HOST", as the till says; may be empty
  std::chrono::system_clock::time_point since;
  /// Set while the till's connection is lost and the till is waited for.
  std::optional<std::chrono::system_clock::time_point> away_since;
  std::uint32_t times_away = 0;
  std::chrono::system_clock::duration time_away{};  ///< of those that ended
  std::uint64_t transfers = 0;
  std::uint64_t bytes_in = 0,
                bytes_out = 0;  ///< data of completed transfers, from and to the stick
};

/// The exclusive use of a stick. Made by StickRegistry::lease(); destroying it ends it. Callbacks
/// never come from within a call. Also the place where a port reset is turned into what the
/// mapping's reset policy says.
class Lease {
 public:
  /// `ended` is called by the destructor.
  Lease(transport::Loop& loop, std::string stick, const Mapping& mapping, LeaseRecord record,
        std::function<void(const LeaseRecord&)> ended);
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

 private:
  // A softened port reset: its steps, one after the other, in place of the request `asked`.
  struct SoftReset {
    usb::TransferId asked = 0;
    usb::TransferId step = 0;
    std::deque<usb::SetupPacket> steps;
    usb::TransferStatus worst = usb::TransferStatus::success;
  };

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
  std::function<void(const LeaseRecord&)> ended_;
  Stick::Events events_;
  std::unique_ptr<Stick> stick_;
  enum class Direction : bool { in, out };
  using Running = std::unordered_map<usb::TransferId, Direction>;
  Running running_;
  SpareNodes<Running> spare_running_;
  std::optional<SoftReset> soft_reset_;
  std::deque<usb::Transfer> held_;  // behind the soft reset; bounded by the exporter's limits
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillbridge::server
