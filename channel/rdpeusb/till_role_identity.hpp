// What a stick is called in the session: the strings and capabilities of ADD_DEVICE and the device
// texts.
#pragma once

#include <cstdint>
#include <string>

#include "channel/rdpeusb/pdu/sink.hpp"
#include "channel/usb/descriptors.hpp"

namespace tillbridge::rdpeusb::till {

/// What makes a stick the same stick: VID, PID and serial. `by_path`, and always where there is no
/// serial: the port path as well.
[[nodiscard]] std::string identity_of(const usb::DeviceDescription& device, bool by_path);

/// ADD_DEVICE for a stick (rdpeusb.md 2.6). DeviceInstanceId and ContainerId derive from its
/// identity, so Windows recognises it, drive letter and all, in whatever port it is.
/// @param by_path another stick with the same VID, PID and serial is offered already
[[nodiscard]] pdu::AddDevice announcement_of(const usb::DeviceDescription& device,
                                             std::uint32_t usb_device, bool by_path);

/// DeviceTextDescription: never empty, no NUL, at most limits::usb_string_bytes.
[[nodiscard]] std::string description_text(const usb::DeviceDescription& device);
/// DeviceTextLocationInformation in Windows' form, "Port_#0004.Hub_#0001": last port and bus of
/// the port path, 1 and 1 where the path is none. Only ever shown.
[[nodiscard]] std::string location_text(const usb::DeviceDescription& device);

}  // namespace tillbridge::rdpeusb::till
