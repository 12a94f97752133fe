// The exporting end of a USB/IP conversation: the side that has the device.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::usbip {

/// Sans-I/O exporter of one conversation (one TCP connection of a USB/IP peer, or one stream of the link, or the
/// socket that vhci-hcd was given). Bytes in, bytes and events out.
///
/// Two ways to start: `await_request` begins where a TCP connection begins (OP_REQ_DEVLIST or OP_REQ_IMPORT);
/// `attached` begins after the import, as vhci-hcd does.
///
/// Guarantees: nothing is submitted that the device's descriptors do not allow (unknown endpoint, wrong direction,
/// above limits.hpp: answered here with an error RET_SUBMIT); each CMD_SUBMIT gets exactly one RET_SUBMIT, or, if
/// a CMD_UNLINK came first, exactly one RET_UNLINK, as usbip_protocol.txt wants; a completion that lies (longer than
/// asked, unknown id, wrong packet count) never reaches the peer as such: it is reported as an error and logged.
class Exporter {
 public:
  enum class Start : std::uint8_t { await_request, attached };

  // What poll() hands out, in order.
  struct Send { Bytes bytes; };
  /// The peer asked for the device list: answer with devices().
  struct ListWanted {};
  /// The peer wants `busid`: answer with import_granted() or import_refused().
  struct ImportWanted { std::string busid; };
  struct Submit { usb::Transfer transfer; };
  struct Cancel { usb::TransferId transfer; };
  /// The conversation is over: the peer broke the protocol, or the exchange was a device list. Close the transport.
  struct Close { std::optional<Error> error; };
  using Output = std::variant<Send, ListWanted, ImportWanted, Submit, Cancel, Close>;

  /// `device` is needed for Start::attached; otherwise import_granted() brings it.
  explicit Exporter(Start start, std::optional<usb::DeviceDescription> device = std::nullopt);

  void receive(ByteView bytes);
  void devices(const std::vector<usb::DeviceDescription>& devices);
  void import_granted(usb::DeviceDescription device);
  void import_refused();
  void complete(usb::Completion completion);

  [[nodiscard]] std::optional<Output> poll();

  /// Transfers submitted and not yet completed; on a lost transport the owner cancels these.
  [[nodiscard]] std::vector<usb::TransferId> running() const;
};

}  // namespace tillbridge::usbip
