#include "server/http/loop_calls.hpp"

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>

namespace tillbridge::http {

struct LoopCalls::Shared {
  std::mutex mutex;
  std::condition_variable changed;
  bool closed = false;
};

namespace {

struct Call {
  enum class State : std::uint8_t { waits, runs, done, given_up } state = State::waits;
  std::exception_ptr thrown;
};

}  // namespace

LoopCalls::LoopCalls(transport::Loop& loop, std::chrono::milliseconds patience)
    : loop_(loop), patience_(patience), shared_(std::make_shared<Shared>()) {}

bool LoopCalls::run(const std::function<void()>& work) {
  const auto call = std::make_shared<Call>();
  // `work` is the waiting thread's: it is touched only while that thread cannot leave.
  loop_.post([shared = shared_, call, &work] {
    {
      const std::lock_guard lock(shared->mutex);
      if (shared->closed || call->state == Call::State::given_up) return;
      call->state = Call::State::runs;
    }
    std::exception_ptr thrown;
    try {
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
    const std::lock_guard lock(shared->mutex);
    call->thrown = thrown;
    call->state = Call::State::done;
    shared->changed.notify_all();
  });
  std::unique_lock lock(shared_->mutex);
  shared_->changed.wait_for(lock, patience_,
                            [&] { return call->state != Call::State::waits || shared_->closed; });
  if (call->state == Call::State::waits) {
    call->state = Call::State::given_up;
    return false;
  }
  shared_->changed.wait(lock, [&] { return call->state == Call::State::done; });
  if (call->thrown) std::rethrow_exception(call->thrown);
  return true;
}

void LoopCalls::close() {
  const std::lock_guard lock(shared_->mutex);
  shared_->closed = true;
  shared_->changed.notify_all();
}

}  // namespace tillbridge::http
