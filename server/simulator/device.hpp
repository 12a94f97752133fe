// A USB device without hardware: what a stick source drives, and what tests put behind any end.
#pragma once

#include <optional>

#include "channel/bytes/instant.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"
#include "server/simulator/bench.hpp"

namespace tillbridge::simulator {

/// Sans-I/O: transfers in, completions out, time as a parameter. Behaves as a real device behind a
/// host controller: halted endpoints stay halted until CLEAR_FEATURE(HALT), transfers of one
/// endpoint end in order, an IN transfer without data waits for it, a cancelled one ends in exactly
/// one completion.
class Device {
 public:
  virtual ~Device() = default;
  [[nodiscard]] virtual const usb::DeviceDescription& description() const = 0;
  virtual void submit(usb::Transfer transfer, Instant now) = 0;
  virtual void cancel(usb::TransferId id, Instant now) = 0;
  /// A bus reset (port reset): configuration and halts are lost. Not a power cycle.
  virtual void reset(Instant now) = 0;
  /// The supply went away and came back, as unplugging does: volatile state is lost, running
  /// transfers end without success.
  virtual void power_cycle(Instant now) = 0;
  virtual void advance(Instant now) = 0;
  [[nodiscard]] virtual std::optional<Instant> next_deadline() const = 0;
  [[nodiscard]] virtual std::optional<usb::Completion> poll_completion() = 0;
  /// The stick left the bus by itself (a fault). Asked for after the completions; whoever drives
  /// the device then takes it away, and power-cycles it before it comes back.
  [[nodiscard]] virtual std::optional<Departure> poll_departure() = 0;
  [[nodiscard]] virtual Bench& bench() = 0;
};

}  // namespace tillbridge::simulator
