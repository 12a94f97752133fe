#include "tse/diebold/base64.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace tillbridge::tse::diebold {
namespace {

constexpr std::string_view alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char padding = '=';

std::optional<std::uint32_t> digit(char character) {
  const std::size_t at = alphabet.find(character);
  if (at == std::string_view::npos) return std::nullopt;
  return static_cast<std::uint32_t>(at);
}

}  // namespace

std::string to_base64(ByteView data) {
  std::string text;
  text.reserve((data.size() + 2) / 3 * 4);
  for (; !data.empty(); data = data.subspan(std::min<std::size_t>(3, data.size()))) {
    std::uint32_t group = std::uint32_t{data[0]} << 16U;
    if (data.size() > 1) group |= std::uint32_t{data[1]} << 8U;
    if (data.size() > 2) group |= std::uint32_t{data[2]};
    text += alphabet[(group >> 18U) & 63U];
    text += alphabet[(group >> 12U) & 63U];
    text += data.size() > 1 ? alphabet[(group >> 6U) & 63U] : padding;
    text += data.size() > 2 ? alphabet[group & 63U] : padding;
  }
  return text;
}

Result<Bytes> from_base64(std::string_view text) {
  const auto bad = [](const char* why) {
    return fail(ErrorCode::malformed, std::string("not base64: ") + why);
  };
  if (text.size() % 4 != 0) return bad("its length is no multiple of four");
  Bytes data;
  data.reserve(text.size() / 4 * 3);
  for (; !text.empty(); text.remove_prefix(4)) {
    std::size_t digits = 4;
    if (text.size() == 4) {
      while (digits > 2 && text[digits - 1] == padding) --digits;
    }
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const auto value = digit(text[i]);
      if (!value) return bad("a character that is none of its 64");
      group |= *value << (18U - 6U * static_cast<std::uint32_t>(i));
    }
    constexpr std::array<std::uint32_t, 5> unused{0, 0, 0xFFFFU, 0xFFU, 0};
    if ((group & unused.at(digits)) != 0) return bad("bits after its end");
    for (std::size_t i = 0; i + 1 < digits; ++i) {
      data.push_back(static_cast<std::uint8_t>((group >> (16U - 8U * i)) & 0xFFU));
    }
  }
  return data;
}

}  // namespace tillbridge::tse::diebold
