// URB function codes (usb.h; rdpeusb.md 2.11) and what the protocol says of each.
#pragma once

#include <cstdint>
#include <string>

namespace tillbridge::rdpeusb::pdu {

namespace urb_function {
inline constexpr std::uint16_t select_configuration = 0x00, select_interface = 0x01,
                               abort_pipe = 0x02;
inline constexpr std::uint16_t get_current_frame_number = 0x07, control_transfer = 0x08,
                               bulk_or_interrupt_transfer = 0x09, isochronous_transfer = 0x0A;
inline constexpr std::uint16_t get_descriptor_from_device = 0x0B, set_descriptor_to_device = 0x0C;
inline constexpr std::uint16_t set_feature_to_device = 0x0D, set_feature_to_interface = 0x0E,
                               set_feature_to_endpoint = 0x0F;
inline constexpr std::uint16_t clear_feature_to_device = 0x10, clear_feature_to_interface = 0x11,
                               clear_feature_to_endpoint = 0x12;
inline constexpr std::uint16_t get_status_from_device = 0x13, get_status_from_interface = 0x14,
                               get_status_from_endpoint = 0x15;
inline constexpr std::uint16_t vendor_device = 0x17, vendor_interface = 0x18,
                               vendor_endpoint = 0x19;
inline constexpr std::uint16_t class_device = 0x1A, class_interface = 0x1B, class_endpoint = 0x1C;
inline constexpr std::uint16_t sync_reset_pipe_and_clear_stall = 0x1E, class_other = 0x1F,
                               vendor_other = 0x20;
inline constexpr std::uint16_t get_status_from_other = 0x21, clear_feature_to_other = 0x22,
                               set_feature_to_other = 0x23;
inline constexpr std::uint16_t get_descriptor_from_endpoint = 0x24,
                               set_descriptor_to_endpoint = 0x25;
inline constexpr std::uint16_t get_configuration = 0x26, get_interface = 0x27;
inline constexpr std::uint16_t get_descriptor_from_interface = 0x28,
                               set_descriptor_to_interface = 0x29;
inline constexpr std::uint16_t get_ms_feature_descriptor = 0x2A;
inline constexpr std::uint16_t sync_reset_pipe = 0x30, sync_clear_stall = 0x31,
                               control_transfer_ex = 0x32;
}  // namespace urb_function

/// The TS_URB structure of a function; `none` for one that this protocol does not carry.
enum class UrbBody : std::uint8_t {
  none,
  no_parameters,
  select_configuration,
  select_interface,
  pipe_request,
  control_transfer,
  control_transfer_ex,
  bulk_or_interrupt,
  isochronous,
  descriptor,
  feature,
  status,
  vendor_or_class,
  get_interface,
  os_feature_descriptor
};
[[nodiscard]] UrbBody body_of(std::uint16_t function) noexcept;

/// Which message carries a function.
enum class UrbDirection : std::uint8_t { in, out, by_flag };
[[nodiscard]] UrbDirection direction_of(std::uint16_t function) noexcept;

/// bmRequestType (without direction bit and reserved bits for vendor and class requests) and
/// bRequest of the control request a function stands for. Vendor and class functions have no
/// bRequest of their own (0 here). Only for the bodies descriptor, feature, status,
/// vendor_or_class, get_interface and GET_CONFIGURATION.
struct ControlForm {
  std::uint8_t request_type = 0;
  std::uint8_t request = 0;
  bool operator==(const ControlForm&) const = default;
};
[[nodiscard]] ControlForm control_form_of(std::uint16_t function) noexcept;

/// "BULK_OR_INTERRUPT_TRANSFER (0x0009)"; an unknown one as its number alone.
[[nodiscard]] std::string urb_function_text(std::uint16_t function);

}  // namespace tillbridge::rdpeusb::pdu
