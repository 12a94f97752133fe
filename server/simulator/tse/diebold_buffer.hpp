// DieboldBuffer: an answer that waits in the stick until it is fetched piece by piece.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/reader.hpp"
#include "server/simulator/tse/core.hpp"
#include "tse/diebold/fields.hpp"

namespace tillbridge::simulator::tse {

/// A whole response frame. An archive in it is read and put into base64 only as it is fetched.
class DieboldBuffer {
 public:
  /// `head`, the archive's text if there is one, `tail`. Nothing can be fetched before `ready_at`,
  /// and from then on `bytes_per_s` get ready (0: all at once).
  DieboldBuffer(Bytes head, std::optional<Export> archive, Bytes tail, Instant ready_at,
                std::uint64_t bytes_per_s);

  /// `sequence`: the next piece's number, or the last one's again. At most `most_bytes` of data; a
  /// piece without data while there is nothing ready.
  [[nodiscard]] std::variant<evidence::diebold::BufferPacket, evidence::diebold::DeviceError> fetch(
      std::uint64_t sequence, std::size_t most_bytes, TseCore& core, Instant now);

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  [[nodiscard]] std::uint64_t ready_bytes(Instant now) const;
  /// Makes at least `size` more bytes of the frame, if it has them.
  [[nodiscard]] bool make(std::uint64_t size, TseCore& core);

  Bytes made_;  ///< of the frame, not fetched yet
  std::optional<Export> archive_;
  std::uint64_t archive_read_ = 0;  ///< of the archive with its trailer
  Bytes tail_;
  std::uint64_t bytes_ = 0, fetched_ = 0;
  Instant ready_at_;
  std::uint64_t bytes_per_s_;
  std::uint8_t next_ = 0;
  std::optional<evidence::diebold::BufferPacket> last_;
};

/// Characters of a base64 text.
[[nodiscard]] std::uint64_t base64_bytes(std::uint64_t data_bytes);

}  // namespace tillbridge::simulator::tse
