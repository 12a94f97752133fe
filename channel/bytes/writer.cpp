#include "channel/bytes/writer.hpp"

#include <cassert>

namespace tillbridge {

void ByteWriter::put(std::size_t position, std::uint64_t value, std::size_t size, bool big_endian) {
  assert(position + size <= bytes_.size());
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t shift = 8 * (big_endian ? size - 1 - i : i);
    bytes_[position + i] = static_cast<std::uint8_t>(value >> shift);
  }
}

void ByteWriter::append(std::uint64_t value, std::size_t size, bool big_endian) {
  const std::size_t position = bytes_.size();
  bytes_.resize(position + size);
  put(position, value, size, big_endian);
}

void ByteWriter::u16le(std::uint16_t value) {
  append(value, 2, false);
}
void ByteWriter::u32le(std::uint32_t value) {
  append(value, 4, false);
}
void ByteWriter::u64le(std::uint64_t value) {
  append(value, 8, false);
}
void ByteWriter::u16be(std::uint16_t value) {
  append(value, 2, true);
}
void ByteWriter::u32be(std::uint32_t value) {
  append(value, 4, true);
}
void ByteWriter::u64be(std::uint64_t value) {
  append(value, 8, true);
}
void ByteWriter::bytes(ByteView data) {
  bytes_.insert(bytes_.end(), data.begin(), data.end());
}
void ByteWriter::zeros(std::size_t count) {
  bytes_.resize(bytes_.size() + count);
}

void ByteWriter::patch_u16le(std::size_t position, std::uint16_t value) {
  put(position, value, 2, false);
}
void ByteWriter::patch_u32le(std::size_t position, std::uint32_t value) {
  put(position, value, 4, false);
}
void ByteWriter::patch_u32be(std::size_t position, std::uint32_t value) {
  put(position, value, 4, true);
}

}  // namespace tillbridge
