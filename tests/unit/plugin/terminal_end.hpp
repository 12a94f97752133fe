// The terminal server's end for tests: its MS-RDPEUSB role, over whatever carries the channels.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "channel/rdpeusb/terminal_role.hpp"
#include "channel/transport/loop.hpp"

namespace tillbridge::plugin::test {

/// On the loop's thread.
class TerminalEnd {
 public:
  /// What carries the channels; each may call back into the end at once or later.
  struct Wire {
    std::function<void(std::uint32_t ticket)> open;  ///< ends in opened() or refused()
    std::function<void(rdpeusb::ChannelId, Bytes)> send;
    std::function<void(rdpeusb::ChannelId)> close;
  };
  struct Device {
    rdpeusb::AnnouncedDevice announced;
    bool gone = false;
    std::string reason;
  };

  TerminalEnd(transport::Loop& loop, Wire wire)
      : loop_(loop), wire_(std::move(wire)), timer_(loop) {}

  void start();
  void opened(std::uint32_t ticket, rdpeusb::ChannelId channel);
  void refused(std::uint32_t ticket);
  void closed(rdpeusb::ChannelId channel);
  void receive(rdpeusb::ChannelId channel, ByteView message);

  /// The devices that are in the session now.
  [[nodiscard]] std::vector<rdpeusb::DeviceId> present() const;
  void submit(rdpeusb::DeviceId device, usb::Transfer transfer);
  void cancel(rdpeusb::DeviceId device, usb::TransferId transfer);
  void retract(rdpeusb::DeviceId device);
  [[nodiscard]] std::optional<usb::Completion> completion(usb::TransferId transfer) const;

  /// SET_CONFIGURATION 1 and DTR; an echo device's bulk endpoints work once the transfer that is
  /// returned completed.
  usb::TransferId configure(rdpeusb::DeviceId device);
  usb::TransferId write(rdpeusb::DeviceId device, Bytes data);
  usb::TransferId read(rdpeusb::DeviceId device, std::uint32_t length);

  std::map<rdpeusb::DeviceId, Device> devices;
  std::vector<std::string> events;

 private:
  void pump();
  [[nodiscard]] usb::Transfer bulk(std::uint8_t endpoint);

  transport::Loop& loop_;
  Wire wire_;
  rdpeusb::TerminalRole role_;
  transport::Timer timer_;
  std::map<usb::TransferId, usb::Completion> completions_;
  /// Submitted when the transfer that is named completes.
  std::map<usb::TransferId, std::pair<rdpeusb::DeviceId, usb::Transfer>> following_;
  usb::TransferId last_transfer_ = 0;
  bool pumping_ = false;
};

}  // namespace tillbridge::plugin::test
