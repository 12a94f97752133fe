#include "server/guessing/guess_limit.hpp"

#include <array>
#include <cstdint>

#include <arpa/inet.h>

namespace tillbridge::guessing {

void GuessLimit::forget(Instant now) {
  while (!tries_.empty() && tries_.front().when + window_ <= now) {
    const auto found = by_address_.find(tries_.front().address);
    if (found != by_address_.end() && --found->second == 0) by_address_.erase(found);
    tries_.pop_front();
  }
}

std::optional<Duration> GuessLimit::wait(const std::string& address, Instant now) {
  forget(now);
  if (tries_.size() >= in_total_) return tries_.front().when + window_ - now;
  const auto found = by_address_.find(address);
  if (found == by_address_.end() || found->second < per_address_) return std::nullopt;
  for (const Try& one : tries_) {
    if (one.address == address) return one.when + window_ - now;
  }
  return window_;
}

void GuessLimit::count(const std::string& address, Instant now) {
  forget(now);
  if (tries_.size() >= in_total_) return;  // nobody gets this far before some are over
  tries_.push_back({now, address});
  ++by_address_[address];
}

std::string network_of(const std::string& peer_address) {
  if (peer_address.empty() || peer_address.front() != '[') {
    return peer_address.substr(0, peer_address.rfind(':'));
  }
  std::string address = peer_address.substr(1, peer_address.find(']') - 1);
  in6_addr bytes{};
  if (::inet_pton(AF_INET6, address.c_str(), &bytes) != 1) return address;
  if (IN6_IS_ADDR_V4MAPPED(&bytes)) return address;
  for (std::size_t i = 8; i < 16; ++i) bytes.s6_addr[i] = 0;
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET6, &bytes, text.data(), text.size());
  return text.data();
}

}  // namespace tillbridge::guessing
