#include "server/simulator/tse/diebold_buffer.hpp"

#include <algorithm>
#include <utility>

#include "tse/diebold/base64.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::simulator::tse {
namespace {

using evidence::diebold::BufferPacket;
using evidence::diebold::DeviceError;

/// Of the archive at a time. Divides by three, so that padding comes at the end only.
constexpr std::uint64_t step_bytes = std::uint64_t{3} * 8192;

void append(Bytes& to, ByteView bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

std::uint64_t base64_bytes(std::uint64_t data_bytes) {
  return (data_bytes + 2) / 3 * 4;
}

DieboldBuffer::DieboldBuffer(Bytes head, std::optional<Export> archive, Bytes tail,
                             Instant ready_at, std::uint64_t bytes_per_s)
    : made_(std::move(head)),
      archive_(std::move(archive)),
      tail_(std::move(tail)),
      bytes_(made_.size() + tail_.size()),
      ready_at_(ready_at),
      bytes_per_s_(bytes_per_s) {
  if (archive_) bytes_ += base64_bytes(archive_->bytes() + evidence::tar_trailer_bytes);
}

std::variant<BufferPacket, DeviceError> DieboldBuffer::fetch(std::uint64_t sequence,
                                                             std::size_t most_bytes, TseCore& core,
                                                             Instant now) {
  if (last_ && sequence == last_->sequence) return *last_;
  if (sequence != next_) return DeviceError::wrong_order;
  const std::uint64_t size = std::min<std::uint64_t>(ready_bytes(now) - fetched_, most_bytes);
  if (!make(size, core)) return DeviceError::log_not_read;
  const auto end = made_.begin() + static_cast<std::ptrdiff_t>(size);
  BufferPacket packet;
  packet.sequence = next_++;
  packet.data.assign(made_.begin(), end);
  made_.erase(made_.begin(), end);
  fetched_ += size;
  packet.more = fetched_ < bytes_;
  last_ = packet;
  return packet;
}

std::uint64_t DieboldBuffer::ready_bytes(Instant now) const {
  if (now < ready_at_) return 0;
  if (bytes_per_s_ == 0) return bytes_;
  const auto passed_ms = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(now - ready_at_).count());
  // Long before this product could overflow, all of it is ready.
  constexpr std::uint64_t a_day_ms = 86'400'000;
  if (passed_ms > a_day_ms) return bytes_;
  return std::max(fetched_, std::min(bytes_, passed_ms * bytes_per_s_ / 1000));
}

bool DieboldBuffer::make(std::uint64_t size, TseCore& core) {
  while (made_.size() < size && archive_) {
    const std::uint64_t whole = archive_->bytes() + evidence::tar_trailer_bytes;
    Bytes step(std::min(step_bytes, whole - archive_read_));
    if (archive_read_ < archive_->bytes()) {
      const std::span<std::uint8_t> stored = std::span(step).first(
          std::min<std::uint64_t>(step.size(), archive_->bytes() - archive_read_));
      if (!core.read_export(*archive_, archive_read_, stored)) return false;
    }
    archive_read_ += step.size();
    const std::string text = evidence::diebold::to_base64(step);
    made_.insert(made_.end(), text.begin(), text.end());
    if (archive_read_ == whole) archive_.reset();
  }
  if (!archive_) append(made_, std::exchange(tail_, {}));
  return true;
}

}  // namespace tillbridge::simulator::tse
