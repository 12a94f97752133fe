// The server's end of the pairing protocol, for one connection.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/queue.hpp"
#include "channel/pairing/message.hpp"
#include "server/authority/certificates.hpp"

namespace tillbridge::authority {

/// Sans-I/O. After each call: poll_event() until empty, write take_output(), look at
/// next_deadline(); close the connection once over() is true.
///
///   waits for the question --Asked--> waits for its owner --grant()--> waits for Stored --> over
///                                          |  --hold()--> as before, but longer
///                                          +--refuse()--> over
///
/// It decides nothing: whether a token is right is its owner's affair.
class Conversation {
 public:
  /// Once. The request is signed with its key.
  struct Asked {
    pairing::Ask ask;
    Request request;
  };
  /// Once: the till has what it was granted on its disk.
  struct Stored {};
  /// Once, the last event: it broke the protocol, or did nothing in time. It was told.
  struct Broken {
    Error error;
  };
  using Event = std::variant<Asked, Stored, Broken>;

  explicit Conversation(Instant now);

  void receive(ByteView bytes, Instant now);
  void advance(Instant now);
  [[nodiscard]] std::optional<Event> poll_event();

  // The answer to Asked; one of them, but grant() or refuse() may follow hold().
  void grant(pairing::Granted granted, Instant now);
  void hold(const std::string& message, Instant now);
  void refuse(pairing::Refusal why, const std::string& message);

  [[nodiscard]] Bytes take_output() { return std::exchange(output_, {}); }
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] bool over() const noexcept { return state_ == State::over; }

 private:
  enum class State : std::uint8_t { asked_for, deciding, held, granted, over };

  void take(pairing::Message message);
  void broken(pairing::Refusal why, Error error);
  void say(const pairing::Message& message);

  State state_ = State::asked_for;
  Instant deadline_;
  Bytes input_, output_;
  Queue<Event> events_;
};

}  // namespace tillbridge::authority
