// UsbipHost: reaches a stick that no kernel mounted, over USB/IP: through tillbridged's [usbip]
// listen, or through a session of tillbridge-terminal --sink usbip. It brings what a kernel would:
// enumeration, Bulk-Only Transport, FAT, CDC-ACM.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/result.hpp"
#include "pos/stick_io.hpp"
#include "pos/usbip_socket.hpp"

namespace tillbridge::pos {

/// What a USB/IP server shows of a device.
struct UsbipExport {
  std::string bus_id;
  std::uint16_t vendor_id = 0, product_id = 0;
  bool mass_storage = false, serial = false;
  [[nodiscard]] std::string text() const;  ///< "1209:0003 at bus id simulated-1"
};

/// Errors: config (address), unavailable (nothing there, or gone), refused (somebody else has it;
/// several, so one has to be named), malformed (file system), io.
class UsbipHost {
 public:
  /// Asks for the list once, so that a server that is not there is noticed here.
  [[nodiscard]] static Result<std::unique_ptr<UsbipHost>> connect(const std::string& host,
                                                                  std::uint16_t port);

  [[nodiscard]] Result<std::vector<UsbipExport>> list() const;
  /// `name`: a bus id or a serial number; empty: the only stick with files. Each call imports it;
  /// it goes back when the volume and all files opened from it are destroyed.
  [[nodiscard]] Result<std::unique_ptr<StickVolume>> open_volume(std::string_view name) const;
  /// The same for the only stick with a serial line, in raw mode with DTR set.
  [[nodiscard]] Result<std::unique_ptr<SerialLine>> open_serial(std::string_view name) const;

 private:
  explicit UsbipHost(UsbipAddress address) : address_(std::move(address)) {}
  [[nodiscard]] Result<std::unique_ptr<class UsbipDevice>> import(
      std::string_view name, bool UsbipExport::*kind, const std::string& kind_name) const;

  UsbipAddress address_;
};

/// A connected device as a volume or as a line: what open_volume() and open_serial() do after the
/// import. `at`: where it is, for messages.
[[nodiscard]] Result<std::unique_ptr<StickVolume>> volume_on(std::unique_ptr<UsbipDevice> device,
                                                             const std::string& at);
[[nodiscard]] Result<std::unique_ptr<SerialLine>> line_on(std::unique_ptr<UsbipDevice> device,
                                                          const std::string& at);

}  // namespace tillbridge::pos
