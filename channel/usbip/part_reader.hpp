// PartReader: cuts a stream of bytes, in whatever pieces it arrives, into parts of known size.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "channel/bytes/reader.hpp"

namespace tillbridge::usbip {

/// Each byte of a part is copied once. A header is looked at with view(), in a buffer that is used
/// again; a payload is handed on by take(), so that 4 MiB in 64 KiB pieces cost one allocation.
class PartReader {
 public:
  /// The next part is kept. The caller has bounded `size`.
  void expect(std::size_t size) {
    kind_ = Kind::header;
    begin(header_, size);
  }
  void expect_payload(std::size_t size) {
    kind_ = Kind::payload;
    begin(payload_, size);
  }

  /// The next part is thrown away as it comes.
  void discard(std::uint64_t size) {
    kind_ = Kind::discarded;
    header_.clear();
    payload_.clear();
    missing_ = size;
  }

  /// Takes what the part still needs from the front of `bytes`; true when the part is complete.
  [[nodiscard]] bool feed(ByteView& bytes) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(missing_, bytes.size()));
    const ByteView taken = bytes.first(size);
    if (kind_ != Kind::discarded) {
      Bytes& kept = kind_ == Kind::header ? header_ : payload_;
      kept.insert(kept.end(), taken.begin(), taken.end());
    }
    missing_ -= size;
    bytes = bytes.subspan(size);
    return missing_ == 0;
  }

  /// Empty after discard(), as is what take() returns.
  [[nodiscard]] ByteView view() const noexcept { return header_; }
  [[nodiscard]] Bytes take() noexcept { return std::exchange(payload_, {}); }

 private:
  enum class Kind : std::uint8_t { header, payload, discarded };

  void begin(Bytes& kept, std::size_t size) {
    kept.clear();
    kept.reserve(size);
    missing_ = size;
  }

  Bytes header_, payload_;
  Kind kind_ = Kind::header;
  std::uint64_t missing_ = 0;
};

}  // namespace tillbridge::usbip
