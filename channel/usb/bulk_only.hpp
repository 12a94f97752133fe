// How a stick that speaks Bulk-Only Transport is recognised.
#pragma once

#include "channel/usb/descriptors.hpp"

namespace tillbridge::usb {

/// bInterfaceSubClass of the SCSI transparent command set, and bInterfaceProtocol: USB Mass Storage
/// Class, Bulk-Only Transport 1.0, 4.3.
inline constexpr std::uint8_t scsi_subclass = 0x06, bulk_only_protocol = 0x50;

/// What usbstor and usb-storage drive.
[[nodiscard]] inline bool is_bulk_only(const InterfaceDescriptor& interface) noexcept {
  return interface.interface_class == class_code::mass_storage &&
         interface.interface_subclass == scsi_subclass &&
         interface.interface_protocol == bulk_only_protocol;
}

}  // namespace tillbridge::usb
