// The little of DER that TSE evidence is made of: tag, length, value; minimal integers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::tse::der {

inline constexpr std::uint8_t integer = 0x02, octet_string = 0x04, object_identifier = 0x06,
                              utc_time = 0x17, generalized_time = 0x18, sequence = 0x30;
/// [n] IMPLICIT, primitive.
[[nodiscard]] constexpr std::uint8_t context(std::uint8_t number) {
  return static_cast<std::uint8_t>(0x80U + number);
}

struct Element {
  std::uint8_t tag = 0;
  ByteView content;
  std::size_t start = 0;    ///< where its tag stands in what the reader reads
  bool indefinite = false;  ///< length 80: the content is to be read piece by piece
};

/// Tag and length, and the content unless the length is indefinite (constructed elements only).
/// Lengths of up to four bytes; a tag of more than one byte, or a length past the end, fails the
/// reader.
[[nodiscard]] Element read(ByteReader& reader);
/// A non-negative INTEGER's content of at most 64 bits.
[[nodiscard]] std::optional<std::uint64_t> unsigned_number(ByteView content);

void write(ByteWriter& out, std::uint8_t tag, ByteView content);
void write(ByteWriter& out, std::uint8_t tag, std::string_view content);
/// Minimal, with a leading 00 where the top bit is set.
void write_number(ByteWriter& out, std::uint8_t tag, std::uint64_t value);

}  // namespace tillbridge::tse::der
