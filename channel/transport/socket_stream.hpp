// A connected socket with its wire, pumped by the loop.
#pragma once

#include <memory>

#include <asio/posix/stream_descriptor.hpp>
#include <asio/steady_timer.hpp>

#include "channel/transport/loop_impl.hpp"
#include "channel/transport/stream.hpp"
#include "channel/transport/wire.hpp"

namespace tillbridge::transport {

/// The Stream for `wire`, which moves the bytes of `descriptor`.
[[nodiscard]] std::unique_ptr<Stream> make_socket_stream(Loop::Impl& loop,
                                                         asio::posix::stream_descriptor descriptor,
                                                         std::unique_ptr<Wire> wire, Peer peer);

/// The life of a connected socket. Handlers of the loop hold it, so that it outlives its Stream by
/// what a close() still has to send; the Stream's callbacks end with the Stream.
///
///   open --close()--> flushing --all written--> lingering --peer closed, or time is up--> closed
///   any  --end of stream, failure, Stream destroyed--> closed
///
/// Lingering: our half is closed; the peer's bytes are read and thrown away until it closes as
/// well. Closing a socket with unread bytes would make TCP reset the connection, and the peer might
/// lose our last words.
class SocketConnection final : public std::enable_shared_from_this<SocketConnection>, public Turn {
 public:
  SocketConnection(Loop::Impl& loop, asio::posix::stream_descriptor descriptor,
                   std::unique_ptr<Wire> wire, Peer peer);

  void start(Stream::Events events);
  void write(Bytes bytes);
  void pause_reading() { paused_ = true; }
  void resume_reading();
  void close();
  /// The Stream is gone: no callback any more.
  void abandon();
  [[nodiscard]] std::size_t queued_bytes() const { return queue_.size() + wire_->held_bytes(); }
  [[nodiscard]] const Peer& peer() const noexcept { return peer_; }

 private:
  enum class State : std::uint8_t { open, flushing, lingering, closed };

  void read_later();
  void wait_readable();
  void read_or_discard();
  void read_some();
  void discard_some();
  void write_later();
  void wait_writable();
  void come() override;
  void write_some();
  void write_failed(Error error);
  void linger();
  void end(std::optional<Error> error);
  [[nodiscard]] bool wants_bytes() const { return state_ == State::open && started_ && !paused_; }

  Loop::Impl& loop_;
  asio::posix::stream_descriptor descriptor_;
  asio::steady_timer close_timer_;
  std::unique_ptr<Wire> wire_;
  Peer peer_;
  /// Shared, as a callback may destroy the Stream, and with it itself, while it runs.
  std::shared_ptr<const Stream::Events> events_;
  WriteQueue queue_;
  State state_ = State::open;
  bool started_ = false;
  bool paused_ = false;
  bool read_pending_ = false;         ///< a handler that will read is on its way
  bool write_pending_ = false;        ///< a handler that will write is on its way
  bool finished_ = false;             ///< the orderly end is announced
  bool above_half_ = false;           ///< the queue passed the mark below which drained() is called
  std::optional<Error> write_error_;  ///< reported once what the peer said before is read
  std::optional<std::optional<Error>> unheard_;  ///< the end, met before start()
};

}  // namespace tillbridge::transport
