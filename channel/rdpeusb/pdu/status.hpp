// HRESULT and USBD_STATUS values (rdpeusb.md 2.14; winerror.h and usb.h of the Windows driver kit).
#pragma once

#include <cstdint>
#include <string>

namespace tillbridge::rdpeusb::pdu {

/// HRESULT. Success is 0; Windows' client sets a failing one together with a failing USBD_STATUS.
namespace hresult {
inline constexpr std::uint32_t ok = 0;
inline constexpr std::uint32_t out_of_memory = 0x8007000E;
inline constexpr std::uint32_t general_failure =
    0x8007001F;  ///< what Windows' client sends with any failed URB
inline constexpr std::uint32_t not_supported = 0x80070032;
inline constexpr std::uint32_t invalid_argument = 0x80070057;
inline constexpr std::uint32_t timeout = 0x80070079;  ///< ERROR_SEM_TIMEOUT
inline constexpr std::uint32_t insufficient_buffer =
    0x8007007A;  ///< the one with special size rules (IOCONTROL_COMPLETION)
inline constexpr std::uint32_t aborted = 0x800703E3;  ///< ERROR_OPERATION_ABORTED
inline constexpr std::uint32_t device_not_connected = 0x8007048F;

[[nodiscard]] constexpr bool failed(std::uint32_t value) noexcept {
  return (value & 0x80000000U) != 0;
}
/// "ERROR_GEN_FAILURE (0x8007001F)"; an unknown value as its number alone.
[[nodiscard]] std::string text(std::uint32_t value);
}  // namespace hresult

/// USBD_STATUS. Bit 31 says error: as a signed number everything from 0 up is success for Windows.
namespace usbd_status {
inline constexpr std::uint32_t success = 0x00000000;
inline constexpr std::uint32_t pending = 0x40000000;
inline constexpr std::uint32_t crc = 0xC0000001;
inline constexpr std::uint32_t bit_stuffing = 0xC0000002;
inline constexpr std::uint32_t data_toggle_mismatch = 0xC0000003;
inline constexpr std::uint32_t stall_pid = 0xC0000004;
inline constexpr std::uint32_t device_not_responding = 0xC0000005;
inline constexpr std::uint32_t pid_check_failure = 0xC0000006;
inline constexpr std::uint32_t unexpected_pid = 0xC0000007;
inline constexpr std::uint32_t data_overrun = 0xC0000008;
inline constexpr std::uint32_t data_underrun = 0xC0000009;
inline constexpr std::uint32_t buffer_overrun = 0xC000000C;
inline constexpr std::uint32_t buffer_underrun = 0xC000000D;
inline constexpr std::uint32_t not_accessed = 0xC000000F;
inline constexpr std::uint32_t fifo = 0xC0000010;
inline constexpr std::uint32_t transaction_error = 0xC0000011;
inline constexpr std::uint32_t babble_detected = 0xC0000012;
inline constexpr std::uint32_t data_buffer_error = 0xC0000013;
inline constexpr std::uint32_t endpoint_halted = 0xC0000030;
inline constexpr std::uint32_t no_memory = 0x80000100;
inline constexpr std::uint32_t invalid_urb_function = 0x80000200;
inline constexpr std::uint32_t invalid_parameter = 0x80000300;
inline constexpr std::uint32_t error_busy = 0x80000400;
inline constexpr std::uint32_t request_failed = 0x80000500;
inline constexpr std::uint32_t invalid_pipe_handle = 0x80000600;
inline constexpr std::uint32_t no_bandwidth = 0x80000700;
inline constexpr std::uint32_t internal_hc_error = 0x80000800;
inline constexpr std::uint32_t error_short_transfer = 0x80000900;
inline constexpr std::uint32_t bad_start_frame = 0xC0000A00;
inline constexpr std::uint32_t isoch_request_failed = 0xC0000B00;
inline constexpr std::uint32_t frame_control_owned = 0xC0000C00;
inline constexpr std::uint32_t frame_control_not_owned = 0xC0000D00;
inline constexpr std::uint32_t not_supported = 0xC0000E00;
inline constexpr std::uint32_t invalid_configuration_descriptor = 0xC0000F00;
inline constexpr std::uint32_t insufficient_resources = 0xC0001000;
inline constexpr std::uint32_t set_config_failed = 0xC0002000;
inline constexpr std::uint32_t buffer_too_small = 0xC0003000;
inline constexpr std::uint32_t interface_not_found = 0xC0004000;
inline constexpr std::uint32_t invalid_pipe_flags = 0xC0005000;
inline constexpr std::uint32_t timeout = 0xC0006000;
inline constexpr std::uint32_t device_gone = 0xC0007000;
inline constexpr std::uint32_t status_not_mapped = 0xC0008000;
inline constexpr std::uint32_t canceled = 0xC0010000;
inline constexpr std::uint32_t iso_not_accessed_by_hardware = 0xC0020000;
inline constexpr std::uint32_t iso_td_error = 0xC0030000;
inline constexpr std::uint32_t iso_na_late_usbport = 0xC0040000;
inline constexpr std::uint32_t iso_not_accessed_late = 0xC0050000;

[[nodiscard]] constexpr bool failed(std::uint32_t value) noexcept {
  return (value & 0x80000000U) != 0;
}
/// "STALL_PID (0xC0000004)"; an unknown value as its number alone.
[[nodiscard]] std::string text(std::uint32_t value);
}  // namespace usbd_status

}  // namespace tillbridge::rdpeusb::pdu
