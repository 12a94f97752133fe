// One till on the link: greets it, offers it the sticks that are mapped to it, takes them back, and
// keeps them for it while its connection is lost.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "channel/link/endpoint.hpp"
#include "channel/transport/deadline.hpp"
#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "server/usb/conversation.hpp"
#include "server/usb/log.hpp"
#include "server/usb/stick_registry.hpp"

namespace tillbridge::server {

/// A stick is offered (Granted) as soon as it is mapped, plugged in and free: its owner decides
/// between several tills that it is mapped to. The lease begins when the till imports it on the
/// stream of that grant. A stick that the till gave back (Released), or whose conversation failed,
/// is offered again after the till's next Hello, so that a till which cannot use a stick does not
/// go round in circles.
///
/// A connection that is lost without a word, with sticks in use or on offer, is waited for up to
/// the grace time: leases, conversations and running transfers stay, and nobody else gets the
/// sticks. A goodbye, a broken protocol, or another session of the same till ends the session at
/// once.
///
/// Back-pressure: while the connection's write queue is full nothing is read from the till; while
/// the till does not acknowledge, its transfers wait here, up to limits::held_input_bytes.
class TillSession {
 public:
  /// A till's next certificate.
  struct Renewal {
    Bytes certificate;        ///< DER
    std::string fingerprint;  ///< SHA-256, lower-case hex
    std::chrono::system_clock::time_point end;
  };
  struct Events {
    /// The till said Hello for the first time: the moment to end older connections of the same
    /// till.
    std::function<void()> greeted;
    /// Its connection is lost, and it is waited for from now on.
    std::function<void(const std::string& cause)> waiting;
    /// Its connection came back.
    std::function<void()> back;
    /// Once: it is no session any more, and has no stick.
    std::function<void(TillEnd how, const std::string& why)> left;
    /// Once, from the loop and never from within a call: the session is over; destroy this.
    std::function<void()> closed;
    /// Whether renew() may be asked for the certificate that this session has.
    std::function<bool(const TillIdentity&)> renews{};
    /// A certificate for the key in `request` (PKCS#10, DER); errors are told to the till.
    std::function<Result<Renewal>(const TillIdentity&, ByteView request)> renew{};
  };

  /// `grace`: 0 does not wait for a lost connection.
  TillSession(transport::Loop& loop, StickRegistry& registry, const transport::Peer& till,
              Duration grace, Events events);
  ~TillSession();
  TillSession(const TillSession&) = delete;
  TillSession& operator=(const TillSession&) = delete;
  TillSession(TillSession&&) = delete;
  TillSession& operator=(TillSession&&) = delete;

  /// A connection of this till, whose first bytes are the hello: the first one, or the one that
  /// goes on with the session, also while an older one seems to be alive.
  void attach(std::unique_ptr<transport::Stream> stream, ByteView first_bytes);
  /// Does not wait any longer.
  void give_up(const std::string& reason);
  /// Sticks, mapping or leases changed: first all sessions let go what is not theirs any more, then
  /// what is free is offered, then those that got nothing hear why.
  void withdraw();
  [[nodiscard]] bool accepts(const PresentStick& stick, const Mapping& mapping) const;
  void offer(const PresentStick& stick);
  /// Takes an offer back that the till let lie; it is not offered to it again until its next Hello.
  void retract(StayId stay, const std::string& reason);
  void settle();
  /// Ends all leases at once, says goodbye and closes once that is sent.
  void close(TillEnd how, const std::string& reason);
  /// The server will restart within this time. A till that can hold its sticks is asked to pause
  /// them, and the session closes itself as soon as it did; every other one is closed now. Offers
  /// nothing any more.
  void close_for_restart(std::chrono::seconds within);
  /// It was asked to pause and has not.
  [[nodiscard]] bool pausing() const noexcept { return pausing_ && !closing_; }

  [[nodiscard]] const TillIdentity& till() const noexcept { return claimant_.till; }
  /// It opened the session with this certificate, or renewed it to this one since.
  [[nodiscard]] bool belongs_to(const std::string& fingerprint) const {
    return certificates_.contains(fingerprint);
  }
  /// Of its newest certificate.
  [[nodiscard]] std::chrono::system_clock::time_point certificate_end() const noexcept {
    return certificate_end_;
  }
  [[nodiscard]] bool greeted() const noexcept { return greeted_; }
  /// Its hello says that it only examines the way here.
  [[nodiscard]] bool examines() const noexcept { return examines_; }
  /// It gets no stick, and its welcome says why: for one that examines, beside another session.
  /// Called from within Events::greeted.
  void only_looks(const std::string& busy) { busy_ = busy; }
  /// Beside another session, which goes on as if this one were not there.
  [[nodiscard]] bool looks_only() const noexcept { return !busy_.empty(); }
  [[nodiscard]] bool closing() const noexcept { return closing_; }
  /// Of the connection, or of the last one.
  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  [[nodiscard]] const link::SessionId& id() const noexcept { return endpoint_.session(); }
  [[nodiscard]] bool is_outdated(const link::Caller& caller) const noexcept {
    return endpoint_.is_outdated(caller);
  }
  [[nodiscard]] bool can_resume() const noexcept {
    return greeted_ && !closing_ && grace_ > Duration(0) && endpoint_.can_resume();
  }
  /// Claimant::session; empty before its hello.
  [[nodiscard]] const std::string& session() const noexcept { return claimant_.session; }
  [[nodiscard]] TillStatus status() const;
  /// Since when it is without a connection.
  [[nodiscard]] std::optional<Instant> waiting_since() const noexcept { return waiting_since_; }

 private:
  struct Grant {
    StayId stay = 0;
    std::string busid;
    std::unique_ptr<Offer> offer;  // lives as long as the grant
    std::unique_ptr<Conversation> conversation;
  };
  struct HeldInput {
    link::StreamId stream = 0;
    Bytes bytes;
  };

  void received(ByteView bytes);
  void resumed();
  void lost(const std::string& cause);
  void pump();
  void handle(link::Endpoint::Event event);
  void handle_control(const link::ControlMessage& message);
  void hello(const link::Hello& message);
  void renew(const link::Renew& message);
  void data(link::StreamId stream, Bytes bytes);
  void revoke(link::StreamId stream, const Withdrawal& why);
  void drop_grants(LeaseEnd why);
  void left(TillEnd how, const std::string& why);
  void say_nothing_for_you();
  [[nodiscard]] std::string nothing_message() const;
  void drain_conversations();
  void flush();
  [[nodiscard]] bool has_room() const;
  [[nodiscard]] std::string refusal_for_me(const PresentStick& stick) const;
  void disconnect(const std::string& reason);
  void close_stream();
  void over();
  [[nodiscard]] LeaseRecord lease_record() const;
  /// What log lines are about.
  [[nodiscard]] log::About about(const std::string& stick = {}) const {
    return {stick, claimant_.till.name};
  }
  [[nodiscard]] std::string stick_name(StayId stay) const {
    const PresentStick* stick = registry_.find(stay);
    return stick == nullptr ? std::string() : stick->identity.text();
  }

  transport::Loop& loop_;
  StickRegistry& registry_;
  Duration grace_;
  std::unique_ptr<transport::Stream> stream_;  // nullptr while it is waited for
  Events events_;
  std::string address_;
  std::string name_;  // "kasse-03 at 192.0.2.7:51344", for the log
  link::Endpoint endpoint_{link::Side::server};
  transport::Deadline link_deadline_;  ///< of the endpoint
  transport::Soon pump_soon_;
  transport::Timer close_timer_;
  transport::Timer hello_timer_;
  transport::Timer grace_timer_;
  std::optional<Instant> waiting_since_;
  bool examines_ = false;
  std::string busy_;
  bool greeted_ = false, closing_ = false, over_ = false, left_ = false;
  bool holds_ = false;    ///< its sticks stay in its session while this server is restarted
  bool pausing_ = false;  ///< it was told that this is about to happen
  bool reading_paused_ = false;
  Claimant claimant_;
  std::set<std::string> certificates_;  ///< fingerprints; the newest is the claimant's
  std::chrono::system_clock::time_point certificate_end_;
  std::map<link::StreamId, Grant> grants_;
  link::StreamId next_stream_ = 1;
  link::StreamId last_served_ = 0;  ///< whose answer went out last
  std::set<StayId> given_back_;
  std::deque<HeldInput> held_input_;
  std::size_t held_input_bytes_ = 0;
  std::string last_nothing_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillbridge::server
