// BufferFetch: the client's way to get an answer that was put into a buffer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "channel/bytes/result.hpp"
#include "tse/diebold/fields.hpp"
#include "tse/diebold/frame.hpp"

namespace tillbridge::tse::diebold {

/// Ask with parameters() in command 004, hand each answer to accept(), until that gives the whole
/// response. A buffer that is not filled yet answers with pieces of no bytes.
class BufferFetch {
 public:
  explicit BufferFetch(std::uint32_t buffer) : buffer_(buffer) {}
  [[nodiscard]] Parameters parameters() const;
  /// Nothing: ask again. An error ends the fetch: ask nothing more.
  [[nodiscard]] Result<std::optional<Response>> accept(const Response& answer);
  /// So far.
  [[nodiscard]] std::size_t bytes() const { return frame_.size(); }

 private:
  std::uint32_t buffer_;
  std::uint8_t sequence_ = 0;  ///< wraps from 255 to 0
  Bytes frame_;
};

}  // namespace tillbridge::tse::diebold
