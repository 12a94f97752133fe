// Which devices may leave this machine at all: what a till needs, and nothing that could type or
// route for it.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "channel/usb/descriptors.hpp"
#include "server/usb/stick_identity.hpp"

namespace tillbridge::server {

/// The models that the administrator named, applied to the one rule of
/// channel/usb/class_policy.hpp.
class AllowList {
 public:
  AllowList() = default;
  explicit AllowList(std::set<StickPattern::Model> models) : models_(std::move(models)) {}

  /// Why the device is refused and what to do about it; nothing if it may be exported. Hubs and HID
  /// are refused even when named: the one has no use at a till, the other could type there.
  [[nodiscard]] std::optional<std::string> refusal(const usb::DeviceDescription& description) const;

  bool operator==(const AllowList&) const = default;

 private:
  std::set<StickPattern::Model> models_;
};

}  // namespace tillbridge::server
