// The till's end of MS-RDPEUSB (the RDP client's role): it has the sticks and answers the terminal
// server.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/queue.hpp"
#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::rdpeusb {

namespace till {
class Stick;
class DeviceChannel;
}  // namespace till

/// The owner's name for one URBDRC channel instance. Never reused within one role object.
using ChannelId = std::uint32_t;
/// The owner's name for one stick. Never reused for another stick within one role object.
using DeviceId = std::uint32_t;

/// What happens when the terminal server asks for RESET_PORT or CYCLE_PORT. A port reset may lock a
/// TSE (tse/FIELD_PROBLEMS.md).
enum class ResetPolicy : std::uint8_t {
  soften,  ///< default: mass storage gets its class's own reset and cleared halts; everything else
           ///< nothing; success
  pass,    ///< a real port reset goes to the stick
  refuse   ///< the request fails
};

struct TillDevice {
  usb::DeviceDescription description;
  ResetPolicy reset = ResetPolicy::soften;
};

/// Severity of an event for the log. Nothing at `info` or above is emitted per transfer.
enum class Level : std::uint8_t { debug, info, warning, error };

/// Sans-I/O state machine of one RDP connection: all its URBDRC channels and all sticks offered to
/// it. It also outlives a reconnect: once the control channel is closed it starts afresh with the
/// next one.
///
/// Inputs are the methods, outputs come from poll(), in order; call poll() until it is empty after
/// each input. Time is a parameter. Guarantees:
///  - each request that the server made is completed exactly once, or its channel is closed;
///  - each transfer that was submitted and not yet completed when its channel closes is cancelled;
///    its completion is swallowed; a stick is announced again, under whatever id, only once all its
///    old transfers have completed and its old channel is closed: a server that still has the old
///    one would have the same device twice;
///  - nothing is submitted that the stick's descriptors do not allow;
///  - a malformed or hostile message costs at most its own channel (rdpeusb.md 4.8);
///  - a device is announced on RIMCALL_RELEASE of interface 2, or 500 ms after CHANNEL_CREATED
///    without one.
class TillRole {
 public:
  struct SendMessage {
    ChannelId channel;
    Bytes message;
  };
  /// Close this channel, and report channel_closed() once that is done. The role sends nothing on
  /// it any more and ignores what still comes from it.
  struct CloseChannel {
    ChannelId channel;
    std::string reason;
  };
  struct Submit {
    DeviceId device;
    usb::Transfer transfer;
  };
  struct Cancel {
    DeviceId device;
    usb::TransferId transfer;
  };
  /// The terminal server's driver stack took the device (REGISTER_REQUEST_CALLBACK came): it is in
  /// the session. Once per device channel.
  struct DeviceInSession {
    DeviceId device;
  };
  /// The device lost its channel although the stick is still there: the server closed it or
  /// retracted the device, or the whole connection ended. It is not announced again on this control
  /// channel unless offered anew; on a new control channel it is. Comes for a device that had a
  /// channel, whether or not DeviceInSession came before.
  struct DeviceLeftSession {
    DeviceId device;
    std::string reason;
  };
  /// For the log. `text` names the device or the channel.
  struct Event {
    Level level;
    std::string text;
  };
  using Output = std::variant<SendMessage, CloseChannel, Submit, Cancel, DeviceInSession,
                              DeviceLeftSession, Event>;

  TillRole();
  ~TillRole();
  TillRole(const TillRole&) = delete;
  TillRole& operator=(const TillRole&) = delete;
  TillRole(TillRole&&) = delete;
  TillRole& operator=(TillRole&&) = delete;

  void channel_opened(ChannelId channel, Instant now);
  /// It is closed: by the other end, by the connection's end, or by the owner after CloseChannel.
  /// Comes once for each channel that was opened.
  void channel_closed(ChannelId channel, Instant now);
  /// One whole message (after DVC reassembly).
  void receive(ChannelId channel, ByteView message, Instant now);

  /// Offers a stick. It is announced as soon as a control channel is ready, now or later. A stick
  /// that left the session may be offered anew under its old id.
  void add_device(DeviceId device, TillDevice description, Instant now);
  /// The stick is gone or taken away: its channel is closed. Completions that are still to come are
  /// swallowed.
  void remove_device(DeviceId device, Instant now);
  void complete(DeviceId device, usb::Completion completion, Instant now);

  void advance(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Output> poll();

 private:
  enum class Phase : std::uint8_t { wait_capabilities, wait_created, wait_release, announced };
  struct Channel {
    Phase phase = Phase::wait_capabilities;
    bool notification_released = false;
    Instant announce_at{};                    ///< in wait_release
    std::optional<DeviceId> device;           ///< whose channel it is; the control channel has none
    std::unique_ptr<till::DeviceChannel> io;  ///< from ADD_DEVICE on
  };
  /// Where a stick stands; `left` and `removed` are not announced.
  enum class Offer : std::uint8_t { waiting, has_channel, left, removed };
  struct Offered {
    std::unique_ptr<till::Stick> stick;
    Offer state = Offer::waiting;
    std::optional<ChannelId> channel;
  };

  void send(ChannelId channel, Bytes message);
  void log(Level level, std::string text);
  void handshake_created(ChannelId id, Channel& channel, std::uint32_t message, Instant now);
  void announce(ChannelId id, Channel& channel, Instant now);
  void request_channel(Instant now);
  [[nodiscard]] std::optional<DeviceId> next_waiting() const;
  [[nodiscard]] bool may_be_announced(DeviceId id, const Offered& offered) const;
  void close(ChannelId id, const std::string& reason, Instant now);
  void end_channel(ChannelId id, const std::string& reason, Instant now);
  void end_device(ChannelId id, Channel channel, Offer next, const std::string& reason);
  void close_device_channel(ChannelId id, const Channel& channel, const std::string& reason);
  void offer(DeviceId id);
  void forget_if_drained(DeviceId id);
  [[nodiscard]] std::string channel_text(ChannelId id) const;

  Queue<Output> outputs_;
  std::map<ChannelId, Channel> channels_;
  /// Device channels whose CloseChannel went out and whose end the owner has not reported: the
  /// identity of the stick that each was for.
  std::map<ChannelId, std::string> closing_;
  std::optional<ChannelId> control_;
  std::map<DeviceId, Offered> devices_;
  std::vector<DeviceId> order_;  ///< of being offered: the oldest waiting one gets the next channel
  /// When the one outstanding ADD_VIRTUAL_CHANNEL was sent; and whether its absence was remarked
  /// upon.
  std::optional<Instant> channel_requested_;
  bool missing_channel_logged_ = false;
  std::uint32_t next_usb_device_;
};

}  // namespace tillbridge::rdpeusb
