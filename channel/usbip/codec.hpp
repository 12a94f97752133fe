// The messages of USB/IP 1.1.1 as bytes (Linux: Documentation/usb/usbip_protocol.rst). All fields
// are big-endian but the eight setup bytes, which are as on the bus. What is decoded here is only
// well-formed; whether it makes sense is judged by Exporter and Importer, who know the device and
// the conversation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::usbip {

/// BCD of 1.1.1. Stock usbipd and usbip refuse anything else.
inline constexpr std::uint16_t protocol_version = 0x0111;
/// The port that IANA gave to USB/IP.
inline constexpr std::uint16_t tcp_port = 3240;

// --- operations: what comes before a device is imported
// ------------------------------------------------------

namespace operation {
inline constexpr std::uint16_t request_import = 0x8003, reply_import = 0x0003,
                               request_device_list = 0x8005, reply_device_list = 0x0005;
}

/// Status of a reply (tools/usb/usbip/libsrc/usbip_common.h: ST_OK ... ST_ERROR).
enum class OperationStatus : std::uint32_t {
  ok = 0,
  not_available = 1,  ///< not exported; what older usbipd answer to every failure
  busy = 2,           ///< another client has it
  device_error = 3,
  no_such_device = 4,
  error = 5
};

struct OperationHeader {
  static constexpr std::size_t size = 2 /* version */ + 2 /* code */ + 4 /* status */;
  std::uint16_t version = protocol_version;
  std::uint16_t code = 0;
  std::uint32_t status = 0;
};

/// NUL-padded text fields.
inline constexpr std::size_t busid_size = 32, path_size = 256;

/// What a device list and an import reply tell of a device.
struct DeviceRecord {
  static constexpr std::size_t size =
      path_size + busid_size + 12 /* busnum, devnum, speed: u32 each */ +
      6 /* idVendor, idProduct, bcdDevice: u16 each */ + 3 /* class triple */ +
      1 /* bConfigurationValue */ + 1 /* bNumConfigurations */ + 1 /* bNumInterfaces */;
  std::string path;   ///< sysfs path at a Linux server; for people only
  std::string busid;  ///< "1-1.4"
  std::uint32_t bus_number = 0, device_number = 0;
  std::uint32_t speed = 0;  ///< usb::Speed, but a peer may send anything
  std::uint16_t vendor_id = 0, product_id = 0, device_version = 0;
  std::uint8_t device_class = 0, device_subclass = 0, device_protocol = 0;
  std::uint8_t configuration_value = 0, configuration_count = 0, interface_count = 0;
};

/// Each interface of a device list: its class triple and one byte of padding.
inline constexpr std::size_t interface_record_size = 4;

[[nodiscard]] Bytes encode_device_list_request();
[[nodiscard]] Bytes encode_import_request(std::string_view busid);
[[nodiscard]] Bytes encode_device_list(const std::vector<usb::DeviceDescription>& devices);
[[nodiscard]] Bytes encode_import_granted(const usb::DeviceDescription& device);
[[nodiscard]] Bytes encode_import_refused(OperationStatus status);

[[nodiscard]] Result<OperationHeader> decode_operation_header(ByteView bytes);
/// The 32 bytes of a busid; an error if no NUL ends it.
[[nodiscard]] Result<std::string> decode_busid(ByteView bytes);
[[nodiscard]] Result<DeviceRecord> decode_device_record(ByteView bytes);

/// The record that shows a device to a peer. The device's path is its busid.
[[nodiscard]] DeviceRecord to_record(const usb::DeviceDescription& device);
/// What a record tells: no strings, no endpoints. A speed that is not known becomes Speed::unknown.
[[nodiscard]] usb::DeviceDescription to_description(const DeviceRecord& record);

// --- commands: an imported device's transfers
// ----------------------------------------------------------------

/// Linux' transfer flags that mean something on the wire.
namespace transfer_flag {
inline constexpr std::uint32_t short_not_ok = 0x0001, iso_asap = 0x0002, zero_packet = 0x0040,
                               direction_in = 0x0200;
}

/// number_of_packets of a transfer that is not isochronous: the protocol document says 0xFFFFFFFF,
/// Linux sends 0.
inline constexpr std::uint32_t no_packets = 0xFFFFFFFF;

/// Every command is 48 bytes, followed by the data (OUT with CMD_SUBMIT, IN with RET_SUBMIT) and
/// the isochronous packet descriptors.
inline constexpr std::size_t command_size = 20 /* command, seqnum, devid, direction, ep: u32 each */
                                            + 28 /* the command's own */;
inline constexpr std::size_t packet_size = 16 /* offset, length, actual_length, status: u32 each */;

struct CmdSubmit {
  std::uint32_t sequence = 0;
  std::uint32_t device_id = 0;  ///< busnum << 16 | devnum
  bool in = false;
  std::uint32_t endpoint = 0;  ///< number without direction bit; a peer may send anything
  std::uint32_t flags = 0;
  std::uint32_t length = 0;  ///< transfer_buffer_length
  std::uint32_t start_frame = 0;
  std::uint32_t packet_count = 0;  ///< number_of_packets
  std::uint32_t interval = 0;  ///< Linux units: frames (low, full) or microframes (high and above)
  usb::SetupPacket setup;
  bool operator==(const CmdSubmit&) const = default;
};

struct CmdUnlink {
  std::uint32_t sequence = 0;
  std::uint32_t device_id = 0;
  std::uint32_t unlinked_sequence = 0;  ///< sequence of the CMD_SUBMIT to be unlinked
  bool operator==(const CmdUnlink&) const = default;
};

struct RetSubmit {
  std::uint32_t sequence = 0;  ///< of the CMD_SUBMIT
  std::int32_t status = 0;     ///< 0 or a negative Linux errno
  std::uint32_t actual_length = 0;
  std::uint32_t start_frame = 0;
  std::uint32_t packet_count = 0;
  std::uint32_t error_count = 0;
  bool operator==(const RetSubmit&) const = default;
};

struct RetUnlink {
  std::uint32_t sequence = 0;  ///< of the CMD_UNLINK
  std::int32_t status = 0;     ///< -ECONNRESET: unlinked; 0: it had completed before
  bool operator==(const RetUnlink&) const = default;
};

using Command = std::variant<CmdSubmit, CmdUnlink, RetSubmit, RetUnlink>;

[[nodiscard]] Bytes encode(const CmdSubmit& command);
[[nodiscard]] Bytes encode(const CmdUnlink& command);
[[nodiscard]] Bytes encode(const RetSubmit& command);
[[nodiscard]] Bytes encode(const RetUnlink& command);
/// Exactly command_size bytes.
[[nodiscard]] Result<Command> decode_command(ByteView bytes);

[[nodiscard]] Bytes encode_packets(const std::vector<usb::IsochronousPacket>& packets);
/// A whole number of packets; the caller has bounded the count.
[[nodiscard]] Result<std::vector<usb::IsochronousPacket>> decode_packets(ByteView bytes);

}  // namespace tillbridge::usbip
