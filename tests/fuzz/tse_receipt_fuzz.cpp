// A receipt's code of arbitrary text. What is read can be written, and reads the same again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "channel/bytes/limits.hpp"
#include "tse/evidence/receipt.hpp"

namespace tse = tillbridge::tse;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tillbridge::ByteView bytes(data, size);
  const auto receipt = tse::parse_qr_text(std::string(bytes.begin(), bytes.end()));
  if (!receipt) {
    require(!receipt.error().message.empty());
    return 0;
  }
  const std::string text = tse::qr_text(*receipt);
  // Missing milliseconds are written, so a text at the limit may grow past it.
  if (text.size() <= tillbridge::limits::tse_receipt_text_bytes) {
    const auto again = tse::parse_qr_text(text);
    require(again.ok() && tse::qr_text(*again) == text);
  }
  if (receipt->process_data.size() < 2000) (void)tse::check_receipt(*receipt);
  return 0;
}
