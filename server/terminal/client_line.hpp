// ClientLine: one RDP client as every kind of session has it: waiting for it, its events in order,
// what it does not read yet, and why it ended.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <poll.h>

#include "channel/bytes/instant.hpp"
#include "server/terminal/rdp/peer.hpp"
#include "server/terminal/report.hpp"
#include "server/terminal/transcript.hpp"

namespace tillbridge::terminal {

/// How a session ended, for the program's exit code.
struct SessionOutcome {
  bool activated = false;       ///< a user was in; false for port scans and refused logons
  std::optional<bool> success;  ///< what the sink said; nothing if it never came to an end
  bool last = false;            ///< nothing is left to do for another session
  bool logon_refused = false;   ///< the client said a wrong user or password
};

/// Used by its session's thread only. Reports what every session reports (who came, what the client
/// lacks, why it ended) and writes the transcript, if there is one.
class ClientLine {
 public:
  /// `stop_descriptor` becomes readable when the session shall end; it is not read here.
  ClientLine(std::uint32_t number, std::unique_ptr<RdpPeer> peer, Reporter& reporter,
             std::shared_ptr<TranscriptFile> transcript, int stop_descriptor);

  /// Sleeps until the client, a wish to stop, one of `others` or `deadline`, then reads what the
  /// client sent. `others` says afterwards what happened to them.
  void wait(std::vector<pollfd>& others, std::optional<Instant> deadline);
  /// In the client's order; also what it sent before it left.
  [[nodiscard]] std::optional<RdpPeer::Event> poll();

  /// Answered by ChannelOpened or ChannelRefused, perhaps at once.
  void open_channel(std::uint32_t ticket) { peer_->open_channel(ticket); }
  /// Messages and closes keep their order; send_waiting() gives the client as much as it reads.
  void send(rdpeusb::ChannelId channel, Bytes message);
  void close_channel(rdpeusb::ChannelId channel);
  void send_waiting();

  /// The first reason counts.
  void finish(std::string reason);
  [[nodiscard]] bool ended() const { return ended_.has_value(); }
  /// It ended because the program was asked to stop.
  [[nodiscard]] bool stopped() const { return stopped_; }
  /// Sends what waits, as far as the client reads it, says goodbye and reports the end. Once, after
  /// finish().
  void close();

  void report(const Report& report) { reporter_.report(number_, report); }
  [[nodiscard]] bool activated() const { return activated_; }
  [[nodiscard]] bool logon_refused() const { return logon_refused_; }
  /// The time when wait() returned.
  [[nodiscard]] Instant now() const { return now_; }

 private:
  void note(const RdpPeer::Event& event);
  void write();
  void report_activation(const PeerFacts& facts);

  std::uint32_t number_;
  std::unique_ptr<RdpPeer> peer_;
  Reporter& reporter_;
  int stop_descriptor_;
  Instant now_{};
  Transcript transcript_;

  std::vector<pollfd> polled_;
  struct Waiting {
    rdpeusb::ChannelId channel;
    std::optional<Bytes> message;  ///< nothing: a close
  };
  std::deque<Waiting> waiting_;
  std::size_t waiting_bytes_ = 0;
  bool activated_ = false, stopped_ = false, logon_refused_ = false;
  std::optional<std::string> ended_;  ///< why
};

}  // namespace tillbridge::terminal
