#include "tse/evidence/base64.hpp"

#include <algorithm>
#include <cstdint>

namespace tillbridge::tse {
namespace {

constexpr std::string_view digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string base64_of(ByteView data) {
  std::string text;
  text.reserve((data.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < data.size(); at += 3) {
    const ByteView three = data.subspan(at, std::min<std::size_t>(3, data.size() - at));
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) bits = bits << 8U | (i < three.size() ? three[i] : 0U);
    for (std::size_t i = 0; i < 4; ++i) {
      text += i <= three.size() ? digits[bits >> (6 * (3 - i)) & 0x3fU] : '=';
    }
  }
  return text;
}

Result<Bytes> from_base64(std::string_view text) {
  const Error bad = fail(ErrorCode::malformed, "This is not Base64.");
  if (text.size() % 4 != 0) return bad;
  std::size_t padding = 0;
  while (padding < 2 && !text.empty() && text.back() == '=') {
    text.remove_suffix(1);
    ++padding;
  }
  Bytes data;
  data.reserve(text.size() / 4 * 3);
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char c : text) {
    const std::size_t value = digits.find(c);
    if (value == std::string_view::npos) return bad;
    bits = (bits << 6U | static_cast<std::uint32_t>(value)) & 0xfffU;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    data.push_back(static_cast<std::uint8_t>(bits >> count & 0xffU));
  }
  if ((bits & ((1U << count) - 1)) != 0) return bad;
  return data;
}

}  // namespace tillbridge::tse
