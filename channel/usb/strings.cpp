// String descriptors (USB 2.0, 9.6.7): UTF-16LE on the wire, UTF-8 here.
#include <algorithm>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "channel/usb/descriptors.hpp"

namespace tillbridge::usb {

namespace {

constexpr std::size_t header_size = 1 /* bLength */ + 1 /* bDescriptorType */;
/// bLength is a u8 and the text comes in units of two bytes.
constexpr std::size_t units_max = (255 - header_size) / 2;
constexpr std::uint32_t replacement = 0xFFFD;

bool is_high_surrogate(std::uint32_t unit) {
  return unit >= 0xD800 && unit <= 0xDBFF;
}
bool is_low_surrogate(std::uint32_t unit) {
  return unit >= 0xDC00 && unit <= 0xDFFF;
}

void append_utf8(std::string& text, std::uint32_t code_point) {
  const auto put = [&](std::uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0U | (code_point >> 6U));
    put(0x80U | (code_point & 0x3FU));
  } else if (code_point < 0x10000) {
    put(0xE0U | (code_point >> 12U));
    put(0x80U | ((code_point >> 6U) & 0x3FU));
    put(0x80U | (code_point & 0x3FU));
  } else {
    put(0xF0U | (code_point >> 18U));
    put(0x80U | ((code_point >> 12U) & 0x3FU));
    put(0x80U | ((code_point >> 6U) & 0x3FU));
    put(0x80U | (code_point & 0x3FU));
  }
}

/// The next code point; a malformed sequence yields one U+FFFD per byte that cannot be used.
std::uint32_t next_code_point(std::string_view text, std::size_t& position) {
  const auto byte_at = [&](std::size_t at) {
    return at < text.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(text[at])) : 0U;
  };
  const std::uint32_t lead = byte_at(position++);
  if (lead < 0x80) return lead;
  std::size_t more = 0;
  std::uint32_t smallest = 0;
  std::uint32_t code_point = 0;
  if ((lead & 0xE0U) == 0xC0U) {
    more = 1;
    smallest = 0x80;
    code_point = lead & 0x1FU;
  } else if ((lead & 0xF0U) == 0xE0U) {
    more = 2;
    smallest = 0x800;
    code_point = lead & 0x0FU;
  } else if ((lead & 0xF8U) == 0xF0U) {
    more = 3;
    smallest = 0x10000;
    code_point = lead & 0x07U;
  } else {
    return replacement;
  }
  for (std::size_t i = 0; i < more; ++i) {
    const std::uint32_t byte = byte_at(position + i);
    if ((byte & 0xC0U) != 0x80U) return replacement;
    code_point = (code_point << 6U) | (byte & 0x3FU);
  }
  if (code_point < smallest || code_point > 0x10FFFF || is_high_surrogate(code_point) ||
      is_low_surrogate(code_point)) {
    return replacement;
  }
  position += more;
  return code_point;
}

}  // namespace

Result<std::string> parse_string_descriptor(ByteView bytes) {
  ByteReader reader(bytes);
  const std::uint8_t length = reader.u8();
  const std::uint8_t type = reader.u8();
  if (!reader.ok() || length < header_size || length > bytes.size() ||
      type != descriptor_type::string) {
    return fail(ErrorCode::malformed, "string descriptor: length " + std::to_string(length) +
                                          ", type " + std::to_string(type) + ", present " +
                                          std::to_string(bytes.size()));
  }
  // An odd last byte is half a character; devices that send one mean the text before it.
  ByteReader units(reader.take((length - header_size) / 2 * 2));
  std::string text;
  std::uint32_t pending = 0;  // a high surrogate that waits for its partner
  while (units.remaining() > 0) {
    const std::uint32_t unit = units.u16le();
    if (pending != 0 && is_low_surrogate(unit)) {
      append_utf8(text, 0x10000U + ((pending - 0xD800U) << 10U) + (unit - 0xDC00U));
      pending = 0;
      continue;
    }
    if (pending != 0) append_utf8(text, replacement);
    pending = is_high_surrogate(unit) ? unit : 0;
    if (pending == 0) append_utf8(text, is_low_surrogate(unit) ? replacement : unit);
  }
  if (pending != 0) append_utf8(text, replacement);
  return text;
}

Bytes encode_string_descriptor(std::string_view utf8) {
  std::vector<std::uint16_t> units;
  std::size_t position = 0;
  while (position < utf8.size()) {
    const std::uint32_t code_point = next_code_point(utf8, position);
    const std::size_t needed = code_point < 0x10000 ? 1 : 2;
    if (units.size() + needed > units_max) break;
    if (needed == 1) {
      units.push_back(static_cast<std::uint16_t>(code_point));
    } else {
      units.push_back(static_cast<std::uint16_t>(0xD800U + ((code_point - 0x10000U) >> 10U)));
      units.push_back(static_cast<std::uint16_t>(0xDC00U + ((code_point - 0x10000U) & 0x3FFU)));
    }
  }
  ByteWriter writer(header_size + 2 * units.size());
  writer.u8(static_cast<std::uint8_t>(header_size + 2 * units.size()));
  writer.u8(descriptor_type::string);
  for (const std::uint16_t unit : units) writer.u16le(unit);
  return writer.finish();
}

}  // namespace tillbridge::usb
