// Texts inside sectors, for the .cpp files of this room.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::tse::swissbit {

inline void write_text(ByteWriter& writer, std::string_view text) {
  for (const char c : text) writer.u8(static_cast<std::uint8_t>(c));
}

/// In a field of `size` bytes, filled up with zeros.
inline void write_text(ByteWriter& writer, std::string_view text, std::size_t size) {
  text = text.substr(0, size);
  write_text(writer, text);
  writer.zeros(size - text.size());
}

[[nodiscard]] inline std::string text_of_bytes(ByteView bytes) {
  return {bytes.begin(), bytes.end()};
}

/// Up to the first zero.
[[nodiscard]] inline std::string terminated_text(ByteView bytes) {
  const auto end = std::find(bytes.begin(), bytes.end(), std::uint8_t{0});
  return {bytes.begin(), end};
}

[[nodiscard]] inline bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
}

}  // namespace tillbridge::tse::swissbit
