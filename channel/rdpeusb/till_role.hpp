// The till's end of MS-RDPEUSB (the RDP client's role): it has the sticks and answers the terminal server.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::rdpeusb {

/// The owner's name for one URBDRC channel instance. Never reused within one role object.
using ChannelId = std::uint32_t;
/// The owner's name for one stick. Never reused within one role object.
using DeviceId = std::uint32_t;

/// What happens when the terminal server asks for RESET_PORT or CYCLE_PORT. A port reset may lock a TSE (tse.md 3).
enum class ResetPolicy : std::uint8_t {
  soften,  ///< default: mass storage gets its class's own reset and cleared halts; everything else nothing; success
  pass,    ///< a real port reset goes to the stick
  refuse   ///< the request fails
};

struct TillDevice {
  usb::DeviceDescription description;
  ResetPolicy reset = ResetPolicy::soften;
};

/// Severity of an event for the log. Nothing at `info` or above is emitted per transfer.
enum class Level : std::uint8_t { debug, info, warning, error };

/// Sans-I/O state machine of one RDP connection: all its URBDRC channels and all sticks offered to it.
///
/// Inputs are the methods, outputs come from poll(), in order; call poll() until it is empty after each input.
/// Time is a parameter. Guarantees:
///  - each request that the server made is completed exactly once, or its channel is closed;
///  - each transfer that was submitted and not yet completed when its channel closes is cancelled; its completion
///    is swallowed; a stick is announced again only once all its old transfers have completed;
///  - nothing is submitted that the stick's descriptors do not allow;
///  - a malformed or hostile message costs at most its own channel (rdpeusb.md 4.8);
///  - a device is announced on RIMCALL_RELEASE of interface 2, or 500 ms after CHANNEL_CREATED without one.
class TillRole {
 public:
  struct SendMessage { ChannelId channel; Bytes message; };
  /// Close this channel; the owner does not report channel_closed() for it any more.
  struct CloseChannel { ChannelId channel; std::string reason; };
  struct Submit { DeviceId device; usb::Transfer transfer; };
  struct Cancel { DeviceId device; usb::TransferId transfer; };
  /// The terminal server's driver stack took the device (REGISTER_REQUEST_CALLBACK came): it is in the session.
  struct DeviceInSession { DeviceId device; };
  /// The device left the session although the stick is still there: the server closed its channel or retracted it.
  /// It is not announced again on this control channel unless offered anew.
  struct DeviceLeftSession { DeviceId device; std::string reason; };
  /// For the log. `text` names the device or the channel.
  struct Event { Level level; std::string text; };
  using Output = std::variant<SendMessage, CloseChannel, Submit, Cancel, DeviceInSession, DeviceLeftSession, Event>;

  TillRole();
  ~TillRole();
  TillRole(const TillRole&) = delete;
  TillRole& operator=(const TillRole&) = delete;

  void channel_opened(ChannelId channel, Instant now);
  /// The other end, or the connection, closed it.
  void channel_closed(ChannelId channel, Instant now);
  /// One whole message (after DVC reassembly).
  void receive(ChannelId channel, ByteView message, Instant now);

  /// Offers a stick. It is announced as soon as a control channel is ready, now or later.
  void add_device(DeviceId device, TillDevice description, Instant now);
  /// The stick is gone or taken away: its channel is closed. Completions that are still to come are swallowed.
  void remove_device(DeviceId device, Instant now);
  void complete(DeviceId device, usb::Completion completion, Instant now);

  void advance(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Output> poll();
};

}  // namespace tillbridge::rdpeusb
