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
#include "plugin/uplink.hpp"

namespace tillbridge::plugin {

/// A session of the link outlives its connections: it ends, and its sticks with it, when the server
/// says that it does not know it any more, when one of the two says goodbye or breaks the protocol,
/// or after the server's grace time without a connection.
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
  /// The connection is gone; the session waits for the next one if it may.
  void lose_connection(Level level, const std::string& why);
  /// The session is over, and its connection with it.
  void end_session(Level level, const std::string& why);
  void withdraw_sticks(const std::string& why);
  void give_up();
  void tell_if_writable();

  [[nodiscard]] std::optional<StickId> stick_of(link::StreamId stream) const;

  transport::Loop& loop_;
  ServerSource source_;
  SessionFacts facts_;
  Log& log_;
  Dialer dialer_;
  Events events_;
  Deadline deadline_;          ///< of the endpoint
  transport::Timer stopping_;  ///< how long stop() waits
  transport::Timer patience_;  ///< how long the sticks wait for a connection
  std::unique_ptr<transport::Stream> stream_;
  std::optional<link::Endpoint> endpoint_;
  std::map<StickId, link::StreamId> sticks_;
  std::function<void()> stopped_;
  std::optional<Error> broken_;  ///< the session is over once the events at hand are taken
  std::optional<Error> cut_;     ///< the connection is of no use: the same for it alone
  Duration grace_{};             ///< as the server says; 0 until it did
  std::optional<Instant> lost_since_;
  std::string goodbye_;  ///< why the server said that it will close
  StickId last_stick_ = 0;
  bool established_ = false;  ///< on this connection
  bool blocked_ = false;      ///< can_send() was false when asked last
};

}  // namespace tillbridge::plugin
