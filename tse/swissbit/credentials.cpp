#include <cassert>

#include <openssl/evp.h>

#include "channel/bytes/writer.hpp"
#include "tse/swissbit/protocol.hpp"
#include "tse/swissbit/text.hpp"

namespace tillbridge::tse::swissbit {
namespace {

/// The last digits of the number, leading zeros included.
std::string last_digits(std::uint64_t number, std::size_t digits) {
  std::string text = std::to_string(number);
  if (text.size() < digits) text.insert(0, digits - text.size(), '0');
  return text.substr(text.size() - digits);
}

}  // namespace

FactoryCredentials factory_credentials(const std::array<std::uint8_t, 32>& serial,
                                       std::string_view seed) {
  ByteWriter input(seed.size() + serial.size());
  write_text(input, seed);
  input.bytes(serial);
  std::array<std::uint8_t, 32> hash{};
  unsigned hash_bytes = 0;
  const ByteView bytes = input.view();
  const int done =
      EVP_Digest(bytes.data(), bytes.size(), hash.data(), &hash_bytes, EVP_sha256(), nullptr);
  assert(done == 1 && hash_bytes == hash.size());
  static_cast<void>(done);

  ByteReader reader(hash);
  FactoryCredentials credentials;
  credentials.puk = last_digits(reader.u64be(), puk_digits);
  credentials.admin_pin = last_digits(reader.u64be(), pin_digits);
  credentials.time_admin_pin = last_digits(reader.u64be(), pin_digits);
  return credentials;
}

}  // namespace tillbridge::tse::swissbit
