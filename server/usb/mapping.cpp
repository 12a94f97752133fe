#include "server/usb/mapping.hpp"

namespace tillbridge::server {

std::string_view text(ResetPolicy policy) {
  switch (policy) {
    case ResetPolicy::soften:
      return "soften";
    case ResetPolicy::pass:
      return "pass";
    case ResetPolicy::refuse:
      break;
  }
  return "refuse";
}

bool Mapping::names(const TillIdentity& till_identity) const {
  if (till_identity.kind == TillIdentity::Kind::certificate) {
    return till == till_identity.name && till.rfind(usbip_prefix, 0) != 0;
  }
  if (till.rfind(usbip_prefix, 0) != 0) return false;
  const std::string_view address = std::string_view(till).substr(usbip_prefix.size());
  return address == "*" || address == till_identity.name;
}

bool Mapping::allows(const TillIdentity& till_identity) const {
  return names(till_identity) && (fingerprint.empty() || fingerprint == till_identity.fingerprint);
}

bool Mapping::same_till(const Mapping& other) const {
  return till == other.till && fingerprint == other.fingerprint;
}

}  // namespace tillbridge::server
