#include "server/usb/refusals.hpp"

#include <algorithm>

#include "server/usb/limits.hpp"

namespace tillbridge::server {

namespace {

std::string key_of(const std::string& address, const std::string& name) {
  return address.substr(0, address.rfind(':')) + " " + name;
}

}  // namespace

bool Refusals::news(const std::string& address, const std::string& name, const std::string& why,
                    Instant now) {
  const std::string key = key_of(address, name);
  const auto known = last_.find(key);
  if (known != last_.end()) {
    const bool same =
        known->second.why == why && now - known->second.when < limits::refusal_remembered;
    known->second = {why, now};
    return !same;
  }
  if (last_.size() >= limits::refused_peers) {
    last_.erase(std::min_element(last_.begin(), last_.end(), [](const auto& one, const auto& two) {
      return one.second.when < two.second.when;
    }));
  }
  last_.emplace(key, Last{why, now});
  return true;
}

void Refusals::forget(const std::string& address, const std::string& name) {
  last_.erase(key_of(address, name));
}

}  // namespace tillbridge::server
