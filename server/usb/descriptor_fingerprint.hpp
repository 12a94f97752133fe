// What a stick says of itself, as one number: a stick that says something else one day was
// exchanged, re-flashed, or is not what it claims to be.
#pragma once

#include <string>

#include "channel/usb/descriptors.hpp"

namespace tillbridge::server {

/// SHA-256 in lower-case hex over device and configuration descriptors and strings; not over the
/// port, the speed or the configuration that is active. A USB 3 stick has other descriptors in a
/// USB 2 port.
[[nodiscard]] std::string descriptor_fingerprint(const usb::DeviceDescription& description);

}  // namespace tillbridge::server
