// Bytes as a person writes them.
#pragma once

#include <string_view>

#include "channel/bytes/reader.hpp"

namespace tillbridge::tse::cryptovision {

/// "5C54 0000": hexadecimal digits, spaces ignored.
inline Bytes hex(std::string_view text) {
  Bytes bytes;
  unsigned half = 0;
  bool second = false;
  for (const char c : text) {
    if (c == ' ') continue;
    const auto digit = static_cast<unsigned>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    if (second) bytes.push_back(static_cast<std::uint8_t>(half << 4U | digit));
    half = digit;
    second = !second;
  }
  return bytes;
}

}  // namespace tillbridge::tse::cryptovision
