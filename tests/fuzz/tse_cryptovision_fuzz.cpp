// Every decoder of the cryptovision protocol, both directions; what is read and encoded again reads
// the same.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tse/cryptovision/command.hpp"
#include "tse/cryptovision/der_lists.hpp"
#include "tse/cryptovision/frame.hpp"

namespace cryptovision = tillbridge::tse::cryptovision;
using tillbridge::Bytes;
using tillbridge::ByteView;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void decode_parameters(ByteView bytes) {
  const auto parameters = cryptovision::parse_parameters(bytes);
  if (!parameters) return;
  const Bytes again = cryptovision::encode(*parameters);
  require(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
  (void)cryptovision::parse_pin_states(*parameters).ok();
  (void)cryptovision::parse_signed_answer(*parameters, true).ok();
  (void)cryptovision::parse_signed_answer(*parameters, false).ok();
  if (const auto request = cryptovision::parse_export_request(*parameters)) {
    const auto second = cryptovision::parse_export_request(cryptovision::parameters_of(*request));
    require(second.ok() && second->client == request->client &&
            second->most_records == request->most_records);
  }
}

/// The input as the data of frames: each begins with its length.
void assemble(ByteView bytes) {
  tillbridge::ByteReader reader(bytes);
  cryptovision::AnswerAssembler assembler(1U << 20U);
  while (reader.remaining() > 0 && !assembler.complete()) {
    const std::size_t length = reader.u8();
    if (!assembler.add(reader.take(std::min(length, reader.remaining())))) return;
    require(assembler.data().size() <= assembler.total_bytes());
  }
  if (assembler.complete()) (void)assembler.parameters().ok();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView bytes = ByteView(data, size).subspan(1);
  switch (*data % 6) {
    case 0:
      if (const auto frame = cryptovision::parse_request(bytes)) {
        const auto again = cryptovision::parse_request(cryptovision::encode(*frame));
        require(again.ok() && again->data == frame->data && again->mode == frame->mode);
        if (const auto command = cryptovision::parse_command(frame->data)) {
          decode_parameters(command->parameters);
        }
      }
      break;
    case 1:
      (void)cryptovision::parse_response(bytes).ok();
      (void)cryptovision::parse_response(bytes, cryptovision::usual_token).ok();
      break;
    case 2:
      if (const auto command = cryptovision::parse_command(bytes)) {
        (void)cryptovision::name_of(static_cast<cryptovision::CommandCode>(command->code));
        decode_parameters(command->parameters);
      }
      break;
    case 3:
      decode_parameters(bytes);
      break;
    case 4:
      assemble(bytes);
      break;
    default:
      if (const auto keys = cryptovision::parse_key_uses(bytes)) {
        require(*cryptovision::parse_key_uses(cryptovision::encode(*keys)) == *keys);
      }
      if (const auto mappings = cryptovision::parse_client_mappings(bytes)) {
        require(*cryptovision::parse_client_mappings(cryptovision::encode(*mappings)) == *mappings);
        require(*cryptovision::parse_client_mappings(cryptovision::encode(*mappings, true)) ==
                *mappings);
      }
      (void)cryptovision::parse_signature_algorithm(bytes).ok();
      break;
  }
  return 0;
}
