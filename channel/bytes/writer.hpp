// ByteWriter: builds a message in a buffer it owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "channel/bytes/reader.hpp"

namespace tillbridge {

/// Appends fields to one growing buffer; what it writes is ours, so its sizes are asserted, not
/// checked.
class ByteWriter {
 public:
  ByteWriter() = default;
  explicit ByteWriter(std::size_t expected_size) { bytes_.reserve(expected_size); }

  void u8(std::uint8_t value) { bytes_.push_back(value); }
  void u16le(std::uint16_t value);
  void u32le(std::uint32_t value);
  void u64le(std::uint64_t value);
  void u16be(std::uint16_t value);
  void u32be(std::uint32_t value);
  void u64be(std::uint64_t value);
  void bytes(ByteView data);
  void zeros(std::size_t count);

  /// Overwrites a field written before, e.g. a length that was not known yet. `position + field
  /// size <= size()`.
  void patch_u16le(std::size_t position, std::uint16_t value);
  void patch_u32le(std::size_t position, std::uint32_t value);
  void patch_u32be(std::size_t position, std::uint32_t value);

  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] ByteView view() const noexcept { return bytes_; }
  /// Hands the buffer out; the writer is empty again.
  [[nodiscard]] Bytes finish() noexcept { return std::exchange(bytes_, {}); }

 private:
  void put(std::size_t position, std::uint64_t value, std::size_t size, bool big_endian);
  void append(std::uint64_t value, std::size_t size, bool big_endian);

  Bytes bytes_;
};

}  // namespace tillbridge
