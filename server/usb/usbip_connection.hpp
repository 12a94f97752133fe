// One connection of a plain USB/IP client: neither encrypted nor authenticated, so only where the
// admin asked for it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "server/usb/conversation.hpp"
#include "server/usb/stick_registry.hpp"

namespace tillbridge::server {

/// Shows and lends the sticks that are mapped to `till = "usbip:ADDRESS"` or `"usbip:*"`, by the
/// port they are in
/// ("1-1.4"), as the stock tools expect; the identity's busid is understood as well.
class UsbipConnection {
 public:
  /// `closed`: once, from the loop and never from within a call: destroy this.
  UsbipConnection(transport::Loop& loop, StickRegistry& registry,
                  std::unique_ptr<transport::Stream> stream, std::function<void()> closed);
  ~UsbipConnection();
  UsbipConnection(const UsbipConnection&) = delete;
  UsbipConnection& operator=(const UsbipConnection&) = delete;
  UsbipConnection(UsbipConnection&&) = delete;
  UsbipConnection& operator=(UsbipConnection&&) = delete;

  void start();
  /// Sticks or mapping changed: ends a lease that is not allowed any more.
  void refresh();
  /// Ends a lease at once; what was answered before is still sent.
  void close();

 private:
  void pump();
  void over();
  [[nodiscard]] Result<StayId> choose(const std::string& busid);
  [[nodiscard]] std::vector<usb::DeviceDescription> list() const;

  transport::Loop& loop_;
  StickRegistry& registry_;
  std::unique_ptr<transport::Stream> stream_;
  std::function<void()> closed_;
  TillIdentity till_;
  transport::Timer timer_;
  transport::Soon pump_soon_;
  std::unique_ptr<Conversation> conversation_;  // none once closing
  StayId stay_ = 0;                             // imported; 0 is none
  bool reading_paused_ = false, closing_ = false, over_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillbridge::server
