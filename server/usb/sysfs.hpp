// What Linux itself knows of a USB device. Reading it costs the device nothing: no transfer, no
// wake-up, no driver.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"

namespace tillbridge::server {

/// The devices below /sys/bus/usb/devices, by bus id ("1-1.4"). Safe from any thread.
class Sysfs {
 public:
  explicit Sysfs(std::filesystem::path devices = "/sys/bus/usb/devices")
      : devices_(std::move(devices)) {}

  /// Whether the kernel has USB at all.
  [[nodiscard]] bool available() const { return std::filesystem::is_directory(devices_); }
  /// Descriptors, strings, speed and the active configuration, as the kernel read them when the
  /// device was plugged in.
  [[nodiscard]] Result<usb::DeviceDescription> describe(const std::string& busid) const;
  /// bConfigurationValue; nothing while the kernel has not chosen one yet, or if the device is
  /// gone.
  [[nodiscard]] std::optional<std::uint8_t> active_configuration(const std::string& busid) const;
  /// Whether the device with this number on its bus is (still) there.
  [[nodiscard]] bool present(const std::string& busid, std::uint8_t device_number) const;
  /// Names this coming of the device to its bus; see Arrival::enumeration. Empty if it cannot be
  /// told.
  [[nodiscard]] std::string enumeration(const std::string& busid) const;
  /// Whether this machine itself got the device over the network (vhci-hcd). Such a one is never
  /// exported again: it may be one of our own sticks, attached on this very machine.
  [[nodiscard]] bool imported(const std::string& busid) const;
  /// Switches autosuspend off for it (power/control = on). An error if this user may not; no harm
  /// if it was off.
  [[nodiscard]] Status keep_awake(const std::string& busid) const;

 private:
  [[nodiscard]] std::optional<std::string> attribute(const std::string& busid,
                                                     const char* name) const;

  std::filesystem::path devices_;
};

}  // namespace tillbridge::server
