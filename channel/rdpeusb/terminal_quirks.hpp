// Faults of stock clients that the terminal role tolerates, each under a name for the log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tillbridge::rdpeusb::terminal {

/// Seen in FreeRDP 3.10.3 as Debian ships it (its channels/urbdrc/client; rdpeusb.md 6.1, 6.2).
enum class Quirk : std::uint8_t {
  unmapped_status,  ///< libusb's transfer status as UsbdStatus of a bulk or interrupt transfer
  read_cut_off,   ///< ends every bulk and interrupt read after ten seconds, or with another pipe's
                  ///< reset
  write_cut_off,  ///< the same for writes, which must not be repeated
  echoed_output,  ///< completes TRANSFER_OUT as URB_COMPLETION with the sent data
  surplus_announced,     ///< IOCONTROL_COMPLETION announces four bytes more than were asked for
  failure_as_success,    ///< HResult 0 beside a failing UsbdStatus
  data_with_failure,     ///< a failed control read comes with an old buffer
  silent_request,        ///< no completion for a request that failed or was cancelled
  empty_configuration,   ///< SELECT_CONFIGURATION "succeeds" without interfaces
  irregular_usb_version  ///< Supported_USB_Version is bcdUSB instead of 0x100, 0x110 or 0x200
};
inline constexpr std::size_t quirk_count = 10;

/// What it is, and what it means for the device: one clause for the log.
[[nodiscard]] std::string_view text(Quirk quirk) noexcept;
/// With this fault the device does not work in the session.
[[nodiscard]] bool unusable(Quirk quirk) noexcept;

}  // namespace tillbridge::rdpeusb::terminal
