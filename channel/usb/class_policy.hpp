// Which devices may leave the USB server, and which a terminal server lets in: one rule for both
// ends.
#pragma once

#include <optional>
#include <string>

#include "channel/usb/descriptors.hpp"

namespace tillbridge::usb {

/// Why a device is not passed on.
struct ClassRefusal {
  std::string reason;  ///< "interface 1 is of class 03 (HID: keyboard, mouse)"
  /// An administrator may allow it by naming its VID:PID. Never for hubs and HID: the one has no
  /// use at a till, the other could type there.
  bool naming_helps = false;
};

/// Mass storage (08), CDC serial (02/0A) and smart cards (0B) pass by their class; everything else
/// only if its model is `named` by the administrator. Every interface of every configuration and
/// alternate setting must pass, since a host may choose any of them: a stick with a hidden keyboard
/// is a keyboard (CVE-2020-9332 is a driver that let such a device in).
[[nodiscard]] std::optional<ClassRefusal> class_refusal(const DeviceDescription& device,
                                                        bool named);

}  // namespace tillbridge::usb
