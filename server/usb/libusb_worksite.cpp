#include "server/usb/libusb_worksite.hpp"

#include <chrono>
#include <set>
#include <thread>
#include <utility>
#include <variant>

#include "server/usb/log.hpp"
#include "server/usb/sysfs.hpp"

namespace tillbridge::server {

namespace {

/// The kernel chooses a configuration a moment after it announced the device.
constexpr int configuration_tries = 40;
constexpr std::chrono::milliseconds configuration_pause{50};
/// A kernel driver may come back between its detaching and our claim.
constexpr int claim_tries = 3;

std::string libusb_text(int code) {
  return libusb_strerror(static_cast<libusb_error>(code));
}

std::set<int> interface_numbers(const usb::DeviceDescription& description,
                                std::uint8_t configuration) {
  std::set<int> numbers;
  if (const usb::Configuration* found = description.find_configuration(configuration)) {
    for (const usb::InterfaceDescriptor& interface : found->interfaces)
      numbers.insert(interface.number);
  }
  return numbers;
}

// Takes one interface from whatever kernel driver has it. Detached by hand, not by libusb's
// automatic mode: that one would bring the driver back when the interface is released, and the
// machine would mount the stick.
int claim_interface(libusb_device_handle* handle, int number) {
  int code = LIBUSB_ERROR_BUSY;
  for (int attempt = 0; attempt < claim_tries && code == LIBUSB_ERROR_BUSY; ++attempt) {
    if (libusb_kernel_driver_active(handle, number) == 1) {
      const int detached = libusb_detach_kernel_driver(handle, number);
      if (detached != LIBUSB_SUCCESS && detached != LIBUSB_ERROR_NOT_FOUND) return detached;
    }
    code = libusb_claim_interface(handle, number);
  }
  return code;
}

int claim_interfaces(libusb_device_handle* handle, const std::set<int>& numbers) {
  for (const int number : numbers) {
    const int code = claim_interface(handle, number);
    if (code != LIBUSB_SUCCESS) return code;
  }
  return LIBUSB_SUCCESS;
}

Error claim_error(const std::string& what, int code) {
  switch (code) {
    case LIBUSB_ERROR_ACCESS:
      return fail(ErrorCode::refused,
                  what +
                      ": permission denied; install the udev rules of tillbridge "
                      "(70-tillbridge.rules) and plug the stick in again");
    case LIBUSB_ERROR_BUSY:
      return fail(ErrorCode::refused,
                  what +
                      ": another program of this machine uses the stick (usbip-host or a virtual "
                      "machine?); stop it and plug the stick in again");
    case LIBUSB_ERROR_NO_DEVICE:
      return fail(ErrorCode::unavailable, what + ": the stick was unplugged");
    default:
      return fail(ErrorCode::io, what + ": " + libusb_text(code) +
                                     "; plug the stick in again, and try another port");
  }
}

usb::TransferStatus host_request_status(int code) {
  switch (code) {
    case LIBUSB_SUCCESS:
      return usb::TransferStatus::success;
    case LIBUSB_ERROR_PIPE:
    case LIBUSB_ERROR_NOT_FOUND:  // no such configuration, setting or endpoint: a device would
                                  // stall
      return usb::TransferStatus::stall;
    case LIBUSB_ERROR_NO_DEVICE:
      return usb::TransferStatus::device_gone;
    case LIBUSB_ERROR_TIMEOUT:
      return usb::TransferStatus::timeout;
    case LIBUSB_ERROR_NOT_SUPPORTED:
      return usb::TransferStatus::refused;
    default:
      return usb::TransferStatus::error;
  }
}

}  // namespace

Result<LibusbWorksite::Claimed> LibusbWorksite::open() {
  const Sysfs sysfs;
  const std::string& busid = description_.path;
  if (const Status awake = sysfs.keep_awake(busid); !awake) log::warning(awake.error().message);
  auto active = sysfs.active_configuration(busid);
  for (int tries = 0; !active && tries < configuration_tries; ++tries) {
    std::this_thread::sleep_for(configuration_pause);
    active = sysfs.active_configuration(busid);
  }
  configuration_ = active.value_or(0);
  int code = libusb_open(device_, &handle_);
  if (code != LIBUSB_SUCCESS) {
    handle_ = nullptr;
    return claim_error("the stick at port " + busid + " cannot be opened", code);
  }
  code = claim_interfaces(handle_, interface_numbers(description_, configuration_));
  if (code != LIBUSB_SUCCESS) {
    close();
    return claim_error("the stick at port " + busid + " cannot be claimed", code);
  }
  return Claimed{handle_, configuration_};
}

// Closing releases the interfaces. The kernel's drivers are not called back: see Stick.
void LibusbWorksite::close() {
  if (handle_ != nullptr) libusb_close(std::exchange(handle_, nullptr));
}

// usbfs changes a configuration only while nobody holds an interface, so they are given up for a
// moment. The kernel may bind its drivers to the new configuration's interfaces; claiming takes
// them away again.
int LibusbWorksite::set_configuration(std::uint8_t value) {
  for (const int number : interface_numbers(description_, configuration_)) {
    libusb_release_interface(handle_, number);
  }
  const int code = libusb_set_configuration(handle_, value == 0 ? -1 : value);
  if (code == LIBUSB_SUCCESS) configuration_ = value;
  const int claimed = claim_interfaces(handle_, interface_numbers(description_, configuration_));
  if (claimed != LIBUSB_SUCCESS) {
    log::warning(
        claim_error("the stick at port " + description_.path + " cannot be claimed again", claimed)
            .message);
  }
  return code != LIBUSB_SUCCESS ? code : claimed;
}

int LibusbWorksite::reset() {
  const int code = libusb_reset_device(handle_);
  // The device came back as another one, or not at all: hot-plug tells the rest.
  return code == LIBUSB_ERROR_NOT_FOUND ? LIBUSB_ERROR_NO_DEVICE : code;
}

usb::TransferStatus LibusbWorksite::carry_out(const usb::HostRequest& request) {
  if (const auto* configure = std::get_if<usb::SetConfiguration>(&request)) {
    return host_request_status(set_configuration(configure->value));
  }
  if (const auto* set = std::get_if<usb::SetInterface>(&request)) {
    return host_request_status(
        libusb_set_interface_alt_setting(handle_, set->interface_number, set->alternate_setting));
  }
  if (const auto* clear = std::get_if<usb::ClearHalt>(&request)) {
    return host_request_status(libusb_clear_halt(handle_, clear->endpoint));
  }
  return host_request_status(reset());
}

}  // namespace tillbridge::server
