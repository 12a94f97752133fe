#include "server/authority/conversation.hpp"

#include <utility>

#include "server/authority/limits.hpp"

namespace tillbridge::authority {

Conversation::Conversation(Instant now) : deadline_(now + limits::ask_within) {}

void Conversation::receive(ByteView bytes, Instant now) {
  if (over()) return;
  input_.insert(input_.end(), bytes.begin(), bytes.end());
  while (!over()) {
    auto decoded = pairing::decode(input_, pairing::Reader::server);
    if (!decoded) return broken(pairing::Refusal::malformed, decoded.error());
    if (!decoded->has_value()) break;
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>((*decoded)->size));
    take(std::move((*decoded)->message));
  }
  advance(now);
}

void Conversation::take(pairing::Message message) {
  if (std::holds_alternative<pairing::Stored>(message)) {
    if (state_ != State::granted) {
      return broken(pairing::Refusal::malformed,
                    fail(ErrorCode::protocol, "it has stored what it was never given"));
    }
    state_ = State::over;
    events_.push_back(Stored{});
    return;
  }
  if (state_ != State::asked_for) {
    return broken(pairing::Refusal::malformed,
                  fail(ErrorCode::protocol, "it asked a second time on one connection"));
  }
  auto& ask = std::get<pairing::Ask>(message);
  auto request = parse_request(ask.request);
  if (!request) return broken(pairing::Refusal::not_allowed, request.error());
  state_ = State::deciding;
  events_.push_back(Asked{std::move(ask), std::move(*request)});
}

void Conversation::advance(Instant now) {
  if (over() || state_ == State::deciding || now < deadline_) return;
  switch (state_) {
    case State::asked_for:
      return broken(pairing::Refusal::malformed,
                    fail(ErrorCode::unavailable, "it did not ask for anything in time"));
    case State::held:
      return broken(pairing::Refusal::limit,
                    fail(ErrorCode::unavailable, "nobody has approved this till yet; ask again"));
    default:
      return broken(pairing::Refusal::malformed,
                    fail(ErrorCode::unavailable, "it did not say that it stored its certificate"));
  }
}

std::optional<Conversation::Event> Conversation::poll_event() {
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void Conversation::grant(pairing::Granted granted, Instant now) {
  if (state_ != State::deciding && state_ != State::held) return;
  say(std::move(granted));
  state_ = State::granted;
  deadline_ = now + limits::store_within;
}

void Conversation::hold(const std::string& message, Instant now) {
  if (state_ != State::deciding) return;
  say(pairing::Pending{message});
  state_ = State::held;
  deadline_ = now + limits::pending_connection;
}

void Conversation::refuse(pairing::Refusal why, const std::string& message) {
  if (over()) return;
  say(pairing::Refused{why, message});
  state_ = State::over;
}

std::optional<Instant> Conversation::next_deadline() const {
  if (over() || state_ == State::deciding) return std::nullopt;
  return deadline_;
}

void Conversation::broken(pairing::Refusal why, Error error) {
  refuse(why, error.message);
  events_.push_back(Broken{std::move(error)});
}

void Conversation::say(const pairing::Message& message) {
  const Bytes bytes = pairing::encode(message);
  output_.insert(output_.end(), bytes.begin(), bytes.end());
}

}  // namespace tillbridge::authority
