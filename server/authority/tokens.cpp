#include "server/authority/tokens.hpp"

#include <algorithm>

#include "channel/pairing/line.hpp"
#include "channel/pairing/proof.hpp"
#include "server/authority/limits.hpp"

namespace tillbridge::authority {

NewToken make_token(const std::string& till, const std::string& stick, Time now,
                    std::chrono::seconds life) {
  NewToken made;
  made.secret = pairing::random_bytes(pairing::token_bytes);
  made.row.hash = pairing::token_key(made.secret);
  made.row.till = till;
  made.row.stick = stick;
  made.row.created = now;
  made.row.expires = now + life;
  return made;
}

std::string text(Verdict verdict) {
  switch (verdict) {
    case Verdict::good:
      return "the token is right";
    case Verdict::unknown:
      return "the token is not known";
    case Verdict::expired:
      return "the token has run out";
    case Verdict::used:
      return "the token was used already";
    case Verdict::exhausted:
      return "the token was tried wrongly too often";
    case Verdict::wrong:
      return "the proof of the token is wrong";
    case Verdict::other_till:
      return "the token is for another till";
  }
  return {};
}

bool is_guess(Verdict verdict) {
  return verdict == Verdict::unknown || verdict == Verdict::wrong || verdict == Verdict::exhausted;
}

std::optional<store::Token> find_token(const std::vector<store::Token>& tokens,
                                       const pairing::Ask& ask) {
  const auto found = std::find_if(tokens.begin(), tokens.end(), [&](const store::Token& token) {
    return pairing::same(pairing::token_id(token.hash), ask.token_id);
  });
  if (found == tokens.end()) return std::nullopt;
  return *found;
}

Verdict judge(const std::optional<store::Token>& token, const pairing::Ask& ask, ByteView binding,
              Time now) {
  if (!token) return Verdict::unknown;
  if (token->tries >= limits::tries_per_token) return Verdict::exhausted;
  // Before anything else is said of it: only who has the token hears what became of it.
  if (!pairing::same(ask.proof,
                     pairing::proof(token->hash, pairing::Prover::till, binding, ask.request))) {
    return Verdict::wrong;
  }
  if (token->used) return Verdict::used;
  if (now >= token->expires) return Verdict::expired;
  if (!ask.name.empty() && ask.name != token->till) return Verdict::other_till;
  return Verdict::good;
}

}  // namespace tillbridge::authority
