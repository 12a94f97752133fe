#include "channel/bytes/reader.hpp"

namespace tillbridge {

namespace {

template <typename T>
T little_endian(ByteView bytes) noexcept {
  T value = 0;
  for (std::size_t i = bytes.size(); i > 0; --i)
    value = static_cast<T>((value << 8U) | bytes[i - 1]);
  return value;
}

template <typename T>
T big_endian(ByteView bytes) noexcept {
  T value = 0;
  for (const std::uint8_t byte : bytes) value = static_cast<T>((value << 8U) | byte);
  return value;
}

}  // namespace

std::uint8_t ByteReader::u8() noexcept {
  const ByteView bytes = take(1);
  return bytes.empty() ? std::uint8_t{0} : bytes[0];
}

// An empty view (failed reader) folds to 0.
std::uint16_t ByteReader::u16le() noexcept {
  return little_endian<std::uint32_t>(take(2)) & 0xFFFFU;
}
std::uint32_t ByteReader::u32le() noexcept {
  return little_endian<std::uint32_t>(take(4));
}
std::uint64_t ByteReader::u64le() noexcept {
  return little_endian<std::uint64_t>(take(8));
}
std::uint16_t ByteReader::u16be() noexcept {
  return big_endian<std::uint32_t>(take(2)) & 0xFFFFU;
}
std::uint32_t ByteReader::u32be() noexcept {
  return big_endian<std::uint32_t>(take(4));
}
std::uint64_t ByteReader::u64be() noexcept {
  return big_endian<std::uint64_t>(take(8));
}

ByteView ByteReader::take(std::size_t size) noexcept {
  if (!ok_ || size > remaining()) {
    fail();
    return {};
  }
  const ByteView taken = data_.subspan(position_, size);
  position_ += size;
  return taken;
}

void ByteReader::skip(std::size_t size) noexcept {
  static_cast<void>(take(size));
}

void ByteReader::fail() noexcept {
  ok_ = false;
  position_ = data_.size();
}

}  // namespace tillbridge
