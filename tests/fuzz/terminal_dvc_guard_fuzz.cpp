// The dynamic-channel guard against any client. The input is a list of chunks: one byte of flags,
// one of how much the announced size differs, two of size, then the data. What the guard lets
// through is read again the way FreeRDP's server does, without its own checks: no length may wrap,
// no announcement may be above the limit.
#include <cstdint>
#include <cstdlib>

#include "channel/bytes/limits.hpp"
#include "server/terminal/rdp/dvc_guard.hpp"

namespace {

using namespace tillbridge;
using terminal::DvcGuard;

void require(bool condition) {
  if (!condition) std::abort();
}

/// Takes `size` off the bytes that FreeRDP believes to be left.
void take(std::size_t& left, std::size_t size) {
  require(left >= size);
  left -= size;
}

std::uint32_t variable_uint(ByteReader& reader, std::size_t& left, unsigned code) {
  require(code < 3);
  take(left, std::size_t{1} << code);
  return code == 0 ? reader.u8() : code == 1 ? reader.u16le() : reader.u32le();
}

void read_like_freerdp(ByteView pdu) {
  ByteReader reader(pdu);
  std::size_t left = pdu.size();
  take(left, 1);
  const unsigned header = reader.u8();
  const unsigned command = header >> 4U;
  if (command == 5) return take(left, 3);
  variable_uint(reader, left, header & 3U);
  if (command == 1) return take(left, 4);
  if (command == 2) {
    const std::uint32_t total = variable_uint(reader, left, (header >> 2U) & 3U);
    require(total <= limits::rdpeusb_message_bytes);
    require(left <= total);
    require(left < total || total == 0);  // a complete one would never be delivered
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(ByteView(data, size));
  DvcGuard guard;
  while (input.remaining() > 0) {
    const std::uint32_t flags = input.u8() & 3U;
    const auto difference = static_cast<std::int8_t>(input.u8());
    const std::size_t wanted = input.u16le();
    const ByteView chunk = input.take(wanted < input.remaining() ? wanted : input.remaining());
    const auto total =
        static_cast<std::size_t>(static_cast<std::int64_t>(chunk.size()) + difference);
    const auto result = guard.chunk(chunk, flags, total);
    if (!result) break;  // the session ends
    if (result.value()) read_like_freerdp(*result.value());
  }
  return 0;
}
