// What people carry from the server to the till: the pairing line, and words to compare.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::pairing {

inline constexpr std::uint16_t default_port = 4711;
inline constexpr std::size_t token_bytes = 15;
/// Of the authority's SHA-256, how much the line has of it.
inline constexpr std::size_t line_fingerprint_bytes = 20;

/// `tb1:HOST:PORT/FINGERPRINT/TOKEN`: where to, whom to expect there, and the token. Without a
/// token, or with HOST[:PORT] only, an administrator has to approve the till.
struct Line {
  std::string host;
  std::uint16_t port = default_port;
  Bytes authority;  ///< beginning of the SHA-256 of the server's authority; empty: not known
  Bytes token;      ///< a secret; empty: none
};
[[nodiscard]] std::string text(const Line& line);
/// Errors are for a person. Case does not matter, nor do blanks around it.
[[nodiscard]] Result<Line> parse_line(std::string_view text);

/// Crockford's base32 in groups of four: no letter looks like a digit.
[[nodiscard]] std::string base32(ByteView bytes);

/// Four words that can be said on the telephone, of the first eight bytes of a digest (at least
/// that long): "lusab-babad ..." in the manner of proquints, whose syllables sound alike in most
/// languages.
[[nodiscard]] std::string words_of(ByteView digest);

[[nodiscard]] std::string hex(ByteView bytes);
/// Nothing if it is none, or longer than `most` bytes.
[[nodiscard]] Result<Bytes> from_hex(std::string_view text, std::size_t most);

}  // namespace tillbridge::pairing
