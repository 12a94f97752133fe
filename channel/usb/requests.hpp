// Standard and class requests (USB 2.0, 9.4; Bulk-Only Transport 3.1, 3.2): building and
// recognising them. The ends recognise the ones a host stack must carry out with its own call
// instead of as a raw control transfer.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "channel/usb/transfer.hpp"

namespace tillbridge::usb {

/// bRequest of the standard requests.
namespace request {
inline constexpr std::uint8_t get_status = 0, clear_feature = 1, set_feature = 3, set_address = 5,
                              get_descriptor = 6, set_descriptor = 7, get_configuration = 8,
                              set_configuration = 9, get_interface = 10, set_interface = 11,
                              synch_frame = 12;
}

/// wValue of CLEAR_FEATURE(ENDPOINT_HALT).
inline constexpr std::uint16_t feature_endpoint_halt = 0;
/// wValue of a hub's SET_FEATURE(PORT_RESET): how Linux' USB/IP carries a port reset (bmRequestType
/// 0x23).
inline constexpr std::uint16_t feature_port_reset = 4;

[[nodiscard]] SetupPacket get_descriptor(std::uint8_t type, std::uint8_t index,
                                         std::uint16_t language, std::uint16_t length);
[[nodiscard]] SetupPacket set_configuration(std::uint8_t value);
[[nodiscard]] SetupPacket set_interface(std::uint8_t interface_number,
                                        std::uint8_t alternate_setting);
[[nodiscard]] SetupPacket clear_halt(std::uint8_t endpoint_address);
[[nodiscard]] SetupPacket port_reset();
/// Bulk-Only Mass Storage Reset (BOT 3.1).
[[nodiscard]] SetupPacket bulk_only_reset(std::uint8_t interface_number);

struct SetConfiguration {
  std::uint8_t value;
};
struct SetInterface {
  std::uint8_t interface_number, alternate_setting;
};
struct ClearHalt {
  std::uint8_t endpoint;
};
struct PortReset {};
/// A control request that changes the host's own state about the device.
using HostRequest = std::variant<SetConfiguration, SetInterface, ClearHalt, PortReset>;

/// The host request that a control transfer really is, or nothing for one that simply goes to the
/// device.
[[nodiscard]] std::optional<HostRequest> as_host_request(const SetupPacket& setup);

/// An OUT or IN control transfer with its endpoint, length and data filled in consistently: for OUT
/// wLength becomes data.size() (at most 65535 bytes of it).
[[nodiscard]] Transfer control_transfer(TransferId id, const SetupPacket& setup, Bytes data = {});

}  // namespace tillbridge::usb
