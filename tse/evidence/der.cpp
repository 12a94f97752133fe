#include "tse/evidence/der.hpp"

#include <array>

namespace tillbridge::tse::der {

Element read(ByteReader& reader) {
  Element element;
  element.start = reader.position();
  element.tag = reader.u8();
  if ((element.tag & 0x1fU) == 0x1fU) reader.fail();
  const std::uint8_t first = reader.u8();
  std::size_t length = first;
  if (first == 0x80) {
    element.indefinite = true;
    if ((element.tag & 0x20U) == 0) reader.fail();
    return element;
  }
  if (first > 0x80) {
    const std::size_t count = first & 0x7fU;
    if (count > 4) reader.fail();
    length = 0;
    for (std::size_t i = 0; i < count && reader.ok(); ++i) length = length << 8U | reader.u8();
  }
  element.content = reader.take(length);
  return element;
}

std::optional<std::uint64_t> unsigned_number(ByteView content) {
  if (content.empty() || (content.front() & 0x80U) != 0) return std::nullopt;
  if (content.front() == 0 && content.size() > 1) {
    content = content.subspan(1);
    if ((content.front() & 0x80U) == 0) return std::nullopt;  // longer than needed: not DER
  }
  if (content.size() > sizeof(std::uint64_t)) return std::nullopt;
  std::uint64_t value = 0;
  for (const std::uint8_t byte : content) value = value << 8U | byte;
  return value;
}

void write(ByteWriter& out, std::uint8_t tag, ByteView content) {
  out.u8(tag);
  const std::size_t length = content.size();
  if (length < 0x80) {
    out.u8(static_cast<std::uint8_t>(length));
  } else {
    unsigned count = 1;
    while (count < 4 && length >> (8 * count) != 0) ++count;
    out.u8(static_cast<std::uint8_t>(0x80U | count));
    for (unsigned i = count; i > 0; --i) {
      out.u8(static_cast<std::uint8_t>(length >> (8 * (i - 1)) & 0xffU));
    }
  }
  out.bytes(content);
}

void write(ByteWriter& out, std::uint8_t tag, std::string_view content) {
  write(out, tag, ByteView(Bytes(content.begin(), content.end())));
}

void write_number(ByteWriter& out, std::uint8_t tag, std::uint64_t value) {
  std::array<std::uint8_t, 9> bytes{};  // a leading 00 and 64 bits
  for (std::size_t i = bytes.size(); i > 1; --i) {
    bytes.at(i - 1) = static_cast<std::uint8_t>(value & 0xffU);
    value >>= 8U;
  }
  ByteView content = bytes;
  while (content.size() > 1 && content[0] == 0 && (content[1] & 0x80U) == 0) {
    content = content.subspan(1);
  }
  write(out, tag, content);
}

}  // namespace tillbridge::tse::der
