// The request completion interface, client to server: how requests ended (rdpeusb.md 2.8).
#pragma once

#include <cstdint>

#include "channel/rdpeusb/pdu/header.hpp"
#include "channel/rdpeusb/pdu/status.hpp"
#include "channel/rdpeusb/pdu/ts_urb_result.hpp"

namespace tillbridge::rdpeusb::pdu {

/// By how much FreeRDP up to 3.30 announces more output of an I/O control than was asked for.
inline constexpr std::uint32_t freerdp_io_control_surplus = 4;

/// IOCONTROL_COMPLETION. Success: `information` is the size of `output`. INSUFFICIENT_BUFFER:
/// `output` has the request's OutputBufferSize and `information` says what would be needed. Any
/// other failure: no output, 0.
struct IoControlCompletion {
  static constexpr std::size_t fixed_size = Header::request_size + 4 /* RequestId */ +
                                            4 /* HResult */ + 4 /* Information */ +
                                            4 /* OutputBufferSize */;
  Address address;
  std::uint32_t request = 0;
  std::uint32_t hresult = 0;
  std::uint32_t information = 0;
  /// OutputBufferSize as announced; encode() takes it from the buffer. A decoded one differs from
  /// output.size() only where it is four above the request's: FreeRDP up to 3.30 announces four
  /// bytes more than was asked for, and carries what it likes (its commit e15201ad0).
  std::uint32_t output_buffer_size = 0;
  ByteView output;
};

/// URB_COMPLETION: a TRANSFER_IN that returns at least one byte.
struct UrbCompletion {
  Address address;
  std::uint32_t request = 0;  ///< 31 bits
  TsUrbResult result;
  std::uint32_t hresult = 0;
  ByteView output;
};

/// URB_COMPLETION_NO_DATA: a TRANSFER_IN that returns nothing, and every TRANSFER_OUT.
struct UrbCompletionNoData {
  Address address;
  std::uint32_t request = 0;
  TsUrbResult result;
  std::uint32_t hresult = 0;
  std::uint32_t output_buffer_size = 0;  ///< IN: 0. OUT: bytes the device accepted
};

[[nodiscard]] Bytes encode(const IoControlCompletion& pdu);
[[nodiscard]] Bytes encode(const UrbCompletion& pdu);
[[nodiscard]] Bytes encode(const UrbCompletionNoData& pdu);

}  // namespace tillbridge::rdpeusb::pdu
