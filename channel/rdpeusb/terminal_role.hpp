// The terminal server's end of MS-RDPEUSB: it takes announced devices and drives them.
#pragma once

#include <cstddef>
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
#include "channel/rdpeusb/terminal_profile.hpp"
#include "channel/rdpeusb/till_role.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::rdpeusb {

namespace pdu {
struct AddDevice;
struct ChannelCreated;
struct CapabilityResponse;
}  // namespace pdu
namespace terminal {
class Device;
enum class Quirk : std::uint8_t;
}  // namespace terminal

/// What ADD_DEVICE told about a device.
struct AnnouncedDevice {
  std::string instance_id;
  std::vector<std::string> hardware_ids, compatible_ids;
  std::string container_id;
  std::uint32_t usb_version = 0;  ///< Supported_USB_Version as sent
  bool high_speed = false;
  std::string description;  ///< the answer to QUERY_DEVICE_TEXT; empty if none came
};

/// Sans-I/O state machine of one RDP session at the terminal server: the control channel, one
/// channel per device, and the translation of ordinary USB transfers into TS_URBs and back.
///
/// A control transfer is sent as the typed URB that Windows would use (rdpeusb.md 2.11, 6.3):
/// SET_CONFIGURATION as SELECT_CONFIGURATION with the whole descriptor (read from the device first
/// if it did not pass by yet), SET_INTERFACE as SELECT_INTERFACE, CLEAR_FEATURE(HALT) as
/// SYNC_RESET_PIPE_AND_CLEAR_STALL, port reset as RESET_PORT.
///
/// Guarantees: each submitted transfer completes exactly once, whatever the till does or sends; a
/// completion that lies closes that device's channel; every limit of limits.hpp holds. Known faults
/// of stock FreeRDP clients (rdpeusb.md 6.1, 6.2) are tolerated, and logged by name once per
/// device.
class TerminalRole {
 public:
  /// Open another DVC named URBDRC; report channel_opened() or channel_refused() with the same
  /// ticket.
  struct OpenChannel {
    std::uint32_t ticket;
  };
  struct SendMessage {
    ChannelId channel;
    Bytes message;
  };
  struct CloseChannel {
    ChannelId channel;
    std::string reason;
  };
  /// Ready for transfers.
  struct DeviceArrived {
    DeviceId device;
    AnnouncedDevice announced;
  };
  /// Gone; all its transfers have been completed before this.
  struct DeviceGone {
    DeviceId device;
    std::string reason;
  };
  struct Completed {
    DeviceId device;
    usb::Completion completion;
  };
  /// The end of an io_control(): the HResult of IOCONTROL_COMPLETION and its output buffer. Exactly
  /// one for each request, in the order of asking, all of them before DeviceGone (then with a
  /// failure HResult and no output).
  struct IoControlCompleted {
    DeviceId device;
    std::uint32_t hresult;
    Bytes output;
  };
  struct Event {
    Level level;
    std::string text;
    /// The client answered one of the profile's own requests wrongly: a fault that no transfer of
    /// the owner would show.
    bool wrong_answer = false;
  };
  using Output = std::variant<OpenChannel, SendMessage, CloseChannel, DeviceArrived, DeviceGone,
                              Completed, IoControlCompleted, Event>;

  explicit TerminalRole(Profile profile = Profile::plain);
  ~TerminalRole();
  TerminalRole(const TerminalRole&) = delete;
  TerminalRole& operator=(const TerminalRole&) = delete;
  TerminalRole(TerminalRole&&) = delete;
  TerminalRole& operator=(TerminalRole&&) = delete;

  /// The session's dynamic channels work: asks for the control channel.
  void start(Instant now);
  /// A ticket that is not waited for (any more) gets its channel closed at once.
  void channel_opened(std::uint32_t ticket, ChannelId channel, Instant now);
  void channel_refused(std::uint32_t ticket, Instant now);
  void channel_closed(ChannelId channel, Instant now);
  void receive(ChannelId channel, ByteView message, Instant now);

  /// Ids are the caller's, unique per device while running.
  void submit(DeviceId device, usb::Transfer transfer, Instant now);
  /// Unknown or finished ids are ignored.
  void cancel(DeviceId device, usb::TransferId transfer, Instant now);
  /// An I/O control (rdpeusb.md 2.13) with no input. One that the till answers by itself, such as
  /// GET_HUB_COUNT (4 bytes), is the channel's bare round trip: what a transfer through it is
  /// measured against.
  void io_control(DeviceId device, std::uint32_t code, std::uint32_t output_bytes, Instant now);
  /// Policy forbids the device: RETRACT_DEVICE, then the channel is closed.
  void retract(DeviceId device, const std::string& reason, Instant now);
  /// The session ends here. With Profile::windows every device is taken leave of; everything that
  /// runs ends as device_gone.
  void log_off(Instant now);

  void advance(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Output> poll();

 private:
  enum class State : std::uint8_t {
    capability,       ///< RIM_EXCHANGE_CAPABILITY_REQUEST sent
    channel_created,  ///< CHANNEL_CREATED sent
    control,          ///< the control channel after its handshake
    unannounced,      ///< a device channel after its handshake; ADD_DEVICE is awaited
    opening,          ///< the profile's script is under way
    running           ///< the device has arrived
  };
  struct Channel;

  void open(bool control);
  void send(const Channel& channel, Bytes message);
  void event(Level level, std::string text);
  void dispatch(Channel& channel, ByteView message, Instant now);
  [[nodiscard]] Status receive(Channel& channel, const pdu::CapabilityResponse& message,
                               Instant now);
  [[nodiscard]] Status receive(Channel& channel, const pdu::ChannelCreated& message, Instant now);
  [[nodiscard]] Status receive(Channel& channel, const pdu::AddDevice& message);
  [[nodiscard]] Status add_virtual_channel(Channel& channel);
  /// Sends what the opening has to send; at its end the device has arrived.
  void proceed(Channel& channel, Instant now);
  /// Passes on what the channel's device has to say.
  void drain(Channel& channel);
  void report(const Channel& channel, terminal::Quirk quirk);
  /// Ends a channel from our side.
  void close(ChannelId channel, const std::string& reason);
  /// Completes the transfers of a channel that is gone and forgets it.
  void forget(ChannelId channel, const std::string& reason);
  void close_device_channels(const std::string& reason);
  [[nodiscard]] Channel* find(DeviceId device);

  Profile profile_;
  std::map<std::uint32_t, bool> tickets_;  ///< asked for: whether it is to be the control channel
  std::uint32_t last_ticket_ = 0;
  std::map<ChannelId, std::unique_ptr<Channel>> channels_;
  DeviceId last_device_ = 0;
  Queue<Output> outputs_;
};

}  // namespace tillbridge::rdpeusb
