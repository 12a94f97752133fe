#include "channel/pairing/till_conversation.hpp"

#include <string_view>
#include <utility>

#include "channel/pairing/limits.hpp"
#include "channel/pairing/line.hpp"

namespace tillbridge::pairing {

TillConversation::TillConversation(const TillKey& key, const Question& question, Bytes binding,
                                   std::string authority)
    : key_fingerprint_(key.fingerprint()),
      binding_(std::move(binding)),
      authority_(std::move(authority)) {
  Ask ask;
  ask.name = question.name;
  ask.software = question.software;
  ask.request = key.request(question.name);
  if (!question.token.empty()) {
    token_key_ = token_key(question.token);
    ask.token_id = token_id(*token_key_);
    ask.proof = proof(*token_key_, Prover::till, binding_, ask.request);
  }
  output_ = encode(ask);
}

void TillConversation::receive(ByteView bytes) {
  if (over_) return;
  input_.insert(input_.end(), bytes.begin(), bytes.end());
  while (!over_) {
    auto decoded = decode(input_, Reader::till);
    if (!decoded) {
      over_ = true;
      events_.push_back(Failed{std::nullopt, decoded.error()});
      return;
    }
    if (!decoded->has_value()) return;
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>((*decoded)->size));
    take(std::move((*decoded)->message));
  }
}

void TillConversation::take(Message message) {
  if (auto* waiting = std::get_if<Pending>(&message)) {
    events_.push_back(Waiting{std::move(waiting->message)});
    return;
  }
  over_ = true;
  if (auto* refused = std::get_if<Refused>(&message)) {
    events_.push_back(Failed{refused->why, fail(ErrorCode::refused, refused->message)});
    return;
  }
  auto& granted = std::get<Granted>(message);
  CertificateFacts facts;
  if (Status good = check(granted, facts); !good) {
    events_.push_back(Failed{std::nullopt, good.error()});
    return;
  }
  events_.push_back(Paired{std::move(granted), std::move(facts)});
}

Status TillConversation::check(const Granted& granted, CertificateFacts& facts) const {
  if (token_key_ &&
      !same(granted.proof, proof(*token_key_, Prover::server, binding_, granted.certificate))) {
    return fail(ErrorCode::refused,
                "the server did not prove that it knows the token; it is not the one that made "
                "this pairing line");
  }
  auto found = facts_of(granted.certificate);
  if (!found) return found.error();
  facts = *found;
  // They go into a configuration file.
  constexpr std::string_view allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_";
  if (granted.name.find_first_not_of(allowed) != std::string::npos ||
      granted.server_name.find_first_not_of(allowed) != std::string::npos) {
    return fail(ErrorCode::malformed, "the server sent a name that is none");
  }
  if (facts.key != key_fingerprint_) {
    return fail(ErrorCode::refused, "the server sent a certificate for another key");
  }
  auto authority = facts_of_pem(granted.authorities);
  if (!authority || hex(authority->fingerprint) != authority_) {
    return fail(ErrorCode::refused, "the server sent another authority than its own");
  }
  return check_issuer(granted.certificate, granted.authorities);
}

void TillConversation::stored() {
  const Bytes message = encode(Stored{});
  output_.insert(output_.end(), message.begin(), message.end());
}

std::optional<TillConversation::Event> TillConversation::poll_event() {
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

}  // namespace tillbridge::pairing
