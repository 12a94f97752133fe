// Counted UTF-16LE strings and multi-strings of ADD_DEVICE and QUERY_DEVICE_TEXT_RSP (rdpeusb.md
// 0.2, 2.6).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::rdpeusb::pdu {

/// Writes cch (u32, UTF-16 units with the one terminating NUL) and the string. `utf8` must hold no
/// NUL and fit limits::rdpeusb_string_units; invalid UTF-8 becomes U+FFFD.
void encode_string(ByteWriter& out, std::string_view utf8);
/// Writes cch and the multi-string: each with its NUL, one more at the end. No strings at all: cch
/// 0 and no buffer.
void encode_multi_string(ByteWriter& out, const std::vector<std::string>& utf8);

/// Reads what encode_string() wrote. The text ends at the first NUL, whatever follows it within
/// cch: a missing or doubled terminator is a known fault of FreeRDP clients (their issue 6150).
/// Fails the reader if cch is 0, above limits::rdpeusb_string_units or past the end. Unpaired
/// surrogates become U+FFFD.
[[nodiscard]] std::string decode_string(ByteReader& in);
/// As decode_string() for a list; cch 0 is an empty list. Empty strings end the list.
[[nodiscard]] std::vector<std::string> decode_multi_string(ByteReader& in);

}  // namespace tillbridge::rdpeusb::pdu
