// A control message as any peer may send it: what is taken must survive being sent again.

#include <cstdint>
#include <cstdlib>

#include "channel/bytes/limits.hpp"
#include "channel/link/control_message.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tillbridge;
  const auto message = link::decode_control_message(ByteView(data, size));
  if (!message) return 0;
  const Bytes again = link::encode(*message);
  if (again.size() > limits::link_control_message_bytes) std::abort();
  const auto second = link::decode_control_message(again);
  if (!second || second->index() != message->index()) std::abort();
  if (link::encode(*second) != again) std::abort();
  return 0;
}
