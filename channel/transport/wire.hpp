// What moves bytes between a non-blocking socket and a stream: plainly, or through TLS
// (tls_wire.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "channel/bytes/queue.hpp"
#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::transport {

/// Buffers that wait to be written, oldest first.
class WriteQueue {
 public:
  void push(Bytes bytes);
  /// What is left of the oldest buffer. Not for an empty queue.
  [[nodiscard]] ByteView front() const {
    return ByteView(buffers_.front()).subspan(front_written_);
  }
  [[nodiscard]] const Queue<Bytes>& buffers() const noexcept { return buffers_; }
  void pop(std::size_t size);
  void clear();
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

 private:
  Queue<Bytes> buffers_;           ///< none of them empty
  std::size_t front_written_ = 0;  ///< of the first buffer
  std::size_t size_ = 0;           ///< not yet written, of all buffers
};

enum class WireStatus : std::uint8_t {
  done,         ///< all that was asked for
  would_block,  ///< the socket has no more bytes, or takes no more
  closed,       ///< the peer closed in an orderly way
  failed,       ///< see the error
};

struct WireResult {
  WireStatus status = WireStatus::done;
  std::size_t bytes = 0;  ///< read, also with a status other than done
  std::optional<Error> error;
};

class Wire {
 public:
  virtual ~Wire() = default;
  /// Fills `into` as far as the socket has bytes.
  virtual WireResult read(std::span<std::uint8_t> into) = 0;
  /// Writes as much of the queue as the socket takes; done when there is nothing left in the wire
  /// either.
  virtual WireResult write(WriteQueue& queue) = 0;
  /// Announces the orderly end, after the queue was written; what the socket does not take waits
  /// for write().
  virtual void finish() = 0;
  /// Bytes taken from a queue that the socket did not take yet.
  [[nodiscard]] virtual std::size_t held_bytes() const = 0;
};

class PlainWire final : public Wire {
 public:
  /// `peer` for error messages. The descriptor stays the caller's.
  PlainWire(int fd, std::string peer) : fd_(fd), peer_(std::move(peer)) {}
  WireResult read(std::span<std::uint8_t> into) override;
  WireResult write(WriteQueue& queue) override;
  void finish() override {}
  [[nodiscard]] std::size_t held_bytes() const override { return 0; }

 private:
  int fd_;
  std::string peer_;
};

/// One recv() or send() with their quirks: repeated when interrupted, never a SIGPIPE.
struct SocketResult {
  WireStatus status = WireStatus::done;
  std::size_t bytes = 0;
  int error = 0;  ///< errno, with `failed`
};
[[nodiscard]] SocketResult socket_receive(int fd, std::span<std::uint8_t> into);
[[nodiscard]] SocketResult socket_send(int fd, ByteView bytes);

/// "the connection to PEER was lost: ..."
[[nodiscard]] Error lost(const std::string& peer, int error);

}  // namespace tillbridge::transport
