// ByteReader: the only way in which bytes of a peer become numbers and strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tillbridge {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

/// Reads forward through a view it does not own. Every getter is checked. A getter that would read
/// past the end fails the reader for good: it and all later ones yield zeros and empty views,
/// `ok()` is false. So a decoder reads its fields in a row and asks once at the end. A count that
/// was read is still checked against `remaining()` and its limit *before* it is used to allocate or
/// loop.
class ByteReader {
 public:
  explicit ByteReader(ByteView data) noexcept : data_(data) {}

  std::uint8_t u8() noexcept;
  std::uint16_t u16le() noexcept;
  std::uint32_t u32le() noexcept;
  std::uint64_t u64le() noexcept;
  std::uint16_t u16be() noexcept;
  std::uint32_t u32be() noexcept;
  std::uint64_t u64be() noexcept;

  /// The next `size` bytes, as a view into the data given at construction.
  ByteView take(std::size_t size) noexcept;
  void skip(std::size_t size) noexcept;
  /// All that is left.
  ByteView rest() noexcept { return take(remaining()); }

  /// Marks the reader as failed: for a caller that read a value which makes the rest meaningless.
  void fail() noexcept;

  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] std::size_t remaining() const noexcept { return data_.size() - position_; }
  [[nodiscard]] std::size_t position() const noexcept { return position_; }
  /// Everything was read and nothing failed: what a decoder of a whole message asks last.
  [[nodiscard]] bool finished() const noexcept { return ok_ && remaining() == 0; }

 private:
  ByteView data_;
  std::size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace tillbridge
