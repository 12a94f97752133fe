// vhci-hcd, the Linux kernel's virtual USB host controller, as its sysfs files show it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"

namespace tillbridge::terminal::vhci {

/// Where a device is plugged in: anything that takes a connected socket and speaks USB/IP to it.
class Controller {
 public:
  Controller() = default;
  virtual ~Controller() = default;
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  /// Gives the socket to a free port and answers the port's number. The caller keeps its
  /// descriptor.
  [[nodiscard]] virtual Result<std::uint32_t> attach(int socket, usb::Speed speed) = 0;
  [[nodiscard]] virtual Status detach(std::uint32_t port) = 0;
};

/// One line of a `status` file.
struct Port {
  std::uint32_t number = 0;
  bool super_speed = false;  ///< of the ss hub; the hs hub takes everything up to high speed
  bool free = false;
  bool operator==(const Port&) const = default;
};

/// Reads a `status` file: a heading, then one line a port:
///   hub port sta spd dev      sockfd local_busid
///   hs  0000 004 000 00000000 000000 0-0
/// `sta` is enum usbip_device_status; 004 is VDEV_ST_NULL, a free port.
[[nodiscard]] Result<std::vector<Port>> parse_status(std::string_view text);

/// The kernel's controller. May be shared by sessions: each call is one write to the kernel, which
/// takes a port for one of two that want it and tells the other one, which then tries the next.
class KernelController final : public Controller {
 public:
  static constexpr const char* default_directory = "/sys/devices/platform/vhci_hcd.0";

  explicit KernelController(std::filesystem::path directory = default_directory)
      : directory_(std::move(directory)) {}

  /// Whether it can be used at all; the error says what to do.
  [[nodiscard]] Status usable() const;
  [[nodiscard]] Result<std::uint32_t> attach(int socket, usb::Speed speed) override;
  [[nodiscard]] Status detach(std::uint32_t port) override;

 private:
  [[nodiscard]] Result<std::vector<Port>> ports() const;

  std::filesystem::path directory_;
};

}  // namespace tillbridge::terminal::vhci
