// Where sticks come from: real ones through libusb, simulated ones from the configuration.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::server {

/// A stick that was opened for one user. All calls and callbacks are on the loop's thread, and no
/// callback comes from within a call. Destroying it ends the use: no callback any more, what runs
/// is cancelled, and the device is given back once the last transfer has come home. The kernel's
/// drivers are *not* brought back: no till's stick is ever mounted by the machine it is plugged
/// into.
class Stick {
 public:
  struct Events {
    /// Once, before anything else: ready, or why not and what to do about it.
    std::function<void(Status)> opened;
    /// Exactly once for each submitted transfer. When the stick leaves, all that still run end with
    /// device_gone before the source reports the departure.
    std::function<void(usb::Completion)> completed;
  };

  virtual ~Stick() = default;
  /// Up to date once opened() said so.
  [[nodiscard]] virtual const usb::DeviceDescription& description() const = 0;
  /// No time-out of ours, and in order: a request that the host's own USB stack must carry out
  /// (SET_CONFIGURATION, SET_INTERFACE, CLEAR_FEATURE(HALT), port reset) takes its turn between the
  /// transfers before and after it. Whether a port reset is allowed at all is the caller's
  /// decision. Isochronous transfers end with `refused`.
  virtual void submit(usb::Transfer transfer) = 0;
  /// Unknown ids are ignored: the transfer had ended already.
  virtual void cancel(usb::TransferId id) = 0;
};

/// A stick that is plugged in. `busid` is its place ("1-1.4", "simulated-1"): unique among the
/// sticks of a source while it is there, and used again after it left.
struct Arrival {
  std::string busid;
  usb::DeviceDescription description;
  /// Names this coming of the device to its bus, also across restarts of this program: as long as
  /// it stays the same, the device was neither unplugged nor enumerated anew. At most 96 bytes;
  /// empty: nobody can tell.
  std::string enumeration{};
};

/// All calls and callbacks are on the loop's thread. Destroying a source ends all its sticks and
/// waits until the last transfer has come home; destroy the `Stick`s first.
class StickSource {
 public:
  struct Observer {
    std::function<void(const Arrival&)> arrived;
    std::function<void(const std::string& busid)> departed;
  };

  virtual ~StickSource() = default;
  /// Reports what is plugged in already, and from then on whatever comes and goes. Never from
  /// within start().
  virtual void start(Observer observer) = 0;
  /// Keeps the kernel's drivers off this stick from now on, whether it is open or not: for sticks
  /// that belong to a till.
  virtual void hold(const std::string& busid) = 0;
  /// The stick belongs to no till any more. Its kernel driver comes back when it is plugged in
  /// anew, not before.
  virtual void let_go(const std::string& busid) = 0;
  /// At most one open `Stick` for each stick; the caller (the registry's leases) sees to that.
  [[nodiscard]] virtual std::unique_ptr<Stick> open(const std::string& busid,
                                                    Stick::Events events) = 0;
};

}  // namespace tillbridge::server
