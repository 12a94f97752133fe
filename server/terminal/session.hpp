// Session: one RDP session from accept to end: client, TerminalRole, intake and sink on one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "channel/rdpeusb/terminal_role.hpp"
#include "server/terminal/client_line.hpp"
#include "server/terminal/device_intake.hpp"
#include "server/terminal/rdp/peer.hpp"
#include "server/terminal/report.hpp"
#include "server/terminal/sink.hpp"
#include "server/terminal/transcript.hpp"

namespace tillbridge::terminal {

/// Runs on one thread of its own, which waits in poll() for: the client's socket, a wish to stop,
/// the sink's descriptors, and the earliest deadline of the roles. Nothing is polled at intervals,
/// nothing is shared with other sessions, so there is no lock and a slow client or a slow kernel
/// holds up its own session only. Why not one loop for all sessions: FreeRDP's TLS handshake and
/// its writes of a whole message (a syscall per 1600 bytes) take their time inside the library, and
/// would then be time that every other till waits.
class Session {
 public:
  struct Rules {
    std::set<Model> named;                       ///< let in although their class alone would not
    std::shared_ptr<TranscriptFile> transcript;  ///< where messages are written down; or none
    rdpeusb::Profile profile = rdpeusb::Profile::plain;
  };

  /// `stop_descriptor` becomes readable when the session shall end; it is not read here.
  Session(std::uint32_t number, std::unique_ptr<RdpPeer> peer, std::unique_ptr<Sink> sink,
          Rules rules, Reporter& reporter, int stop_descriptor);
  /// Until the client is gone, the sink is done or stop was asked for. `activated` is called once
  /// the client is through the logon.
  SessionOutcome run(const std::function<void()>& activated);

 private:
  [[nodiscard]] bool turn();
  void wait();

  void take(const RdpPeer::Activated& /*event*/) {}
  void take(const RdpPeer::ChannelsReady& event);
  void take(const RdpPeer::ChannelsMissing& /*event*/) {}
  void take(const RdpPeer::ChannelOpened& event);
  void take(const RdpPeer::ChannelRefused& event);
  void take(const RdpPeer::ChannelClosed& event);
  void take(RdpPeer::Message& event);

  void take(const rdpeusb::TerminalRole::OpenChannel& output);
  void take(rdpeusb::TerminalRole::SendMessage& output);
  void take(const rdpeusb::TerminalRole::CloseChannel& output);
  void take(rdpeusb::TerminalRole::DeviceArrived& output);
  void take(const rdpeusb::TerminalRole::DeviceGone& output);
  void take(rdpeusb::TerminalRole::Completed& output);
  void take(const rdpeusb::TerminalRole::IoControlCompleted& output);
  void take(const rdpeusb::TerminalRole::Event& output);

  void take(DeviceIntake::Submit& output);
  void take(const DeviceIntake::Cancel& output);
  void take(DeviceIntake::Admitted& output);
  void take(const DeviceIntake::Refused& output);

  void take(Sink::Submit& output);
  void take(const Sink::Cancel& output);
  void take(const Sink::IoControl& output);
  void take(const Sink::Retract& output);
  void take(const Report& output);
  void take(const Sink::Verdict& output);
  void take(const Sink::EndSession& output);

  void drain();
  void log_off();
  void report(const Report& report) { line_.report(report); }

  ClientLine line_;
  std::unique_ptr<Sink> sink_;
  rdpeusb::TerminalRole role_;
  DeviceIntake intake_;
  std::vector<pollfd> polled_;  ///< the sink's
  Instant now_{};
  std::set<DeviceId> admitted_;
  std::optional<bool> verdict_;  ///< the sink's
};

}  // namespace tillbridge::terminal
