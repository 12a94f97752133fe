#include <cassert>
#include <utility>

#include "channel/bytes/writer.hpp"
#include "tse/swissbit/protocol.hpp"
#include "tse/swissbit/text.hpp"

namespace tillbridge::tse::swissbit {
namespace {

constexpr std::size_t status_bytes = 2;
constexpr std::size_t client_slot_bytes = 32;  ///< a client id and zeros

Error malformed(const char* what) {
  return fail(ErrorCode::malformed, std::string("answer of the TSE: ") + what);
}

}  // namespace

Bytes encode(const Answer& answer) {
  assert(answer.data.size() <= answer_data_bytes);
  ByteWriter writer(sector_bytes);
  writer.u32be(answer.counter);
  writer.u8(static_cast<std::uint8_t>(answer.state));
  if (answer.state == AnswerState::complete) {
    writer.u16be(static_cast<std::uint16_t>(answer.data.size() + status_bytes));
    writer.bytes(answer.data);
    writer.u16be(number_of(answer.status));
  }
  writer.zeros(sector_bytes - writer.size());
  return writer.finish();
}

Result<Answer> parse_answer(ByteView sector) {
  if (sector.size() != sector_bytes) return malformed("not 512 bytes");
  ByteReader reader(sector);
  Answer answer;
  answer.counter = reader.u32be();
  const std::uint8_t state = reader.u8();
  switch (static_cast<AnswerState>(state)) {
    case AnswerState::none:
    case AnswerState::busy:
    case AnswerState::waits_for_fetch:
      answer.state = static_cast<AnswerState>(state);
      return answer;
    case AnswerState::complete:
      answer.state = AnswerState::complete;
      break;
    default:
      return malformed("an unknown state");
  }
  const std::uint16_t length = reader.u16be();
  if (length < status_bytes) return malformed("too short for a status");
  const ByteView data = reader.take(length - status_bytes);
  answer.data.assign(data.begin(), data.end());
  answer.status = static_cast<CommandStatus>(reader.u16be());
  if (!reader.ok()) return malformed("longer than its block");
  return answer;
}

Bytes encode(const OpenedStep& opened) {
  ByteWriter writer;
  writer.u64be(opened.block);
  return writer.finish();
}

Result<OpenedStep> parse_opened_step(ByteView data) {
  ByteReader reader(data);
  const OpenedStep opened{reader.u64be()};
  if (!reader.ok()) return malformed("no block number");
  return opened;
}

Bytes encode(const ClosedStep& closed) {
  ByteWriter writer;
  writer.u64be(closed.transaction);
  writer.bytes(closed.serial);
  writer.u64be(closed.time_s);
  writer.u64be(closed.counter);
  writer.u64be(closed.signature.size());
  writer.bytes(closed.signature);
  return writer.finish();
}

Result<ClosedStep> parse_closed_step(ByteView data) {
  ByteReader reader(data);
  ClosedStep closed;
  closed.transaction = reader.u64be();
  const ByteView serial = reader.take(closed.serial.size());
  std::copy(serial.begin(), serial.end(), closed.serial.begin());
  closed.time_s = reader.u64be();
  closed.counter = reader.u64be();
  const std::uint64_t signature_bytes = reader.u64be();
  if (!reader.ok() || signature_bytes > reader.remaining()) return malformed("no whole signature");
  const ByteView signature = reader.take(static_cast<std::size_t>(signature_bytes));
  closed.signature.assign(signature.begin(), signature.end());
  return closed;
}

Bytes encode_clients(const std::vector<std::string>& page) {
  assert(page.size() <= clients_per_page);
  ByteWriter writer;
  writer.u8(static_cast<std::uint8_t>(page.size()));
  for (const std::string& client : page) {
    assert(client.size() <= client_id_bytes);
    write_text(writer, client, client_slot_bytes);
  }
  return writer.finish();
}

Result<std::vector<std::string>> parse_clients(ByteView data) {
  ByteReader reader(data);
  const std::uint8_t count = reader.u8();
  if (!reader.ok() || count > reader.remaining() / client_slot_bytes) {
    return malformed("a list of clients that is cut off");
  }
  std::vector<std::string> page;
  for (std::uint8_t i = 0; i < count; ++i) {
    page.push_back(terminated_text(reader.take(client_slot_bytes)));
  }
  return page;
}

Bytes encode_transactions(const std::vector<std::uint64_t>& page) {
  assert(page.size() <= transactions_per_page);
  ByteWriter writer;
  writer.u8(static_cast<std::uint8_t>(page.size()));
  for (const std::uint64_t number : page) writer.u64be(number);
  return writer.finish();
}

Result<std::vector<std::uint64_t>> parse_transactions(ByteView data) {
  ByteReader reader(data);
  const std::uint8_t count = reader.u8();
  if (!reader.ok() || count > reader.remaining() / sizeof(std::uint64_t)) {
    return malformed("a list of transactions that is cut off");
  }
  std::vector<std::uint64_t> page;
  for (std::uint8_t i = 0; i < count; ++i) page.push_back(reader.u64be());
  return page;
}

Bytes encode_certificate_chunk(ByteView chunk) {
  assert(chunk.size() <= certificate_chunk_bytes);
  ByteWriter writer;
  writer.u16be(static_cast<std::uint16_t>(chunk.size()));
  writer.bytes(chunk);
  return writer.finish();
}

Result<Bytes> parse_certificate_chunk(ByteView data) {
  ByteReader reader(data);
  const ByteView chunk = reader.take(reader.u16be());
  if (!reader.ok()) return malformed("a piece of the certificate that is cut off");
  return Bytes(chunk.begin(), chunk.end());
}

}  // namespace tillbridge::tse::swissbit
