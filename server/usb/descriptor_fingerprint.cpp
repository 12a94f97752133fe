#include "server/usb/descriptor_fingerprint.hpp"

#include <array>
#include <cstdint>
#include <stdexcept>

#include <openssl/evp.h>

#include "channel/bytes/writer.hpp"

namespace tillbridge::server {

std::string descriptor_fingerprint(const usb::DeviceDescription& description) {
  ByteWriter all;
  // Each part with its length, so that no two sticks have the same bytes by different parts.
  const auto part = [&all](ByteView bytes) {
    all.u32be(static_cast<std::uint32_t>(bytes.size()));
    all.bytes(bytes);
  };
  part(usb::encode(description.device));
  for (const usb::Configuration& configuration : description.configurations) {
    part(configuration.raw);
  }
  for (const std::string* text :
       {&description.manufacturer, &description.product, &description.serial}) {
    part(Bytes(text->begin(), text->end()));
  }
  const Bytes bytes = all.finish();
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("SHA-256 is not available");
  }
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  for (unsigned index = 0; index < size; ++index) {
    text += digits[digest.at(index) >> 4U];
    text += digits[digest.at(index) & 0xFU];
  }
  return text;
}

}  // namespace tillbridge::server
