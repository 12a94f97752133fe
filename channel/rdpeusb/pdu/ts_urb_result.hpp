// TS_URB_RESULT: what came of a TS_URB, inside the URB completions (rdpeusb.md 2.12).
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "channel/bytes/result.hpp"
#include "channel/rdpeusb/pdu/header.hpp"
#include "channel/rdpeusb/pdu/ts_urb.hpp"

namespace tillbridge::rdpeusb::pdu {

/// TS_USBD_PIPE_INFORMATION_RESULT.
struct PipeInformationResult {
  static constexpr std::size_t size = 2 /* MaximumPacketSize */ + 1 /* EndpointAddress */ +
                                      1 /* Interval */ + 4 /* PipeType */ + 4 /* PipeHandle */ +
                                      4 /* MaximumTransferSize */ + 4 /* PipeFlags */;
  std::uint16_t maximum_packet_size = 0;
  std::uint8_t endpoint = 0;  ///< bEndpointAddress with direction bit
  std::uint8_t interval = 0;  ///< bInterval
  std::uint32_t type = 0;     ///< 0 control, 1 isochronous, 2 bulk, 3 interrupt
  std::uint32_t handle = 0;
  std::uint32_t maximum_transfer_size = 0;  ///< echo of the request
  std::uint32_t flags = 0;                  ///< echo of the request
  bool operator==(const PipeInformationResult&) const = default;
};

/// TS_USBD_INTERFACE_INFORMATION_RESULT; Length is computed.
struct InterfaceInformationResult {
  static constexpr std::size_t fixed_size =
      2 /* Length */ + 1 /* InterfaceNumber */ + 1 /* AlternateSetting */ + 3 /* class triple */ +
      1 /* padding */ + 4 /* InterfaceHandle */ + 4 /* NumberOfPipes */;
  std::uint8_t interface_number = 0;
  std::uint8_t alternate_setting = 0;
  std::uint8_t interface_class = 0, interface_subclass = 0, interface_protocol = 0;
  std::uint8_t padding = 0;
  std::uint32_t handle = 0;  ///< never comes back on the wire
  std::vector<PipeInformationResult> pipes;
  bool operator==(const InterfaceInformationResult&) const = default;
};

/// TS_URB_SELECT_CONFIGURATION_RESULT.
struct SelectConfigurationResult {
  std::uint32_t configuration_handle = 0;
  std::vector<InterfaceInformationResult>
      interfaces;  ///< one for each entry of the request, in its order
  bool operator==(const SelectConfigurationResult&) const = default;
};

/// TS_URB_SELECT_INTERFACE_RESULT.
struct SelectInterfaceResult {
  InterfaceInformationResult interface;
  bool operator==(const SelectInterfaceResult&) const = default;
};

/// TS_URB_GET_CURRENT_FRAME_NUMBER_RESULT.
struct FrameNumberResult {
  std::uint32_t frame = 0;
  bool operator==(const FrameNumberResult&) const = default;
};

/// TS_URB_ISOCH_TRANSFER_RESULT. An IN completion's OutputBuffer holds only the bytes of good
/// packets, concatenated.
struct IsochronousResult {
  std::uint32_t start_frame = 0;
  std::uint32_t error_count = 0;
  std::vector<IsochronousPacket> packets;
  bool operator==(const IsochronousResult&) const = default;
};

/// TS_URB_RESULT_HEADER and what the URB's function adds to it; monostate for the bare 8 bytes.
struct TsUrbResult {
  static constexpr std::size_t header_size = 2 /* Size */ + 2 /* padding */ + 4 /* UsbdStatus */;
  using Body = std::variant<std::monostate, SelectConfigurationResult, SelectInterfaceResult,
                            FrameNumberResult, IsochronousResult>;
  /// Ignored by a receiver; Windows leaves the URB function in it.
  std::uint16_t padding = 0;
  std::uint32_t status = 0;  ///< namespace usbd_status
  Body body;
  bool operator==(const TsUrbResult&) const = default;
};

/// TS_URB_RESULT_HEADER.Size is a u16: whether the result fits it. A hostile SELECT_CONFIGURATION
/// that names one interface often enough can ask for a result that does not.
[[nodiscard]] bool fits(const TsUrbResult& result);
/// Appends the result; it must fit.
void encode(ByteWriter& out, const TsUrbResult& result);
/// `bytes` is exactly the result of a URB of `function`. A failed status may come as the bare
/// header for every function: the specification does not say what a failure looks like, so both
/// shapes are taken.
[[nodiscard]] Result<TsUrbResult> decode_ts_urb_result(ByteView bytes, std::uint16_t function);

}  // namespace tillbridge::rdpeusb::pdu
