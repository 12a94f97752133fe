// TS_URB: the URB inside TRANSFER_IN_REQUEST and TRANSFER_OUT_REQUEST (rdpeusb.md 2.10, 2.11).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "channel/bytes/result.hpp"
#include "channel/rdpeusb/pdu/header.hpp"
#include "channel/rdpeusb/pdu/urb_function.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::rdpeusb::pdu {

/// TransferFlags (usb.h).
namespace transfer_flag {
inline constexpr std::uint32_t direction_in = 1;
inline constexpr std::uint32_t short_transfer_ok = 2;
inline constexpr std::uint32_t start_isochronous_asap = 4;
inline constexpr std::uint32_t default_pipe = 8;  ///< endpoint 0; PipeHandle then means nothing
}  // namespace transfer_flag

/// TS_USBD_PIPE_INFORMATION. Windows sends MaximumPacketSize 0 (no preference) and reads the
/// result's.
struct PipeInformation {
  static constexpr std::size_t size =
      2 /* MaximumPacketSize */ + 2 /* padding */ + 4 /* MaximumTransferSize */ + 4 /* PipeFlags */;
  std::uint16_t maximum_packet_size = 0;
  std::uint16_t padding = 0;
  std::uint32_t maximum_transfer_size = 0xFFFFFFFF;
  std::uint32_t flags = 0;
  bool operator==(const PipeInformation&) const = default;
};

/// TS_USBD_INTERFACE_INFORMATION; Length is computed.
struct InterfaceInformation {
  static constexpr std::size_t fixed_size = 2 /* Length */ + 2 /* NumberOfPipesExpected */ +
                                            1 /* InterfaceNumber */ + 1 /* AlternateSetting */ +
                                            2 /* padding */ + 4 /* NumberOfPipes */;
  std::uint16_t pipes_expected = 0;
  std::uint8_t interface_number = 0;
  std::uint8_t alternate_setting = 0;
  std::uint16_t padding = 0;
  std::vector<PipeInformation> pipes;
  bool operator==(const InterfaceInformation&) const = default;
};

/// TS_URB_SELECT_CONFIGURATION.
struct SelectConfiguration {
  /// ConfigurationDescriptorIsValid. 0: unconfigure the device, and `descriptor` is empty.
  std::uint8_t descriptor_valid = 0;
  std::array<std::uint8_t, 3> padding{};
  std::vector<InterfaceInformation> interfaces;
  /// The whole configuration descriptor: the decoder has checked its type and that wTotalLength is
  /// its size.
  ByteView descriptor;
};

/// TS_URB_SELECT_INTERFACE.
struct SelectInterface {
  std::uint32_t configuration_handle = 0;
  InterfaceInformation interface;
};

/// TS_URB_PIPE_REQUEST: abort, reset, clear stall.
struct PipeRequest {
  std::uint32_t pipe_handle = 0;
};

/// TS_URB_GET_CURRENT_FRAME_NUMBER and TS_URB_CONTROL_GET_CONFIGURATION_REQUEST: nothing but the
/// header.
struct NoParameters {};

/// TS_URB_CONTROL_TRANSFER.
struct ControlTransfer {
  std::uint32_t pipe_handle = 0;
  std::uint32_t flags = 0;
  usb::SetupPacket setup;
};

/// TS_URB_CONTROL_TRANSFER_EX.
struct ControlTransferEx {
  std::uint32_t pipe_handle = 0;
  std::uint32_t flags = 0;
  std::uint32_t timeout_ms = 0;  ///< 0: none
  usb::SetupPacket setup;
};

/// TS_URB_BULK_OR_INTERRUPT_TRANSFER.
struct BulkOrInterruptTransfer {
  std::uint32_t pipe_handle = 0;
  std::uint32_t flags = 0;
};

/// USBD_ISO_PACKET_DESCRIPTOR. In a request only `offset` matters: a packet reaches up to the next
/// one's offset.
struct IsochronousPacket {
  static constexpr std::size_t size = 4 /* Offset */ + 4 /* Length */ + 4 /* Status */;
  std::uint32_t offset = 0, length = 0, status = 0;
  bool operator==(const IsochronousPacket&) const = default;
};

/// TS_URB_ISOCH_TRANSFER.
struct IsochronousTransfer {
  std::uint32_t pipe_handle = 0;
  std::uint32_t flags = 0;
  std::uint32_t start_frame = 0;
  std::uint32_t error_count = 0;
  std::vector<IsochronousPacket> packets;
};

/// TS_URB_CONTROL_DESCRIPTOR_REQUEST.
struct DescriptorRequest {
  std::uint8_t index = 0;
  std::uint8_t type = 0;
  std::uint16_t language =
      0;  ///< wIndex; for interfaces the HID class driver puts the interface number here
};

/// TS_URB_CONTROL_FEATURE_REQUEST.
struct FeatureRequest {
  std::uint16_t selector = 0, index = 0;
};

/// TS_URB_CONTROL_GET_STATUS_REQUEST.
struct StatusRequest {
  std::uint16_t index = 0, padding = 0;
};

/// TS_URB_CONTROL_VENDOR_OR_CLASS_REQUEST.
struct VendorOrClassRequest {
  std::uint32_t flags = 0;
  std::uint8_t reserved_bits =
      0;  ///< RequestTypeReservedBits: bits 0-4 are OR-ed into bmRequestType
  std::uint8_t request = 0;
  std::uint16_t value = 0, index = 0, padding = 0;
};

/// TS_URB_CONTROL_GET_INTERFACE_REQUEST.
struct GetInterfaceRequest {
  std::uint16_t interface = 0, padding = 0;
};

/// TS_URB_OS_FEATURE_DESCRIPTOR_REQUEST. The u16 feature index stands unaligned at offset 11.
struct OsFeatureDescriptorRequest {
  std::uint8_t recipient = 0;  ///< 5 bits: 0 device, 1 interface, 2 endpoint
  std::uint8_t padding1 = 0;   ///< 3 bits
  std::uint8_t interface_number = 0;
  std::uint8_t page = 0;                       ///< MS_PageIndex
  std::uint16_t feature_descriptor_index = 0;  ///< 4 extended compat id, 5 extended properties
  std::array<std::uint8_t, 3> padding2{};
};

/// A whole TS_URB: TS_URB_HEADER and the body its function calls for (body_of() in
/// urb_function.hpp).
struct TsUrb {
  static constexpr std::size_t header_size =
      2 /* Size */ + 2 /* URB Function */ + 4 /* RequestId, NoAck */;
  using Body = std::variant<NoParameters, SelectConfiguration, SelectInterface, PipeRequest,
                            ControlTransfer, ControlTransferEx, BulkOrInterruptTransfer,
                            IsochronousTransfer, DescriptorRequest, FeatureRequest, StatusRequest,
                            VendorOrClassRequest, GetInterfaceRequest, OsFeatureDescriptorRequest>;
  std::uint16_t function = 0;  ///< namespace urb_function
  std::uint32_t request = 0;   ///< RequestId, 31 bits
  bool no_ack =
      false;  ///< legal only for isochronous TRANSFER_OUT_REQUEST; then no completion is sent
  Body body;
};

/// TS_URB_HEADER.Size is a u16: whether the URB fits it. Only SELECT_CONFIGURATION can be too
/// large.
[[nodiscard]] bool fits(const TsUrb& urb);
/// Appends the TS_URB. The body must be the one of its function, and it must fit.
void encode(ByteWriter& out, const TsUrb& urb);
/// `bytes` is exactly the TS_URB. Errors: `malformed`; `limit` for counts above limits.hpp;
/// `refused` for a URB function that this protocol does not carry.
[[nodiscard]] Result<TsUrb> decode_ts_urb(ByteView bytes);

/// `count` packets; the caller has checked it against limits.hpp and what remains.
[[nodiscard]] std::vector<IsochronousPacket> decode_packets(ByteReader& in, std::uint32_t count);
void encode_packets(ByteWriter& out, const std::vector<IsochronousPacket>& packets);

/// The eight bytes as they go on the bus.
void encode(ByteWriter& out, const usb::SetupPacket& setup);
[[nodiscard]] usb::SetupPacket decode_setup(ByteReader& in);

}  // namespace tillbridge::rdpeusb::pdu
