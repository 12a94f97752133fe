// The till's end of the pairing protocol.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "channel/bytes/queue.hpp"
#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "channel/pairing/message.hpp"
#include "channel/pairing/proof.hpp"
#include "channel/pairing/till_key.hpp"

namespace tillbridge::pairing {

/// Sans-I/O, for one connection. After each call: poll_event() until empty, then write
/// take_output().
class TillConversation {
 public:
  struct Question {
    std::string name, software;
    Bytes token;  ///< empty: without one
  };
  /// Checked: it is for this key, from the authority that it came with, and with a token the server
  /// has proved that it knows it. Write it to the disk, then call stored().
  struct Paired {
    Granted granted;
    CertificateFacts facts;
  };
  struct Waiting {
    std::string message;
  };
  struct Failed {
    std::optional<Refusal> why;  ///< nothing: the server does not keep to the protocol
    Error error;
  };
  using Event = std::variant<Paired, Waiting, Failed>;

  /// `binding`: Peer::binding of the connection; `authority`: Peer::authority (hex), which the
  /// authorities that come with the certificate must contain.
  TillConversation(const TillKey& key, const Question& question, Bytes binding,
                   std::string authority);

  void receive(ByteView bytes);
  void stored();
  [[nodiscard]] std::optional<Event> poll_event();
  [[nodiscard]] Bytes take_output() { return std::exchange(output_, {}); }

 private:
  void take(Message message);
  [[nodiscard]] Status check(const Granted& granted, CertificateFacts& facts) const;

  Digest key_fingerprint_;
  std::optional<Digest> token_key_;
  Bytes binding_;
  std::string authority_;
  Bytes input_, output_;
  Queue<Event> events_;
  bool over_ = false;
};

}  // namespace tillbridge::pairing
