// UsbipDevice: a device of a USB/IP server, imported and driven by this process instead of a
// kernel.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "channel/bytes/instant.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"
#include "channel/usbip/importer.hpp"
#include "pos/usbip_socket.hpp"

namespace tillbridge::pos {

/// One connection, one device, one thread. The device goes back to the server with its destruction.
class UsbipDevice {
 public:
  /// A standard request has this long (USB 2.0, 9.2.6.4).
  static constexpr Duration request_patience = std::chrono::seconds(5);

  /// Imports it and reads its descriptors. ErrorCode::refused: it is not there, or somebody else
  /// has it.
  [[nodiscard]] static Result<std::unique_ptr<UsbipDevice>> import(UsbipSocket socket,
                                                                   const std::string& bus_id);

  [[nodiscard]] const usb::DeviceDescription& description() const { return description_; }
  [[nodiscard]] Status configure(std::uint8_t configuration);

  /// The id is set here. The completion comes through wait().
  usb::TransferId submit(usb::Transfer transfer);
  void cancel(usb::TransferId id);
  /// The next completion; nothing when there was none within `patience`. Once the connection is
  /// lost, all transfers end with TransferStatus::device_gone.
  [[nodiscard]] std::optional<usb::Completion> wait(Duration patience);
  /// Alone: no other transfer runs. After `patience` it is cancelled, and its end is awaited.
  [[nodiscard]] usb::Completion carry_out(usb::Transfer transfer, Duration patience);

  /// Why the connection is over, if it is.
  [[nodiscard]] const std::optional<Error>& lost() const { return lost_; }

 private:
  UsbipDevice(UsbipSocket socket, const std::string& bus_id)
      : socket_(std::move(socket)), importer_(bus_id) {}
  [[nodiscard]] Status begin();
  void pump();
  void receive(Duration patience);
  void lose(Error error);

  UsbipSocket socket_;
  usbip::Importer importer_;
  usb::TransferId last_id_ = 0;
  std::deque<usb::Completion> completions_;
  bool imported_ = false;
  std::optional<Error> lost_;
  usb::DeviceDescription description_;
};

}  // namespace tillbridge::pos
