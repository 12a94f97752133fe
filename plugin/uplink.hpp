// Where sticks come from: a connection that is kept up, and the USB/IP conversations on it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "channel/rdpeusb/till_role.hpp"
#include "channel/transport/loop.hpp"
#include "plugin/configuration.hpp"
#include "plugin/log.hpp"

namespace tillbridge::plugin {

/// What the mapping and the audit of the USB server want to know of the RDP session. Free text, at
/// most limits::name_bytes each.
struct SessionFacts {
  std::string client_name, user, domain, terminal_server;
};

/// One stick of an uplink, and the same number towards the session. Never used twice by one uplink.
using StickId = rdpeusb::DeviceId;

struct Offer {
  StickId stick = 0;
  std::string busid;
  std::string label;  ///< for the log
  rdpeusb::ResetPolicy reset = rdpeusb::ResetPolicy::soften;
  bool pipeline = true;  ///< post and read ahead, if it is mass storage
};

/// Connects, and connects again for as long as it lives, with one log line per change of state. On
/// the loop's thread.
class Uplink {
 public:
  /// Never called from within a method of the uplink.
  struct Events {
    std::function<void(const Offer&)> offered;
    std::function<void(StickId, ByteView)> received;
    /// The conversation is dead; `reason` is for a person. Not called for a stick that was
    /// released.
    std::function<void(StickId, const std::string& reason)> withdrawn;
    /// can_send() is true again.
    std::function<void()> writable;
    /// The server was restarted and knows nothing of the conversation; the stick itself may come
    /// back untouched, which ends in restored(), or else in withdrawn(). Answer with release() if
    /// the device cannot wait for that.
    std::function<void(StickId)> interrupted{};
    /// Import it again.
    std::function<void(StickId)> restored{};
    /// The server is about to restart: send nothing new, end what has begun, then call paused().
    std::function<void()> pausing{};
    /// It did not.
    std::function<void()> going_on{};
  };

  Uplink() = default;
  virtual ~Uplink() = default;
  Uplink(const Uplink&) = delete;
  Uplink& operator=(const Uplink&) = delete;

  virtual void start(Events events) = 0;
  [[nodiscard]] virtual bool can_send() const = 0;
  /// Bytes of the stick's USB/IP conversation. Check can_send() first. They may wait for flush(),
  /// so that what belongs together goes out as one piece.
  virtual void send(StickId stick, Bytes bytes) = 0;
  virtual void flush() = 0;
  /// The stick is imported and its descriptors are read: it works.
  virtual void usable(StickId stick) = 0;
  /// Done with the stick.
  virtual void release(StickId stick) = 0;
  /// The stick cannot be used; logs why, gives it back, and tries again later where that may help.
  virtual void refuse(StickId stick, const std::string& why) = 0;
  /// Nothing is under way any more on any stick; answers Events::pausing.
  virtual void paused() {}
  /// Says goodbye and closes; `stopped` is called once, when all is written or after
  /// `stop_patience`.
  virtual void stop(std::function<void()> stopped) = 0;

  static constexpr Duration stop_patience = std::chrono::milliseconds(500);
};

/// For a USB server or for a stock usbipd, as configured. Errors are about the TLS files. The
/// uplink begins to work on start().
[[nodiscard]] Result<std::unique_ptr<Uplink>> make_uplink(transport::Loop& loop,
                                                          const Configuration& configuration,
                                                          SessionFacts facts, Log& log);

}  // namespace tillbridge::plugin
