// Threads of HTTP ask the loop's thread to do something, and wait until it is done.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "channel/transport/loop.hpp"

namespace tillbridge::http {

class LoopCalls {
 public:
  LoopCalls(transport::Loop& loop, std::chrono::milliseconds patience);
  /// Any other thread. False: the loop did not begin with it in time, or stops; then it is never
  /// begun, and nothing was changed. True once it has returned; rethrows what it throws.
  [[nodiscard]] bool run(const std::function<void()>& work);
  /// The loop's thread: nothing is begun any more, and nobody waits.
  void close();

 private:
  struct Shared;
  transport::Loop& loop_;
  const std::chrono::milliseconds patience_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace tillbridge::http
