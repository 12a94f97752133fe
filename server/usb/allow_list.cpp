#include "server/usb/allow_list.hpp"

#include "channel/usb/class_policy.hpp"

namespace tillbridge::server {

std::optional<std::string> AllowList::refusal(const usb::DeviceDescription& description) const {
  const StickPattern::Model model{description.device.vendor_id, description.device.product_id};
  const std::optional<usb::ClassRefusal> refused =
      usb::class_refusal(description, models_.contains(model));
  if (!refused) return std::nullopt;
  if (description.device.device_class == usb::class_code::hub) {
    return refused->reason + "; nothing to do, the sticks in it are seen by themselves";
  }
  if (!refused->naming_helps) {
    return refused->reason +
           ", which no till may be given; nothing to do unless it was meant to be a stick";
  }
  const std::string model_text =
      StickIdentity{model.vendor_id, model.product_id, "", ""}.text().substr(0, 9);
  return refused->reason +
         ", which is not allowed by itself; if this device is meant for a till, add [[allow]] "
         "device = \"" +
         model_text + "\" to the configuration and reload";
}

}  // namespace tillbridge::server
