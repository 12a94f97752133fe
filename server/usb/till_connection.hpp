// One till on the link: greets it, offers it the sticks that are mapped to it, and takes them back.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "channel/link/endpoint.hpp"
#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "server/usb/conversation.hpp"
#include "server/usb/stick_registry.hpp"

namespace tillbridge::server {

/// A stick is offered (Granted) as soon as it is mapped, plugged in and free; the lease begins when
/// the till imports it on the stream of that grant. A stick that the till gave back (Released), or
/// whose conversation failed, is offered again after the till's next Hello, so that a till which
/// cannot use a stick does not go round in circles.
///
/// Back-pressure: while the connection's write queue is full nothing is read from the till; while
/// the till does not acknowledge, its transfers wait here, up to limits::held_input_bytes.
class TillConnection {
 public:
  struct Events {
    /// The till said Hello for the first time: the moment to end older connections of the same
    /// till.
    std::function<void()> greeted;
    /// Once, from the loop and never from within a call: the connection is over; destroy this.
    std::function<void()> closed;
  };

  TillConnection(transport::Loop& loop, StickRegistry& registry,
                 std::unique_ptr<transport::Stream> stream, Events events);
  ~TillConnection();
  TillConnection(const TillConnection&) = delete;
  TillConnection& operator=(const TillConnection&) = delete;
  TillConnection(TillConnection&&) = delete;
  TillConnection& operator=(TillConnection&&) = delete;

  void start();
  /// Sticks, mapping or leases changed.
  void refresh();
  /// Ends all leases at once, says goodbye and closes once that is sent.
  void close(const std::string& reason);

  [[nodiscard]] const TillIdentity& till() const noexcept { return till_; }
  [[nodiscard]] bool greeted() const noexcept { return greeted_; }
  [[nodiscard]] bool closing() const noexcept { return closing_; }
  [[nodiscard]] const std::string& address() const noexcept { return stream_->peer().address; }

 private:
  struct Grant {
    StayId stay = 0;
    std::string busid;
    std::unique_ptr<Conversation> conversation;
  };
  struct HeldInput {
    link::StreamId stream = 0;
    Bytes bytes;
  };

  void received(ByteView bytes);
  void schedule_pump();
  void pump();
  void handle(link::Endpoint::Event event);
  void handle_control(const link::ControlMessage& message);
  void hello(const link::Hello& message);
  void data(link::StreamId stream, Bytes bytes);
  void offer(const PresentStick& stick);
  void revoke(link::StreamId stream, const std::string& reason, bool unplugged);
  void say_nothing_for_you();
  [[nodiscard]] std::string nothing_message() const;
  void drain_conversations();
  void flush();
  void arm_timer();
  [[nodiscard]] bool has_room() const;
  void disconnect(const std::string& reason);
  void close_stream();
  void over();
  [[nodiscard]] LeaseRecord lease_record() const;

  transport::Loop& loop_;
  StickRegistry& registry_;
  std::unique_ptr<transport::Stream> stream_;
  Events events_;
  TillIdentity till_;
  std::string name_;  // "kasse-03 at 192.0.2.7:51344", for the log
  link::Endpoint endpoint_{link::Side::server};
  transport::Timer link_timer_;
  transport::Timer hello_timer_;
  bool greeted_ = false, closing_ = false, over_ = false;
  bool reading_paused_ = false, pump_scheduled_ = false;
  std::string session_;
  std::map<link::StreamId, Grant> grants_;
  link::StreamId next_stream_ = 1;
  std::set<StayId> given_back_;
  std::deque<HeldInput> held_input_;
  std::size_t held_input_bytes_ = 0;
  std::string last_nothing_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillbridge::server
