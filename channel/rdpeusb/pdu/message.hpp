// A whole message as it comes in: which PDU it is, decided by direction, mask, interface id and
// function id (rdpeusb.md 1.3).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "channel/bytes/result.hpp"
#include "channel/rdpeusb/pdu/capabilities.hpp"
#include "channel/rdpeusb/pdu/completion.hpp"
#include "channel/rdpeusb/pdu/device.hpp"
#include "channel/rdpeusb/pdu/interface_manipulation.hpp"
#include "channel/rdpeusb/pdu/notification.hpp"
#include "channel/rdpeusb/pdu/sink.hpp"

namespace tillbridge::rdpeusb::pdu {

// --- outcomes that are no PDU
// ----------------------------------------------------------------------------------

/// A function we do not know on an interface that lives: answered by the 8-byte reply,
/// encode(QueryInterfaceResponse{address}).
struct UnknownFunction {
  Address address;
  std::uint32_t function = 0;
};

/// Not to be acted upon and not to be answered (MS-RDPEUSB 3.1.5): too short for a header, mask 3,
/// a response nobody waits for, an unknown interface, a malformed message that is no I/O request.
struct Ignored {
  std::string reason;
};

/// An I/O request that cannot be carried out, but whose RequestId could be read: it must be
/// completed with an error, or the server's IRP hangs for ever.
struct BadRequest {
  enum class Kind : std::uint8_t { transfer_in, transfer_out, io_control, internal_io_control };
  Address address;
  Kind kind{};
  std::uint32_t request = 0;
  /// The request carries NoAck. Where that is legal (isochronous TRANSFER_OUT) nothing may be sent.
  bool no_ack = false;
  /// TS_URB function, as far as it is there; IoControlCode is of no use to anyone.
  std::optional<std::uint16_t> function;
  /// What to complete it with (rdpeusb.md 2.14): of these two, an I/O control only uses the second.
  std::uint32_t usbd_status = 0;
  std::uint32_t hresult = 0;
  std::string reason;
};

// --- server to till
// ----------------------------------------------------------------------------------------------

struct TillContext {
  /// UsbDevice of the ADD_DEVICE sent on this channel; before that (and on the control channel)
  /// nothing.
  std::optional<std::uint32_t> usb_device;
};

using FromServer =
    std::variant<CapabilityRequest, ChannelCreated, ReleaseInterface, QueryInterface, CancelRequest,
                 RegisterRequestCallback, IoControl, QueryDeviceText, TransferRequest,
                 RetractDevice, BadRequest, UnknownFunction, Ignored>;

/// Decodes a message at the till. An error means an I/O request too broken to find its RequestId:
/// the device channel has to be closed, since the request could never be completed. A
/// TransferRequest returned has its message kind checked against its function and flags, and its
/// sizes against limits.hpp; handles are the caller's to check.
[[nodiscard]] Result<FromServer> decode_from_server(ByteView message, const TillContext& context);

// --- till to server
// ----------------------------------------------------------------------------------------------

/// A request of ours that waits for its completion: decides which completion may come and the shape
/// of a URB's result.
struct OutstandingRequest {
  bool io_control = false;
  std::uint16_t function = 0;            ///< URB function, unless io_control
  std::uint32_t output_buffer_size = 0;  ///< as sent
};

struct TerminalContext {
  bool capability_outstanding = false;
  /// The QUERY_DEVICE_TEXT and the RIMCALL_QUERYINTERFACE that wait for their answers.
  std::optional<Address> text_query, interface_query;
  /// RequestCompletion of the REGISTER_REQUEST_CALLBACK sent on this channel.
  std::optional<std::uint32_t> request_completion;
  /// Looks an outstanding request up by its RequestId. Must be set if request_completion is.
  std::function<std::optional<OutstandingRequest>(std::uint32_t request)> outstanding;
};

using FromTill =
    std::variant<CapabilityResponse, ChannelCreated, AddVirtualChannel, AddDevice,
                 QueryDeviceTextResponse, QueryInterfaceResponse, ReleaseInterface, QueryInterface,
                 IoControlCompletion, UrbCompletion, UrbCompletionNoData, UnknownFunction, Ignored>;

/// Decodes a message at the terminal server. An error means a message that lies: malformed on an
/// interface that lives, or a completion for a request that is not outstanding. The channel has to
/// be closed.
[[nodiscard]] Result<FromTill> decode_from_till(ByteView message, const TerminalContext& context);

}  // namespace tillbridge::rdpeusb::pdu
