// A reply that goes on while it is read: for a capture.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace tillbridge::admin {

/// Made on the loop's thread, read on one thread of the requester's, which may destroy it at any
/// moment: that ends what it brings. Bounded: whoever reads too slowly misses something, and is
/// told so in the format's own words.
class Download {
 public:
  Download() = default;
  virtual ~Download() = default;
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;

  /// The next bytes. Empty: nothing came within `patience`; ask again, if the peer is still there.
  /// Nothing: that was the end.
  [[nodiscard]] virtual std::optional<std::string> next(std::chrono::milliseconds patience) = 0;
};

}  // namespace tillbridge::admin
