// What a device allows at the moment: its descriptors, seen through the configuration and the
// alternate settings in use.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>

#include "channel/usb/descriptors.hpp"
#include "channel/usb/requests.hpp"

namespace tillbridge::usbip {

/// Follows SET_CONFIGURATION and SET_INTERFACE as they succeed. A port reset changes nothing here:
/// the host stack that carries it out (Linux, libusb) sets configuration and alternate settings
/// again, and where it does not, the device itself refuses what comes too early.
class Settings {
 public:
  explicit Settings(usb::DeviceDescription device);

  /// The endpoint with this address (bit 7: IN) in the settings in use; nullptr if there is none.
  [[nodiscard]] const usb::EndpointDescriptor* find_endpoint(std::uint8_t address) const noexcept;
  /// Whether the descriptors have what the request names.
  [[nodiscard]] bool allows(const usb::HostRequest& request) const;
  /// Whether an answer to GET_DESCRIPTOR shows the device as it was described. wValue as in the
  /// request; descriptors other than device and configurations are the device's own affair.
  [[nodiscard]] bool shows(std::uint16_t value, ByteView answer) const;
  void apply(const usb::HostRequest& request);

 private:
  void collect_endpoints();

  usb::DeviceDescription device_;
  std::map<std::uint8_t, std::uint8_t> alternate_settings_;  ///< by interface number; absent is 0
  /// Index: endpoint number, plus 16 for IN. So a lookup costs the same for any descriptor.
  std::array<std::optional<usb::EndpointDescriptor>, 32> endpoints_;
};

}  // namespace tillbridge::usbip
