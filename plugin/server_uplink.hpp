// The link to a USB server of ours: sticks are granted and revoked while it is up, and stay while
// its connection is lost for a moment.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "channel/link/endpoint.hpp"
#include "channel/transport/stream.hpp"
#include "plugin/deadline.hpp"
#include "plugin/dialer.hpp"
#include "plugin/renewal.hpp"
#include "plugin/uplink.hpp"

namespace tillbridge::plugin {

/// A session of the link outlives its connections: it ends, and its sticks with it, when one of the
/// two says goodbye or breaks the protocol, or after the server's grace time without a connection.
///
/// A server that does not know the session any more was restarted: the sticks stay, without a
/// conversation, until it grants them again as the same, within the same time. One that says before
/// that it will restart has the sticks paused first, so that no transfer is under way then.
class ServerUplink final : public Uplink {
 public:
  /// `tls` was loaded from the files that `source` names.
  ServerUplink(transport::Loop& loop, ServerSource source, transport::TlsContext tls,
               SessionFacts facts, Log& log);

  void start(Events events) override;
  [[nodiscard]] bool can_send() const override;
  void send(StickId stick, Bytes bytes) override;
  void flush() override;
  void usable(StickId stick) override;
  void release(StickId stick) override;
  void refuse(StickId stick, const std::string& why) override;
  void paused() override;
  void stop(std::function<void()> stopped) override;

 private:
  void greet(std::unique_ptr<transport::Stream> stream);
  void receive(ByteView bytes);
  void closed(const std::optional<Error>& error);
  void finish_stop();
  void take_events();
  void take(link::Endpoint::Event event);
  void take(const link::ControlMessage& message);
  void granted(const link::Granted& grant);
  void revoked(const link::Revoked& revocation);
  void established(bool resumed);
  void restarting(const link::Restarting& announcement);
  /// The session is a new one: the sticks that can wait do.
  void hold_sticks(Instant lost_since);
  [[nodiscard]] bool takes_back(const link::Granted& grant);
  void look_at_held();
  /// The connection is gone; the session waits for the next one if it may.
  void lose_connection(Level level, const std::string& why);
  /// The session is over, and its connection with it.
  void end_session(Level level, const std::string& why);
  void withdraw_sticks(const std::string& why);
  void give_up();
  void tell_if_writable();

  [[nodiscard]] std::optional<StickId> stick_of(link::StreamId stream) const;

  struct Taken {
    std::string busid;
    link::StreamId stream = link::control_stream;  ///< none while it is held
    /// Set while it waits for the restarted server to grant it again.
    std::optional<Instant> held_until{};
  };

  transport::Loop& loop_;
  ServerSource source_;
  SessionFacts facts_;
  Log& log_;
  Dialer dialer_;
  Renewal renewal_;
  Events events_;
  Deadline deadline_;          ///< of the endpoint
  transport::Timer stopping_;  ///< how long stop() waits
  transport::Timer patience_;  ///< how long the sticks wait for a connection
  std::unique_ptr<transport::Stream> stream_;
  std::optional<link::Endpoint> endpoint_;
  transport::Timer held_;     ///< the first of Taken::held_until
  transport::Timer unpause_;  ///< the server said that it restarts, and does not
  std::map<StickId, Taken> sticks_;
  std::function<void()> stopped_;
  std::optional<Error> broken_;  ///< the session is over once the events at hand are taken
  std::optional<Error> cut_;     ///< the connection is of no use: the same for it alone
  Duration grace_{};             ///< as the server says; 0 until it did
  std::optional<Instant> lost_since_;
  std::optional<link::Goodbye> goodbye_;  ///< the server said that it will close
  StickId last_stick_ = 0;
  bool established_ = false;  ///< on this connection
  bool blocked_ = false;      ///< can_send() was false when asked last
};

}  // namespace tillbridge::plugin
