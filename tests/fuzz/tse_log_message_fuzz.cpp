// A log message of arbitrary bytes. What is read can be written, and reads the same again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tse/evidence/log_message.hpp"
#include "tse/evidence/tar.hpp"

namespace tse = tillbridge::tse;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = tse::parse_log(tillbridge::ByteView(data, size));
  if (!parsed) {
    require(!parsed.error().message.empty());
    return 0;
  }
  const std::string name = tse::file_name(parsed->message);
  require(!name.empty() && name.size() <= tse::tar_name_bytes);
  // Lengths may have been longer than needed, so the bytes can differ, and a message at the limit
  // can only shrink; what they say may not.
  const tillbridge::Bytes written = tse::encode(parsed->message);
  const auto again = tse::parse_log(written);
  require(again.ok());
  require(tse::encode(again->message) == written);
  require(tse::file_name(again->message) == name);
  return 0;
}
