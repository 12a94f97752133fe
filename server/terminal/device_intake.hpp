// DeviceIntake: what happens to an announced device before a sink sees it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <variant>

#include "channel/bytes/instant.hpp"
#include "channel/rdpeusb/terminal_role.hpp"
#include "channel/usb/device_reader.hpp"
#include "server/terminal/sink.hpp"

namespace tillbridge::terminal {

/// VID and PID.
struct Model {
  std::uint16_t vendor_id = 0, product_id = 0;
  bool operator==(const Model&) const = default;
  bool operator<(const Model& other) const {
    return std::tie(vendor_id, product_id) < std::tie(other.vendor_id, other.product_id);
  }
};

/// The speed that the descriptors speak of. ADD_DEVICE only knows "high speed or not", and
/// FreeRDP's client derives that from bcdUSB, so a full-speed stick with bcdUSB 2.00 claims high
/// speed (rdpeusb.md 6.1); a wrong one makes Linux refuse the endpoints.
[[nodiscard]] usb::Speed speed_of(const rdpeusb::AnnouncedDevice& announced,
                                  const usb::DeviceDescription& description);

/// Reads every device's descriptors, as a host does, and applies the class rule
/// (usb::class_refusal). Sans-I/O; inputs are the methods, outputs come from poll(), in order.
class DeviceIntake {
 public:
  struct Submit {
    DeviceId device;
    usb::Transfer transfer;
  };
  struct Cancel {
    DeviceId device;
    usb::TransferId transfer;
  };
  struct Admitted {
    SessionDevice device;
  };
  struct Refused {
    DeviceId device;
    std::string reason;
  };
  using Output = std::variant<Submit, Cancel, Admitted, Refused>;

  /// A host may give up on a standard request after 5 s (USB 2.0, 9.2.6.4). Stock FreeRDP leaves
  /// failed ones unanswered for ever.
  static constexpr Duration request_patience = std::chrono::seconds(5);
  /// A device that cannot be read because it does not answer in time, or because a request was lost
  /// with the USB server that had it, is read anew for so long: its till may be waiting for the
  /// server (a minute, unless configured otherwise), and a device that is refused once never comes
  /// again in this session. Reading changes nothing in a device.
  static constexpr Duration reading_patience = std::chrono::minutes(2);
  /// So often after an error that comes at once.
  static constexpr unsigned broken_readings = 8;

  /// `named`: models let in although their class alone would not.
  explicit DeviceIntake(std::set<Model> named) : named_(std::move(named)) {}

  void device_arrived(DeviceId device, rdpeusb::AnnouncedDevice announced, Instant now);
  void device_gone(DeviceId device);
  /// True if the completion was the intake's own.
  bool completed(DeviceId device, const usb::Completion& completion, Instant now);

  void advance(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Output> poll();

 private:
  struct Reading {
    rdpeusb::AnnouncedDevice announced;
    usb::DeviceReader reader;
    usb::TransferId transfer = 0;
    Instant deadline{};
    Instant begun{};
    bool given_up = false;  ///< the running request was cancelled
    bool unanswered =
        false;            ///< a request of this reading had no answer, for no fault of the device
    unsigned broken = 0;  ///< requests that ended with a bus error
  };

  void step(DeviceId device, Reading& reading, Instant now);
  [[nodiscard]] static usb::DeviceReader reader_for(const rdpeusb::AnnouncedDevice& announced);
  void judge(DeviceId device, Reading& reading);

  std::set<Model> named_;
  std::map<DeviceId, Reading> reading_;
  std::deque<Output> outputs_;
};

}  // namespace tillbridge::terminal
