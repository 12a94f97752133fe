// I/O controls that the till answers itself: what the terminal server asks about port, hub and bus
// (rdpeusb.md 2.13).
#pragma once

#include <cstdint>

#include "channel/bytes/instant.hpp"
#include "channel/rdpeusb/pdu/device.hpp"
#include "channel/usb/descriptors.hpp"

namespace tillbridge::rdpeusb::till {

/// The bus's frame counter: 1 ms a frame, wraps at 32 bits. QUERY_BUS_TIME and
/// GET_CURRENT_FRAME_NUMBER must use the same one.
[[nodiscard]] std::uint32_t frame_number(Instant now) noexcept;

/// What becomes an IOCONTROL_COMPLETION.
struct IoControlAnswer {
  std::uint32_t hresult = 0;
  std::uint32_t information = 0;
  Bytes output;
};

/// RESET_PORT and CYCLE_PORT: they go to the stick, by its ResetPolicy.
[[nodiscard]] bool is_port_reset(const pdu::IoControl& request) noexcept;

/// All others. Codes that are not known fail with NOT_SUPPORTED.
[[nodiscard]] IoControlAnswer answer_io_control(const pdu::IoControl& request,
                                                const usb::DeviceDescription& device, Instant now);

}  // namespace tillbridge::rdpeusb::till
