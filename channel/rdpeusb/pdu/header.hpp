// The shared message header of MS-RDPEUSB (MS-RDPEXPS 2.2.1) and the ids that tell messages apart.
#pragma once

#include <cstdint>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/writer.hpp"

/// Every message of MS-RDPEUSB as a value, with encode() and decode in both directions. Views in
/// decoded values point into the message they were decoded from and live no longer than it.
namespace tillbridge::rdpeusb::pdu {

/// Bits 30-31 of the header's first word.
enum class Mask : std::uint8_t {
  none = 0,    ///< capability exchange, and a Windows server's release of interface 0
  proxy = 1,   ///< every request, completions included
  stub = 2,    ///< responses: QUERY_DEVICE_TEXT_RSP, QI_RSP, "function not supported"
  invalid = 3  ///< no conforming peer sends it
};

/// Default interface ids. They are unique only among the ids of one side, so dispatch is always on
/// direction and mask as well: Windows servers use 0 for RequestCompletion, Windows clients use 0
/// for UsbDevice (rdpeusb.md 1.3).
namespace interface_id {
inline constexpr std::uint32_t capabilities = 0;
inline constexpr std::uint32_t device_sink = 1;
inline constexpr std::uint32_t notification_to_client = 2;
inline constexpr std::uint32_t notification_to_server = 3;
/// The first id that collides with no default one; a side that makes up ids starts here.
inline constexpr std::uint32_t first_free = 4;
/// Interface ids have 30 bits; the top two bits of one received as data are ignored.
inline constexpr std::uint32_t bits = 0x3FFFFFFF;
}  // namespace interface_id

/// FunctionIds. They repeat across interfaces: 0x100 alone has five meanings.
namespace function_id {
inline constexpr std::uint32_t release = 0x001, query_interface = 0x002;         // any interface
inline constexpr std::uint32_t exchange_capability = 0x100;                      // capabilities
inline constexpr std::uint32_t channel_created = 0x100;                          // notification
inline constexpr std::uint32_t add_virtual_channel = 0x100, add_device = 0x101;  // device sink
inline constexpr std::uint32_t cancel_request = 0x100, register_request_callback = 0x101,
                               io_control = 0x102, internal_io_control = 0x103,
                               query_device_text = 0x104, transfer_in_request = 0x105,
                               transfer_out_request = 0x106, retract_device = 0x107;  // USB device
inline constexpr std::uint32_t io_control_completion = 0x100, urb_completion = 0x101,
                               urb_completion_no_data = 0x102;  // request completion
}  // namespace function_id

/// SHARED_MSG_HEADER. `function` is on the wire in requests only; a response is 8 bytes and then
/// its payload.
struct Header {
  static constexpr std::size_t response_size = 4 /* InterfaceId, Mask */ + 4 /* MessageId */;
  static constexpr std::size_t request_size = response_size + 4 /* FunctionId */;
  std::uint32_t interface = 0;  ///< 30 bits
  Mask mask = Mask::proxy;
  std::uint32_t message = 0;
  std::uint32_t function = 0;
};

/// Where a message belongs: enough of its header to answer it. Part of every PDU whose interface id
/// is not fixed.
struct Address {
  std::uint32_t interface = 0;
  std::uint32_t message =
      0;  ///< MessageId: 0 everywhere in Windows traffic; pairs responses with requests
  bool operator==(const Address&) const = default;
};

void encode_request_header(ByteWriter& out, const Header& header);
void encode_response_header(ByteWriter& out, const Header& header);
/// Reads 12 bytes; the reader fails if they are not there.
[[nodiscard]] Header decode_request_header(ByteReader& in);
/// Reads 8 bytes.
[[nodiscard]] Header decode_response_header(ByteReader& in);

}  // namespace tillbridge::rdpeusb::pdu
