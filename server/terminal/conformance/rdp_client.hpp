// RdpClient: what a conformance case tests is a real RDP client.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>

#include "server/terminal/client_line.hpp"
#include "server/terminal/conformance/client.hpp"

namespace tillbridge::terminal::conformance {

/// Whoever waits serves the client meanwhile, in the session's own thread. When the session is over
/// (the client left, or the program stops) nothing waits any more and next() says Gone.
class RdpClient final : public Client {
 public:
  explicit RdpClient(ClientLine& line) : line_(line) {}

  [[nodiscard]] std::optional<rdpeusb::ChannelId> open_channel(Duration patience) override;
  void send(rdpeusb::ChannelId channel, ByteView message) override;
  void close_channel(rdpeusb::ChannelId channel) override;
  [[nodiscard]] std::optional<Event> next(Duration patience) override;
  [[nodiscard]] Instant now() const override;

  /// One round: sends what waits, then serves the client until something came, at most until
  /// `deadline`.
  void turn(std::optional<Instant> deadline);
  /// Dynamic channels can be opened; nothing: it is not known yet.
  [[nodiscard]] std::optional<bool> channels() const { return channels_; }
  /// Between two cases: closes the channels that are still open and forgets what nobody looked at.
  void start_anew();

 private:
  void take_events();
  void take(const RdpPeer::Activated& /*event*/) {}
  void take(const RdpPeer::ChannelsReady& /*event*/) { channels_ = true; }
  void take(const RdpPeer::ChannelsMissing& /*event*/) { channels_ = false; }
  void take(const RdpPeer::ChannelOpened& event);
  void take(const RdpPeer::ChannelRefused& event);
  void take(const RdpPeer::ChannelClosed& event);
  void take(RdpPeer::Message& event);
  void forget(rdpeusb::ChannelId channel);

  ClientLine& line_;
  std::optional<bool> channels_;
  std::uint32_t last_ticket_ = 0;
  /// The client's answer to the channel that is being asked for; inside nothing: refused.
  std::optional<std::optional<rdpeusb::ChannelId>> answer_;
  std::set<rdpeusb::ChannelId> open_;
  std::deque<Event> events_;  ///< of open channels, and the closing of such
  std::size_t event_bytes_ = 0;
};

}  // namespace tillbridge::terminal::conformance
