// The link to a USB server of ours: sticks are granted and revoked while it is up.
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

class ServerUplink final : public Uplink {
 public:
  /// `tls` was loaded from the files that `source` names.
  ServerUplink(transport::Loop& loop, ServerSource source, transport::TlsContext tls,
               SessionFacts facts, Log& log);

  void start(Events events) override;
  [[nodiscard]] bool can_send() const override;
  void send(StickId stick, Bytes bytes) override;
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
  void lose(Level level, const std::string& why);
  void flush();
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
  std::unique_ptr<transport::Stream> stream_;
  std::optional<link::Endpoint> endpoint_;
  std::map<StickId, link::StreamId> sticks_;
  std::function<void()> stopped_;
  std::optional<Error>
      broken_;  ///< the peer broke the protocol: end the connection once its events are taken
  std::string goodbye_;  ///< why the server said that it will close
  StickId last_stick_ = 0;
  bool established_ = false;
  bool blocked_ = false;  ///< can_send() was false when asked last
};

}  // namespace tillbridge::plugin
