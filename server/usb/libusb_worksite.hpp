// What blocks on a real stick: opening, claiming, and the requests that Linux itself must carry
// out.
#pragma once

#include <cstdint>
#include <string>

#include <libusb-1.0/libusb.h>

#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::server {

/// Used by one worker thread, one call at a time.
class LibusbWorksite {
 public:
  struct Claimed {
    libusb_device_handle* handle = nullptr;
    std::uint8_t configuration = 0;
  };

  /// `device` must outlive this.
  LibusbWorksite(libusb_device* device, usb::DeviceDescription description)
      : device_(device), description_(std::move(description)) {}

  /// Opens the device and claims all interfaces of its configuration, taking them from kernel
  /// drivers. Errors are for a person.
  [[nodiscard]] Result<Claimed> open();
  /// Releases the interfaces. The kernel's drivers are not called back: see Stick.
  void close();
  [[nodiscard]] usb::TransferStatus carry_out(const usb::HostRequest& request);
  /// bConfigurationValue after the last call.
  [[nodiscard]] std::uint8_t configuration() const noexcept { return configuration_; }

 private:
  [[nodiscard]] int set_configuration(std::uint8_t value);
  [[nodiscard]] int reset();

  libusb_device* device_;
  usb::DeviceDescription description_;
  libusb_device_handle* handle_ = nullptr;
  std::uint8_t configuration_ = 0;
};

}  // namespace tillbridge::server
