#include "server/enrolment/own_names.hpp"

#include <algorithm>
#include <array>
#include <memory>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

namespace tillbridge::enrolment {
namespace {

struct FreeAddresses {
  void operator()(ifaddrs* list) const { ::freeifaddrs(list); }
};

void add(std::vector<std::string>& names, const std::string& name) {
  if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
}

}  // namespace

std::vector<std::string> own_names() {
  std::vector<std::string> version4;
  std::vector<std::string> version6;
  ifaddrs* found = nullptr;
  if (::getifaddrs(&found) == 0) {
    const std::unique_ptr<ifaddrs, FreeAddresses> list(found);
    for (const ifaddrs* one = found; one != nullptr; one = one->ifa_next) {
      if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_LOOPBACK) != 0) continue;
      std::array<char, INET6_ADDRSTRLEN> text{};
      if (one->ifa_addr->sa_family == AF_INET) {
        const auto* address = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
        ::inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size());
        add(version4, text.data());
      } else if (one->ifa_addr->sa_family == AF_INET6) {
        const auto* address = reinterpret_cast<const sockaddr_in6*>(one->ifa_addr);
        if (IN6_IS_ADDR_LINKLOCAL(&address->sin6_addr)) continue;
        ::inet_ntop(AF_INET6, &address->sin6_addr, text.data(), text.size());
        add(version6, text.data());
      }
    }
  }
  std::vector<std::string> names = std::move(version4);
  for (const std::string& address : version6) add(names, address);
  std::array<char, 256> name{};
  constexpr std::string_view allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
  if (::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0' &&
      std::string_view(name.data()).find_first_not_of(allowed) == std::string_view::npos) {
    add(names, name.data());
  }
  for (const char* loopback : {"localhost", "127.0.0.1", "::1"}) add(names, loopback);
  return names;
}

}  // namespace tillbridge::enrolment
