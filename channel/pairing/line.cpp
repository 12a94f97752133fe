#include "channel/pairing/line.hpp"

#include <algorithm>
#include <charconv>
#include <memory>

#include "channel/pairing/limits.hpp"

namespace tillbridge::pairing {
namespace {

constexpr std::string_view digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
constexpr std::string_view prefix = "tb1:";
constexpr std::size_t group = 4;

Error mistake(const std::string& what) {
  return fail(ErrorCode::config,
              "the pairing line is wrong: " + what +
                  "; copy it as a whole from the page or from \"tillbridge till add\"");
}

char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

/// What Crockford's alphabet leaves out is read as what it looks like.
std::size_t value_of(char c) {
  c = upper(c);
  if (c == 'O') c = '0';
  if (c == 'I' || c == 'L') c = '1';
  return digits.find(c);
}

Result<Bytes> from_base32(std::string_view text, std::size_t size, const std::string& what) {
  Bytes bytes;
  std::uint32_t gathered = 0;
  unsigned bits = 0;
  for (const char c : text) {
    if (c == '-') continue;
    const std::size_t value = value_of(c);
    if (value == std::string_view::npos) return mistake("its " + what + " has a wrong character");
    gathered = (gathered << 5U) | static_cast<std::uint32_t>(value);
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push_back(static_cast<std::uint8_t>(gathered >> bits));
    gathered &= (1U << bits) - 1U;
  }
  if (bytes.size() != size || bits >= 5 || gathered != 0) {
    return mistake("its " + what + " is " + (bytes.size() < size ? "too short" : "too long"));
  }
  return bytes;
}

Status parse_address(std::string_view text, Line& line) {
  std::string_view host = text;
  std::string_view port;
  if (!text.empty() && text.front() == '[') {
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) return mistake("its address has no closing bracket");
    host = text.substr(1, bracket - 1);
    port = text.substr(bracket + 1);
    if (!port.empty() && port.front() != ':') return mistake("its address is none");
    if (!port.empty()) port.remove_prefix(1);
  } else if (std::count(text.begin(), text.end(), ':') == 1) {
    host = text.substr(0, text.find(':'));
    port = text.substr(text.find(':') + 1);
    if (port.empty()) return mistake("its port is missing");
  }
  constexpr std::string_view allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:%";
  if (host.empty() || host.size() > limits::host_bytes ||
      host.find_first_not_of(allowed) != std::string_view::npos) {
    return mistake("its host is none");
  }
  line.host = host;
  if (port.empty()) return {};
  const char* const end = std::to_address(port.end());
  const auto parsed = std::from_chars(std::to_address(port.begin()), end, line.port);
  if (parsed.ec != std::errc() || parsed.ptr != end || line.port == 0) {
    return mistake("its port is none");
  }
  return {};
}

}  // namespace

std::string base32(ByteView bytes) {
  std::string text;
  std::size_t written = 0;
  const auto put = [&](std::uint32_t value) {
    if (written != 0 && written % group == 0) text += '-';
    text += digits[value & 31U];
    ++written;
  };
  std::uint32_t gathered = 0;
  unsigned bits = 0;
  for (const std::uint8_t byte : bytes) {
    gathered = (gathered << 8U) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      put(gathered >> bits);
      gathered &= (1U << bits) - 1U;
    }
  }
  if (bits > 0) put(gathered << (5U - bits));
  return text;
}

std::string text(const Line& line) {
  const bool ipv6 = line.host.find(':') != std::string::npos;
  std::string result(prefix);
  result += (ipv6 ? "[" + line.host + "]" : line.host) + ":" + std::to_string(line.port);
  if (line.authority.empty()) return result;
  result += "/" + base32(line.authority);
  if (!line.token.empty()) result += "/" + base32(line.token);
  return result;
}

Result<Line> parse_line(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  if (text.size() > limits::line_bytes) return mistake("it is too long");
  const bool prefixed =
      text.size() >= prefix.size() &&
      std::equal(prefix.begin(), prefix.end(), text.begin(),
                 [](char wanted, char got) { return upper(wanted) == upper(got); });
  if (prefixed) text.remove_prefix(prefix.size());
  Line line;
  const std::size_t first = text.find('/');
  if (Status status = parse_address(text.substr(0, first), line); !status) return status.error();
  if (first == std::string_view::npos) return line;
  text.remove_prefix(first + 1);
  const std::size_t second = text.find('/');
  auto authority = from_base32(text.substr(0, second), line_fingerprint_bytes, "fingerprint");
  if (!authority) return authority.error();
  line.authority = std::move(*authority);
  if (second == std::string_view::npos) return line;
  auto token = from_base32(text.substr(second + 1), token_bytes, "token");
  if (!token) return token.error();
  line.token = std::move(*token);
  return line;
}

std::string words_of(ByteView digest) {
  constexpr std::string_view consonants = "bdfghjklmnprstvz";
  constexpr std::string_view vowels = "aiou";
  ByteReader reader(digest);
  std::string words;
  for (int word = 0; word < 4; ++word) {
    const std::uint32_t value = reader.u16be();
    if (word > 0) words += ' ';
    words += consonants[(value >> 12U) & 15U];
    words += vowels[(value >> 10U) & 3U];
    words += consonants[(value >> 6U) & 15U];
    words += vowels[(value >> 4U) & 3U];
    words += consonants[value & 15U];
  }
  return words;
}

std::string hex(ByteView bytes) {
  constexpr std::string_view hex_digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += hex_digits[byte >> 4U];
    text += hex_digits[byte & 15U];
  }
  return text;
}

Result<Bytes> from_hex(std::string_view text, std::size_t most) {
  constexpr std::string_view hex_digits = "0123456789abcdef";
  if (text.size() > 2 * most) {
    return fail(ErrorCode::limit, "it has more than " + std::to_string(most) + " bytes");
  }
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    const std::size_t high = hex_digits.find(text[i]);
    const std::size_t low = hex_digits.find(text[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) break;
    bytes.push_back(static_cast<std::uint8_t>((high << 4U) | low));
  }
  if (bytes.size() * 2 != text.size()) {
    return fail(ErrorCode::malformed, "it is not written in lower-case hexadecimal digits");
  }
  return bytes;
}

}  // namespace tillbridge::pairing
