#include "channel/rdpeusb/pdu/strings.hpp"

#include <cstdint>

#include "channel/bytes/limits.hpp"

namespace tillbridge::rdpeusb::pdu {

namespace {

constexpr char32_t replacement = 0xFFFD;

/// Reads one code point and moves `position` behind it; anything that is no UTF-8 costs one byte
/// and is U+FFFD.
char32_t next_code_point(std::string_view utf8, std::size_t& position) {
  const auto byte = [&](std::size_t at) -> std::uint32_t {
    return at < utf8.size() ? static_cast<std::uint8_t>(utf8[at]) : 0U;
  };
  const std::uint32_t lead = byte(position++);
  if (lead < 0x80) return lead;
  std::size_t tail = 0;
  char32_t point = 0;
  char32_t smallest = 0;
  if ((lead & 0xE0U) == 0xC0U) {
    tail = 1, point = lead & 0x1FU, smallest = 0x80;
  } else if ((lead & 0xF0U) == 0xE0U) {
    tail = 2, point = lead & 0x0FU, smallest = 0x800;
  } else if ((lead & 0xF8U) == 0xF0U) {
    tail = 3, point = lead & 0x07U, smallest = 0x10000;
  } else {
    return replacement;
  }
  for (std::size_t i = 0; i < tail; ++i) {
    if ((byte(position + i) & 0xC0U) != 0x80U) return replacement;
    point = (point << 6U) | (byte(position + i) & 0x3FU);
  }
  if (point < smallest || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000))
    return replacement;
  position += tail;
  return point;
}

/// UTF-16 units up to the first NUL, at most `limit` of them.
std::u16string to_utf16(std::string_view utf8, std::size_t limit) {
  std::u16string units;
  for (std::size_t position = 0; position < utf8.size();) {
    const char32_t point = next_code_point(utf8, position);
    if (point == 0 || units.size() + (point > 0xFFFF ? 2 : 1) > limit) break;
    if (point > 0xFFFF) {
      units.push_back(static_cast<char16_t>(0xD800 + ((point - 0x10000) >> 10U)));
      units.push_back(static_cast<char16_t>(0xDC00 + ((point - 0x10000) & 0x3FFU)));
    } else {
      units.push_back(static_cast<char16_t>(point));
    }
  }
  return units;
}

void append_utf8(std::string& text, char32_t point) {
  const auto put = [&text](char32_t byte) {
    text.push_back(static_cast<char>(static_cast<std::uint8_t>(byte)));
  };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xC0U | (point >> 6U)), put(0x80U | (point & 0x3FU));
  } else if (point < 0x10000) {
    put(0xE0U | (point >> 12U)), put(0x80U | ((point >> 6U) & 0x3FU)), put(0x80U | (point & 0x3FU));
  } else {
    put(0xF0U | (point >> 18U)), put(0x80U | ((point >> 12U) & 0x3FU));
    put(0x80U | ((point >> 6U) & 0x3FU)), put(0x80U | (point & 0x3FU));
  }
}

std::string to_utf8(const std::u16string& units) {
  std::string text;
  for (std::size_t i = 0; i < units.size(); ++i) {
    const char32_t unit = units[i];
    const bool high = unit >= 0xD800 && unit < 0xDC00;
    const bool low = unit >= 0xDC00 && unit < 0xE000;
    if (high && i + 1 < units.size() && units[i + 1] >= 0xDC00 && units[i + 1] < 0xE000) {
      append_utf8(text, 0x10000 + ((unit - 0xD800) << 10U) + (units[++i] - char32_t{0xDC00}));
    } else {
      append_utf8(text, high || low ? replacement : unit);
    }
  }
  return text;
}

/// The `count` units that cch announced; nothing, and a failed reader, if they are not there or
/// above the limit.
std::u16string take_units(ByteReader& in, std::uint32_t count) {
  if (count > limits::rdpeusb_string_units || in.remaining() < std::size_t{count} * 2) {
    in.fail();
    return {};
  }
  std::u16string units;
  units.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) units.push_back(static_cast<char16_t>(in.u16le()));
  return units;
}

}  // namespace

void encode_string(ByteWriter& out, std::string_view utf8) {
  const std::u16string units = to_utf16(utf8, limits::rdpeusb_string_units - 1);
  out.u32le(static_cast<std::uint32_t>(units.size() + 1));
  for (const char16_t unit : units) out.u16le(unit);
  out.u16le(0);
}

void encode_multi_string(ByteWriter& out, const std::vector<std::string>& utf8) {
  const std::size_t cch_position = out.size();
  out.u32le(0);
  std::size_t room = limits::rdpeusb_string_units - 1;  // for the NUL at the end of all
  bool any = false;
  for (const std::string& text : utf8) {
    if (room < 2) break;
    const std::u16string units = to_utf16(text, room - 1);
    if (units.empty()) continue;  // would read as the end of the list
    for (const char16_t unit : units) out.u16le(unit);
    out.u16le(0);
    room -= units.size() + 1;
    any = true;
  }
  if (!any) return;
  out.u16le(0);
  out.patch_u32le(cch_position, static_cast<std::uint32_t>((out.size() - cch_position - 4) / 2));
}

std::string decode_string(ByteReader& in) {
  const std::uint32_t count = in.u32le();
  if (count == 0) {
    in.fail();
    return {};
  }
  std::u16string units = take_units(in, count);
  const std::size_t end = units.find(u'\0');
  if (end != std::u16string::npos) units.resize(end);
  if (units.size() >= limits::rdpeusb_string_units) {
    in.fail();
    return {};
  }
  return to_utf8(units);
}

std::vector<std::string> decode_multi_string(ByteReader& in) {
  const std::u16string units = take_units(in, in.u32le());
  std::vector<std::string> list;
  std::size_t canonical_units = 1;
  for (std::size_t start = 0; start < units.size();) {
    std::size_t end = units.find(u'\0', start);
    if (end == std::u16string::npos) end = units.size();
    if (end == start) break;
    list.push_back(to_utf8(units.substr(start, end - start)));
    canonical_units += end - start + 1;
    start = end + 1;
  }
  if (canonical_units > limits::rdpeusb_string_units) {
    in.fail();
    return {};
  }
  return list;
}

}  // namespace tillbridge::rdpeusb::pdu
