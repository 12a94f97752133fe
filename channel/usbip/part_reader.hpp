// PartReader: cuts a stream of bytes, in whatever pieces it arrives, into parts of known size.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "channel/bytes/reader.hpp"

namespace tillbridge::usbip {

/// Each byte of a part is copied once, into the buffer that take() hands on: a 4 MiB payload in 64
/// KiB pieces costs one allocation and one copy.
class PartReader {
 public:
  /// The next part is kept. The caller has bounded `size`.
  void expect(std::size_t size) {
    kept_.clear();
    kept_.reserve(size);
    missing_ = size;
    keep_ = true;
  }

  /// The next part is thrown away as it comes.
  void discard(std::uint64_t size) {
    kept_.clear();
    missing_ = size;
    keep_ = false;
  }

  /// Takes what the part still needs from the front of `bytes`; true when the part is complete.
  [[nodiscard]] bool feed(ByteView& bytes) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(missing_, bytes.size()));
    const ByteView taken = bytes.first(size);
    if (keep_) kept_.insert(kept_.end(), taken.begin(), taken.end());
    missing_ -= size;
    bytes = bytes.subspan(size);
    return missing_ == 0;
  }

  [[nodiscard]] ByteView view() const noexcept { return kept_; }
  [[nodiscard]] Bytes take() noexcept { return std::exchange(kept_, {}); }

 private:
  Bytes kept_;
  std::uint64_t missing_ = 0;
  bool keep_ = true;
};

}  // namespace tillbridge::usbip
