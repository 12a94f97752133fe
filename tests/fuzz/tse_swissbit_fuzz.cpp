// Every decoder of the Swissbit codec, both directions. What was decoded can be encoded again, and
// then decodes to the same.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tse/swissbit/protocol.hpp"

namespace swissbit = tillbridge::tse::swissbit;
using tillbridge::Bytes;
using tillbridge::ByteView;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void command(ByteView sector) {
  const auto frame = swissbit::parse_frame(sector);
  if (!frame) return;
  const auto parsed = swissbit::parse_command(*frame);
  const auto* known = std::get_if<swissbit::Command>(&parsed);
  if (known == nullptr) return;
  const Bytes block = swissbit::encode(*known);
  const auto again = swissbit::parse_frame(block);
  require(again.has_value() && again->opcode == frame->opcode);
  require(std::equal(again->parameters.begin(), again->parameters.end(), frame->parameters.begin(),
                     frame->parameters.end()));
}

void answer(ByteView sector) {
  const auto parsed = swissbit::parse_answer(sector);
  if (!parsed) return;
  require(!swissbit::text_of(parsed->status).empty());
  const auto again = swissbit::parse_answer(swissbit::encode(*parsed));
  require(again.ok() && again->data == parsed->data && again->status == parsed->status);
}

/// The same, for what has an encode() that takes it back.
template <typename T>
void there_and_back(ByteView data, tillbridge::Result<T> (*parse)(ByteView)) {
  const auto parsed = parse(data);
  if (!parsed) return;
  const Bytes encoded = swissbit::encode(*parsed);
  const auto again = parse(encoded);
  require(again.ok() && swissbit::encode(*again) == encoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(data, size);
  Bytes sector(bytes.begin(), bytes.end());
  sector.resize(swissbit::sector_bytes);
  command(sector);
  answer(sector);
  there_and_back(sector, swissbit::parse_info);
  there_and_back(sector, swissbit::parse_pointers);
  there_and_back(bytes, swissbit::parse_opened_step);
  there_and_back(bytes, swissbit::parse_closed_step);
  static_cast<void>(swissbit::parse_answer(bytes));
  static_cast<void>(swissbit::parse_info(bytes));
  static_cast<void>(swissbit::parse_pointers(bytes));
  static_cast<void>(swissbit::parse_clients(bytes));
  static_cast<void>(swissbit::parse_transactions(bytes));
  static_cast<void>(swissbit::parse_certificate_chunk(bytes));
  return 0;
}
