// One-time tokens: made, and judged when somebody comes with one.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "channel/pairing/message.hpp"
#include "server/store/rows.hpp"

namespace tillbridge::authority {

using store::Time;

struct NewToken {
  Bytes secret;  ///< for the till's line; kept nowhere else
  store::Token row;
};
[[nodiscard]] NewToken make_token(const std::string& till, const std::string& stick, Time now,
                                  std::chrono::seconds life);

enum class Verdict : std::uint8_t {
  good,
  unknown,  ///< never made, or forgotten
  expired,
  used,        ///< a replay
  exhausted,   ///< too many wrong proofs
  wrong,       ///< the proof: of another connection, or without the token
  other_till,  ///< it was made for a till of another name
};
[[nodiscard]] std::string text(Verdict verdict);  ///< for the audit: "the token was used already"
/// Whoever comes with such a one is guessing.
[[nodiscard]] bool is_guess(Verdict verdict);

/// The one among `tokens` that `ask` speaks of.
[[nodiscard]] std::optional<store::Token> find_token(const std::vector<store::Token>& tokens,
                                                     const pairing::Ask& ask);
/// `binding` is that of the connection that `ask` came by.
[[nodiscard]] Verdict judge(const std::optional<store::Token>& token, const pairing::Ask& ask,
                            ByteView binding, Time now);

}  // namespace tillbridge::authority
