// What the .cpp files of this folder share of the event loop. Not for other rooms: it brings Asio
// along.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <variant>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>

#include "channel/bytes/queue.hpp"
#include "channel/transport/loop.hpp"

namespace tillbridge::transport {

/// Something that is often to be done once the running callback has returned. It is held until
/// then.
struct Turn {
  Turn() = default;
  virtual ~Turn() = default;
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  virtual void come() = 0;
};

struct Loop::Impl {
  // One thread runs the loop; Asio's locks stay, for post() and stop() from other threads.
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  /// All streams of the loop read into this one buffer, in turn: callbacks get a view of it and
  /// never nest.
  std::array<std::uint8_t, std::size_t{64} << 10U> read_buffer{};
  /// Who is in run(), if anybody.
  std::atomic<std::thread::id> runner{};
  /// Tasks that the loop's own callbacks posted. Not in Asio's queue, because Asio asks the kernel
  /// for readiness between what was posted before and what was posted since: with three posts on
  /// the way of a transfer, three system calls of ten.
  using Task = std::variant<std::function<void()>, std::shared_ptr<Turn>>;
  Queue<Task> soon;

  /// Calls `task` once the running callback has returned.
  void later(std::function<void()> task);
  void later(std::shared_ptr<Turn> turn);
  void run_soon();
};

}  // namespace tillbridge::transport
