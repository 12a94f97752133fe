// One client's connection: bytes with a time limit, TLS or plain.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include <sys/types.h>

#include "server/http/message.hpp"

struct ssl_ctx_st;
struct ssl_st;

namespace tillbridge::http {

using SteadyTime = std::chrono::steady_clock::time_point;

/// Used by one thread, but for cut() and waiting_since().
class Connection {
 public:
  /// Takes the descriptor over.
  Connection(int descriptor, Peer peer);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  Connection(Connection&&) = delete;
  Connection& operator=(Connection&&) = delete;

  [[nodiscard]] const Peer& peer() const noexcept { return peer_; }
  [[nodiscard]] bool handshake(ssl_ctx_st* context, SteadyTime until);

  /// Something can be read.
  [[nodiscard]] bool await(SteadyTime until);
  enum class Head { complete, too_long, too_slow, gone };
  /// Reads until a whole head (to its empty line) waits for read(), and nothing else is taken of
  /// it.
  [[nodiscard]] Head collect_head(std::size_t most, SteadyTime until);
  /// Until when read() may wait.
  void read_until(SteadyTime until) { read_until_ = until; }
  /// At least one byte; 0 or less: none will come in time.
  [[nodiscard]] ssize_t read(char* to, std::size_t size);
  /// All of it; false if the client is gone or does not take it.
  [[nodiscard]] bool write(const char* from, std::size_t size);
  /// The client has closed its end.
  [[nodiscard]] bool peer_gone() const;
  /// So that the client still reads the last answer: says that nothing more comes, and reads what
  /// it still sends for a moment.
  void close_gently();

  /// Any thread: whatever waits here ends.
  void cut() noexcept;
  /// It waits for its client (handshake, next request) since then, and may be cut to make room;
  /// never, as steady ticks: it is at work.
  static constexpr SteadyTime::rep at_work = -1;
  [[nodiscard]] SteadyTime::rep waiting_since() const noexcept { return waiting_since_; }
  void waits(bool on) noexcept;

 private:
  enum class Ready { yes, no_time, broken };
  [[nodiscard]] Ready wait(short events, SteadyTime until) const;
  [[nodiscard]] ssize_t receive(char* to, std::size_t size, SteadyTime until);

  const int descriptor_;
  const Peer peer_;
  ssl_st* ssl_ = nullptr;
  std::string buffer_;
  std::size_t taken_ = 0;  // of buffer_
  SteadyTime read_until_{};
  std::atomic<SteadyTime::rep> waiting_since_{0};
};

}  // namespace tillbridge::http
