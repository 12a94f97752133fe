// The USB device interface, server to client: requests to one device, and the one response
// (rdpeusb.md 2.7).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "channel/rdpeusb/pdu/header.hpp"
#include "channel/rdpeusb/pdu/ts_urb.hpp"

namespace tillbridge::rdpeusb::pdu {

/// CANCEL_REQUEST. Has no answer of its own; an unknown or finished id is ignored.
struct CancelRequest {
  static constexpr std::size_t size = Header::request_size + 4 /* RequestId */;
  Address address;
  std::uint32_t request = 0;
  bool operator==(const CancelRequest&) const = default;
};

/// REGISTER_REQUEST_CALLBACK. NumRequestCompletion 0 has no id: completions stop, a driver stack
/// was torn down.
struct RegisterRequestCallback {
  Address address;
  std::uint32_t count =
      1;  ///< NumRequestCompletion; one id follows whatever number above 0 it says
  std::uint32_t request_completion =
      0;  ///< interface id of all completions, 30 bits count; chosen by the server
  bool operator==(const RegisterRequestCallback&) const = default;
};

/// IoControlCode values (usbioctl.h, rdpeusb.md 2.13).
namespace io_control_code {
inline constexpr std::uint32_t reset_port = 0x00220007, get_port_status = 0x00220013,
                               get_hub_count = 0x0022001B, cycle_port = 0x0022001F,
                               get_hub_name = 0x00220020, get_bus_info = 0x00220420,
                               get_controller_name = 0x00220424;
inline constexpr std::uint32_t query_bus_time = 0x00224000;  ///< comes as INTERNAL_IO_CONTROL
}  // namespace io_control_code
/// "RESET_PORT (0x00220007)"; an unknown one as its number alone.
[[nodiscard]] std::string io_control_text(std::uint32_t code);

/// IO_CONTROL and INTERNAL_IO_CONTROL.
struct IoControl {
  Address address;
  bool internal = false;
  std::uint32_t code = 0;
  ByteView input;                        ///< empty for every defined code
  std::uint32_t output_buffer_size = 0;  ///< the most the client may return
  std::uint32_t request = 0;             ///< 32 bits on the wire, 31 in sensible use
};

/// QUERY_DEVICE_TEXT.
struct QueryDeviceText {
  static constexpr std::size_t size = Header::request_size + 4 /* TextType */ + 4 /* LocaleId */;
  static constexpr std::uint32_t description = 0, location = 1;
  Address address;
  std::uint32_t text_type = description;
  std::uint32_t locale = 0x409;  ///< LCID
  bool operator==(const QueryDeviceText&) const = default;
};

/// QUERY_DEVICE_TEXT_RSP, client to server: interface id and MessageId of the request, mask STUB.
struct QueryDeviceTextResponse {
  Address address;
  std::string text;  ///< with exactly one NUL on the wire; a missing or doubled one upsets Windows
  std::uint32_t result = 0;  ///< HRESULT
  bool operator==(const QueryDeviceTextResponse&) const = default;
};

/// TRANSFER_IN_REQUEST and TRANSFER_OUT_REQUEST. This is about the message; the device's own
/// direction follows TransferFlags or the function (SET_FEATURE travels as TRANSFER_IN).
struct TransferRequest {
  Address address;
  bool in = true;
  TsUrb urb;
  std::uint32_t output_buffer_size = 0;  ///< IN: most bytes wanted. OUT: output_buffer.size()
  ByteView output_buffer;                ///< OUT only
};

/// RETRACT_DEVICE: policy of the server forbids the device; the client closes the channel.
struct RetractDevice {
  static constexpr std::size_t size = Header::request_size + 4 /* Reason */;
  static constexpr std::uint32_t blocked_by_policy = 1;
  Address address;
  std::uint32_t reason = blocked_by_policy;
  bool operator==(const RetractDevice&) const = default;
};

[[nodiscard]] Bytes encode(const CancelRequest& pdu);
[[nodiscard]] Bytes encode(const RegisterRequestCallback& pdu);
[[nodiscard]] Bytes encode(const IoControl& pdu);
[[nodiscard]] Bytes encode(const QueryDeviceText& pdu);
[[nodiscard]] Bytes encode(const QueryDeviceTextResponse& pdu);
/// OUT: OutputBufferSize is taken from the buffer.
[[nodiscard]] Bytes encode(const TransferRequest& pdu);
[[nodiscard]] Bytes encode(const RetractDevice& pdu);

}  // namespace tillbridge::rdpeusb::pdu
