#include "server/http/tries.hpp"

#include <algorithm>
#include <array>

#include <arpa/inet.h>

namespace tillbridge::http {

// Who has one IPv6 address has 2^64 of them.
std::string Tries::key(const std::string& address) {
  std::array<unsigned char, 16> bytes{};
  const std::string plain = address.substr(0, address.find('%'));
  if (::inet_pton(AF_INET6, plain.c_str(), bytes.data()) != 1) return address;
  std::fill(bytes.begin() + 8, bytes.end(), static_cast<unsigned char>(0));
  return std::string(bytes.begin(), bytes.end());
}

void Tries::age(Entry& entry, store::Time now) {
  if (now - entry.since < limits::lockout && now >= entry.since) return;
  entry.wrong = 0;
  entry.since = now;
}

Tries::Entry& Tries::entry(const std::string& key, store::Time now) {
  if (entries_.size() >= limits::addresses_known && !entries_.contains(key)) {
    // Room for the new one: those whose time is over, or else the one that is longest there.
    std::erase_if(entries_, [&](const auto& item) {
      return !item.second.was_right && now - item.second.since >= limits::lockout;
    });
    if (entries_.size() >= limits::addresses_known) {
      entries_.erase(std::min_element(
          entries_.begin(), entries_.end(),
          [](const auto& a, const auto& b) { return a.second.since < b.second.since; }));
    }
  }
  Entry& found = entries_[key];
  age(found, now);
  return found;
}

std::optional<std::chrono::seconds> Tries::wait(const std::string& address, store::Time now) {
  Entry one;  // asking leaves no trace: only a try does, and of those there are few in a minute
  if (const auto found = entries_.find(key(address)); found != entries_.end()) {
    age(found->second, now);
    one = found->second;
  }
  age(all_, now);
  const auto left = [&](const Entry& entry) {
    return std::chrono::duration_cast<std::chrono::seconds>(entry.since + limits::lockout - now) +
           std::chrono::seconds(1);
  };
  if (one.wrong >= limits::wrong_passwords) return left(one);
  if (all_.wrong >= limits::wrong_passwords_all && !one.was_right) return left(all_);
  return std::nullopt;
}

void Tries::tried(const std::string& address, store::Time now) {
  ++entry(key(address), now).wrong;
  age(all_, now);
  ++all_.wrong;
}

void Tries::right(const std::string& address, store::Time now) {
  Entry& one = entry(key(address), now);
  if (one.wrong > 0) --one.wrong;
  if (all_.wrong > 0) --all_.wrong;
  one.was_right = true;
}

}  // namespace tillbridge::http
