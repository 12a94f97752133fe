// What happens to sticks, tills and leases, for whoever keeps account of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "channel/bytes/instant.hpp"
#include "server/usb/mapping.hpp"

namespace tillbridge::usb {
struct Transfer;
struct Completion;
}  // namespace tillbridge::usb

namespace tillbridge::server {

struct PresentStick;
struct LeaseRecord;
struct KeptLease;

/// Why a lease ended. *Released* is what the admin or the till wanted; it does not come back by
/// itself. *Lost* does.
enum class LeaseEnd : std::uint8_t {
  given_back,       ///< the till is done with it
  till_left,        ///< it said goodbye
  lost,             ///< its connection was lost and it did not come back in time
  taken_over,       ///< by a newer session of the same till
  unplugged,        ///< the stick
  released,         ///< the admin ended it
  blocked,          ///< the admin blocked the stick
  mapping_changed,  ///< the stick belongs to another till now, or to none
  refused,          ///< the stick is refused now
  revoked,          ///< the till's certificate was
  expired,          ///< the till's certificate has ended
  failed,           ///< the conversation broke the protocol, or the stick could not be opened
  server_stopped,
  server_restarts  ///< it is to go on as soon as the server is back
};
/// "given_back", ...
[[nodiscard]] std::string_view text(LeaseEnd end);

/// Why a till's session is over.
enum class TillEnd : std::uint8_t {
  goodbye,
  lost,
  taken_over,
  revoked,
  expired,  ///< its certificate has ended
  turned_out,
  server_stopped,
  server_restarts
};
[[nodiscard]] std::string_view text(TillEnd end);

/// A till's session, as it is now.
struct TillStatus {
  TillIdentity till;
  std::string session;  ///< Claimant::session
  std::string address;  ///< of the connection, or of the last one
  SessionFacts facts;
  bool waiting = false;                ///< its connection is lost, and it is waited for
  std::optional<Duration> round_trip;  ///< of the link, as last measured
};

/// Called on the loop's thread, from within the work: look, note down, and post() whatever changes
/// something. References are valid during the call only.
class Observer {
 public:
  Observer() = default;
  virtual ~Observer() = default;
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  virtual void stick_arrived(const PresentStick& /*stick*/) {}
  virtual void stick_left(const PresentStick& /*stick*/) {}
  /// What becomes of it is another thing now: refusal, block, mappings.
  virtual void stick_judged(const PresentStick& /*stick*/) {}
  /// It is offered to a till, or not any more.
  virtual void stick_offered(const PresentStick& /*stick*/) {}

  virtual void till_connected(const TillStatus& /*till*/) {}
  virtual void till_lost(const TillStatus& /*till*/, const std::string& /*cause*/) {}
  virtual void till_back(const TillStatus& /*till*/) {}
  virtual void till_left(const TillStatus& /*till*/, TillEnd /*how*/, const std::string& /*why*/) {}
  /// `name` and `fingerprint` are empty if the peer did not get as far as its certificate. `news`:
  /// see Refusals; a till that is refused tries for ever.
  virtual void connection_refused(const std::string& /*address*/, const TillIdentity& /*till*/,
                                  const std::string& /*why*/, bool /*news*/) {}

  virtual void lease_begun(const PresentStick& /*stick*/) {}
  /// Its till is away, or back.
  virtual void lease_changed(const LeaseRecord& /*record*/) {}
  virtual void lease_ended(const LeaseRecord& /*record*/) {}
  /// It does not go on: its till did not come, or came with another session.
  virtual void kept_ended(const KeptLease& /*kept*/, LeaseEnd /*how*/) {}
};

/// Sees every transfer of a stick in the order in which it is given to the stick and comes back:
/// for a capture. Called from within the work, so it must be quick.
class TransferTap {
 public:
  TransferTap() = default;
  virtual ~TransferTap() = default;
  TransferTap(const TransferTap&) = delete;
  TransferTap& operator=(const TransferTap&) = delete;
  virtual void submitted(const usb::Transfer& transfer) = 0;
  virtual void completed(const usb::Completion& completion) = 0;
};

}  // namespace tillbridge::server
