// One line of the log as text, and its place in the chain. FORMAT.md says the same in prose.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "channel/bytes/result.hpp"
#include "server/audit/entry.hpp"

namespace tillbridge::audit {

/// The chain before entry 1: 64 zeros.
[[nodiscard]] const std::string& chain_start();
/// SHA-256 in lower-case hex.
[[nodiscard]] std::string sha256(std::string_view bytes);
[[nodiscard]] bool is_hex(std::string_view text, std::size_t digits);

/// Text that came from anywhere, as it may stand in an entry: valid UTF-8 without control
/// characters, cut at limits::text_bytes, and nothing that looks like a key or a pairing line.
/// Doing it twice changes nothing.
[[nodiscard]] std::string clean(std::string_view text);

/// The one way in which a line is written, without its end-of-line. The entry's texts are cleaned.
[[nodiscard]] std::string write_line(const Line& line);

/// Reads a line (without its end-of-line) that is exactly as write_line() writes it: `malformed`
/// otherwise, `limit` if it is longer than any of ours.
[[nodiscard]] Result<Line> parse_line(std::string_view text);

/// What the chain needs to know of a line; its content may still be anything.
struct Link {
  std::uint64_t n = 0;
  std::string prev{};
  std::string digest{};  ///< of all but `prev`
  /// The chain after this entry.
  [[nodiscard]] std::string hash() const;
};
[[nodiscard]] std::optional<Link> link_of(std::string_view line);
/// The chain after an entry of that digest.
[[nodiscard]] std::string chain(std::string_view prev, std::string_view digest);

/// JSON text of a string, with its quotes.
[[nodiscard]] std::string json_text(std::string_view text);

}  // namespace tillbridge::audit
