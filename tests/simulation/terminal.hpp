// The terminal server's end of one RDP session: its MS-RDPEUSB role, and what the POS software
// finds there, the session's sticks behind USB/IP (as tillbridge-terminal --sink usbip has them).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "channel/rdpeusb/terminal_role.hpp"
#include "channel/transport/loop.hpp"
#include "channel/usbip/exporter.hpp"
#include "server/terminal/device_intake.hpp"
#include "tests/simulation/ledger.hpp"
#include "tests/simulation/rdp.hpp"

namespace tillbridge::simulation {

/// A connection of the POS to the session's USB/IP port. Nothing is lost on it.
struct PosSocket {
  Bytes to_pos;
  bool ended = false;      ///< nothing comes any more
  bool abandoned = false;  ///< by the POS
};

/// Destroying it is the end of the session: its RDP connection is gone.
class Terminal {
 public:
  /// `till`: whose session it is, for the ledger. `cancel_within`: how long a cancelled transfer
  /// may take to end.
  Terminal(World& world, Ledger& ledger, std::string till, Duration cancel_within,
           std::shared_ptr<Rdp> rdp);
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  Terminal(Terminal&&) = delete;
  Terminal& operator=(Terminal&&) = delete;

  // from the till
  void opened(std::uint32_t ticket, rdpeusb::ChannelId channel);
  void receive(rdpeusb::ChannelId channel, const Bytes& message);
  void closed(rdpeusb::ChannelId channel);

  // for the POS
  [[nodiscard]] std::shared_ptr<PosSocket> connect();
  void from_pos(const std::shared_ptr<PosSocket>& socket, ByteView bytes);
  void abandon(const std::shared_ptr<PosSocket>& socket);

  [[nodiscard]] bool has_stick() const { return !exported_.empty(); }
  [[nodiscard]] std::size_t arrivals() const noexcept { return arrivals_; }
  [[nodiscard]] std::size_t departures() const noexcept { return departures_; }
  /// Transfers that the session asked for and that have no end yet.
  [[nodiscard]] std::size_t running() const;

 private:
  struct Client {
    usbip::Exporter exporter{usbip::Exporter::Start::await_request};
    std::optional<rdpeusb::DeviceId> device;
  };
  struct Exported {
    usb::DeviceDescription description;
    std::shared_ptr<PosSocket> user;
    std::set<usb::TransferId> running, leftover;
  };

  void pump();
  bool pump_role();
  bool pump_intake();
  bool pump_client(const std::shared_ptr<PosSocket>& socket, Client& client);
  void completed(rdpeusb::DeviceId device, usb::Completion completion);
  void cancel(rdpeusb::DeviceId device, usb::TransferId transfer);
  void expect_end(rdpeusb::DeviceId device, usb::TransferId transfer, Duration within);
  void look_at_deadlines();

  World& world_;
  Ledger& ledger_;
  std::string till_;
  Duration cancel_within_;
  transport::Loop loop_;
  std::shared_ptr<Rdp> rdp_;
  rdpeusb::TerminalRole role_;
  terminal::DeviceIntake intake_{{}};
  transport::Timer timer_{loop_};
  std::map<rdpeusb::DeviceId, Exported> exported_;
  std::map<std::pair<rdpeusb::DeviceId, usb::TransferId>, Instant> deadlines_;
  transport::Timer deadline_timer_{loop_};
  std::set<rdpeusb::DeviceId> gone_;  ///< that were
  std::vector<std::pair<std::shared_ptr<PosSocket>, std::unique_ptr<Client>>> clients_;
  std::size_t arrivals_ = 0, departures_ = 0;
  bool pumping_ = false;
};

}  // namespace tillbridge::simulation
