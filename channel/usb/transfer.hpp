// What flows through every room: a transfer towards a stick, and its completion on the way back.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "channel/bytes/reader.hpp"

namespace tillbridge::usb {

/// Numbers as in bmAttributes bits 0-1 of an endpoint descriptor (USB 2.0, table 9-13).
enum class TransferType : std::uint8_t { control = 0, isochronous = 1, bulk = 2, interrupt = 3 };

/// The eight bytes of a SETUP packet (USB 2.0, 9.3).
struct SetupPacket {
  std::uint8_t request_type = 0;  ///< bmRequestType
  std::uint8_t request = 0;       ///< bRequest
  std::uint16_t value = 0;        ///< wValue
  std::uint16_t index = 0;        ///< wIndex
  std::uint16_t length = 0;       ///< wLength, bytes of the data stage

  [[nodiscard]] bool in() const noexcept { return (request_type & 0x80U) != 0; }
  bool operator==(const SetupPacket&) const = default;
};

/// Names a transfer between the two rooms that hand it to each other; unique while it runs, never
/// 0.
using TransferId = std::uint32_t;

/// One packet of an isochronous transfer. `offset` is into the transfer's buffer; `actual_length`
/// and `status` (a negative errno as in USB/IP, 0 for success) are filled in by the completion.
struct IsochronousPacket {
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
  std::uint32_t actual_length = 0;
  std::int32_t status = 0;
  bool operator==(const IsochronousPacket&) const = default;
};

/// One USB transfer. A value: whoever holds it owns its data.
struct Transfer {
  TransferId id = 0;
  TransferType type = TransferType::control;
  /// bEndpointAddress; bit 7 set is IN (device to host). Control transfers: 0x80 or 0x00 after
  /// `setup.in()`.
  std::uint8_t endpoint = 0;
  SetupPacket setup;         ///< control only
  std::uint32_t length = 0;  ///< bytes: IN the most that is wanted, OUT equal to data.size()
  /// IN that ends short is an error (USB/IP URB_SHORT_NOT_OK; MS-RDPEUSB without
  /// USBD_SHORT_TRANSFER_OK).
  bool short_not_ok = false;
  /// OUT that is a multiple of the packet size ends with a zero-length packet (URB_ZERO_PACKET).
  bool zero_packet = false;
  std::uint32_t interval = 0;  ///< interrupt and isochronous, as in the endpoint descriptor
  std::vector<IsochronousPacket> packets;
  Bytes data;  ///< OUT only

  [[nodiscard]] bool in() const noexcept { return (endpoint & 0x80U) != 0; }
  [[nodiscard]] std::uint8_t endpoint_number() const noexcept { return endpoint & 0x0FU; }
  bool operator==(const Transfer&) const = default;
};

/// How a transfer ended. Everything but `success` is a failure, and is reported as one to the
/// session.
enum class TransferStatus : std::uint8_t {
  success,      ///< done; IN may be shorter than asked
  stall,        ///< the endpoint answered STALL; bulk and interrupt pipes are halted until cleared
  cancelled,    ///< ended by a cancel before it was done; actual_length may be > 0
  short_read,   ///< IN ended short although short_not_ok was set; the data is still here
  overflow,     ///< the device sent more than was asked for (babble)
  timeout,      ///< a time-out that the requester itself asked for
  error,        ///< CRC, no handshake, any other bus error
  device_gone,  ///< unplugged
  refused,      ///< not carried out: not allowed by the descriptors or by policy
  no_resources  ///< not carried out: above a limit
};

/// Words for log lines: "bulk", "device gone".
[[nodiscard]] std::string_view name(TransferType type) noexcept;
[[nodiscard]] std::string_view name(TransferStatus status) noexcept;

/// The end of a transfer. There is exactly one for each transfer that was submitted.
struct Completion {
  TransferId id = 0;
  TransferStatus status = TransferStatus::success;
  std::uint32_t actual_length =
      0;  ///< bytes moved: IN equal to data.size(), OUT accepted by the device
  std::vector<IsochronousPacket> packets;
  Bytes data;  ///< IN only; isochronous: packets in their places, as in the transfer's buffer
  bool operator==(const Completion&) const = default;
};

}  // namespace tillbridge::usb
