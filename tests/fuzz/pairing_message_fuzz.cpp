// Bytes of a stranger at the server's end of pairing, in pieces; of a server at the till's end; and
// a pairing line as somebody pastes it. What is taken must survive being sent again.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "channel/pairing/limits.hpp"
#include "channel/pairing/line.hpp"
#include "channel/pairing/till_conversation.hpp"
#include "server/authority/conversation.hpp"

namespace {

using namespace tillbridge;

void check_messages(ByteView bytes, pairing::Reader reader) {
  const auto decoded = pairing::decode(bytes, reader);
  if (!decoded || !decoded->has_value()) return;
  if ((*decoded)->size > bytes.size()) std::abort();
  const Bytes again = pairing::encode((*decoded)->message);
  const auto second = pairing::decode(again, reader);
  if (!second || !second->has_value()) std::abort();
  if (pairing::encode((*second)->message) != again) std::abort();
}

void check_server(ByteView bytes, std::size_t piece) {
  authority::Conversation conversation{Instant(0)};
  int asked = 0;
  int ended = 0;
  while (!bytes.empty()) {
    const std::size_t size = std::min(piece, bytes.size());
    conversation.receive(bytes.first(size), Instant(1));
    bytes = bytes.subspan(size);
    while (auto event = conversation.poll_event()) {
      if (std::holds_alternative<authority::Conversation::Asked>(*event)) {
        if (++asked > 1) std::abort();
        conversation.grant({}, Instant(1));
      } else if (++ended > 1) {
        std::abort();
      }
    }
  }
  if (ended == 1 && !conversation.over()) std::abort();
  conversation.advance(std::chrono::hours(1));
  if (!conversation.over()) std::abort();
}

void check_till(ByteView bytes) {
  static const pairing::TillKey key = pairing::TillKey::make();
  pairing::TillConversation conversation(key, {"kasse-07", "fuzz", Bytes(15, 1)}, Bytes(32, 2),
                                         std::string(64, '0'));
  conversation.receive(bytes);
  while (auto event = conversation.poll_event()) {
    // Nobody who does not know the token makes a till believe him.
    if (std::holds_alternative<pairing::TillConversation::Paired>(*event)) std::abort();
  }
}

void check_line(ByteView bytes) {
  const auto line =
      pairing::parse_line({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!line) return;
  const auto again = pairing::parse_line(pairing::text(*line));
  if (!again || again->host != line->host || again->token != line->token ||
      again->authority != line->authority || again->port != line->port) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const ByteView bytes = ByteView(data, size).subspan(2);
  switch (ByteView(data, size)[0] % 4) {
    case 0:
      check_messages(bytes, pairing::Reader::server);
      check_server(bytes, std::size_t{1} + ByteView(data, size)[1]);
      break;
    case 1:
      check_messages(bytes, pairing::Reader::till);
      check_till(bytes);
      break;
    default:
      check_line(bytes);
      break;
  }
  return 0;
}
