// Sink: who gets the devices of a session.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <poll.h>

#include "channel/bytes/instant.hpp"
#include "channel/rdpeusb/terminal_role.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"
#include "server/terminal/report.hpp"

namespace tillbridge::terminal {

using rdpeusb::DeviceId;

/// A device that was read and let in.
struct SessionDevice {
  DeviceId id = 0;
  rdpeusb::AnnouncedDevice announced;
  usb::DeviceDescription description;  ///< `speed` is what the descriptors say, see speed_of()
};

/// One per session, used by the session's thread only. Inputs are the methods, outputs come from
/// poll(), in order. A sink may have descriptors of its own that the session polls for it.
class Sink {
 public:
  /// Ids are the sink's, unique per device while running.
  struct Submit {
    DeviceId device;
    usb::Transfer transfer;
  };
  struct Cancel {
    DeviceId device;
    usb::TransferId transfer;
  };
  /// A request that the till answers by itself, without the stick: the channel's bare round trip.
  struct IoControl {
    DeviceId device;
    std::uint32_t code, output_bytes;
  };
  /// The sink cannot or will not take the device: give it back.
  struct Retract {
    DeviceId device;
    std::string reason;
  };
  /// Whether the sink's work succeeded; the last one counts for the program's exit code.
  struct Verdict {
    bool success;
  };
  /// Nothing is left to do: the session may end.
  struct EndSession {
    std::string reason;
  };
  using Output = std::variant<Submit, Cancel, IoControl, Retract, Report, Verdict, EndSession>;

  Sink() = default;
  virtual ~Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  virtual void device_arrived(SessionDevice device, Instant now) = 0;
  /// All its transfers have been completed before.
  virtual void device_gone(DeviceId device, const std::string& reason, Instant now) = 0;
  virtual void completed(DeviceId device, usb::Completion completion, Instant now) = 0;
  virtual void io_control_completed(DeviceId /*device*/, Instant /*now*/) {}
  /// The client answered a request of the role's own profile wrongly (TerminalRole::Event).
  virtual void wrong_answer() {}
  /// Lets go of everything: the session is over and nothing that is submitted now goes anywhere.
  virtual void session_ended(Instant now) = 0;

  virtual void add_polled(std::vector<pollfd>& /*polled*/) const {}
  /// One of its descriptors, with what poll() said.
  virtual void ready(const pollfd& /*descriptor*/, Instant /*now*/) {}

  virtual void advance(Instant /*now*/) {}
  [[nodiscard]] virtual std::optional<Instant> next_deadline() const { return std::nullopt; }
  [[nodiscard]] virtual std::optional<Output> poll() = 0;
};

}  // namespace tillbridge::terminal
