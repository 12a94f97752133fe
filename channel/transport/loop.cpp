#include "channel/transport/loop.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <utility>

#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <poll.h>

#include "channel/transport/loop_impl.hpp"

namespace tillbridge::transport {
namespace {

/// Tasks that post tasks go on for so long before sockets and timers are looked at.
constexpr int tasks_in_a_row = 64;

}  // namespace

void Loop::Impl::later(std::function<void()> task) {
  if (runner.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
    soon.emplace_back(std::move(task));
  } else {
    asio::post(context, std::move(task));
  }
}

void Loop::Impl::later(std::shared_ptr<Turn> turn) {
  if (runner.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
    soon.emplace_back(std::move(turn));
  } else {
    asio::post(context, [turn = std::move(turn)] { turn->come(); });
  }
}

void Loop::Impl::run_soon() {
  for (int i = 0; i < tasks_in_a_row && !soon.empty() && !context.stopped(); ++i) {
    const Task task = std::move(soon.front());
    soon.pop_front();
    if (const auto* turn = std::get_if<std::shared_ptr<Turn>>(&task)) {
      (*turn)->come();
    } else {
      std::get<std::function<void()>>(task)();
    }
  }
}

Loop::Loop() : impl_(std::make_unique<Impl>()) {}
Loop::~Loop() = default;

void Loop::run() {
  struct Runner {  // also when a callback throws
    explicit Runner(Impl& loop) : impl(loop) { impl.runner = std::this_thread::get_id(); }
    ~Runner() { impl.runner = std::thread::id(); }
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;
    Impl& impl;
  };
  const Runner runner(*impl_);
  asio::io_context& context = impl_->context;
  while (!context.stopped()) {
    impl_->run_soon();
    if (impl_->soon.empty()) {
      context.run_one();
    } else {
      context.poll_one();
    }
  }
  context.restart();
}

void Loop::stop() {
  impl_->context.stop();
}

void Loop::post(std::function<void()> task) {
  impl_->later(std::move(task));
}

Instant Loop::now() const {
  return std::chrono::duration_cast<Instant>(std::chrono::steady_clock::now().time_since_epoch());
}

std::uint32_t Loop::random() {
  return std::random_device{}();
}

// --- Soon ---

struct Soon::Impl final : Turn {
  Impl(Loop::Impl& its_loop, std::function<void()> its_task)
      : loop(its_loop), task(std::move(its_task)) {}
  void come() override {
    asked = false;
    if (!forgotten) task();
  }
  Loop::Impl& loop;
  std::function<void()> task;
  bool asked = false, forgotten = false;
};

Soon::Soon(Loop& loop, std::function<void()> task)
    : impl_(std::make_shared<Impl>(loop.impl(), std::move(task))) {}

Soon::~Soon() {
  impl_->forgotten = true;
}

void Soon::ask() {
  if (!std::exchange(impl_->asked, true)) impl_->loop.later(impl_);
}

// --- Timer ---

struct Timer::Impl {
  explicit Impl(asio::io_context& context) : timer(context) {}
  asio::steady_timer timer;
  std::function<void()> expired;
  /// Tells an expiry that was already queued when the timer was re-armed or cancelled from the one
  /// that counts.
  std::uint64_t generation = 0;
};

Timer::Timer(Loop& loop) : impl_(std::make_shared<Impl>(loop.impl().context)) {}
Timer::~Timer() = default;

void Timer::arm(Instant when, std::function<void()> expired) {
  // Finer than the Instant, the clock's own unit cannot hold a "never" such as Instant::max().
  constexpr Instant latest =
      std::chrono::duration_cast<Instant>(std::chrono::steady_clock::duration::max());
  impl_->expired = std::move(expired);
  const std::uint64_t generation = ++impl_->generation;
  impl_->timer.expires_at(std::chrono::steady_clock::time_point(std::min(when, latest)));
  impl_->timer.async_wait([weak = std::weak_ptr(impl_), generation](const asio::error_code& error) {
    const std::shared_ptr<Impl> self = weak.lock();
    if (error || !self || self->generation != generation) return;
    const std::function<void()> callback = std::exchange(self->expired, {});
    callback();
  });
}

void Timer::cancel() {
  ++impl_->generation;
  impl_->expired = {};
  impl_->timer.cancel();
}

// --- FdWatch ---

struct FdWatch::Impl : std::enable_shared_from_this<FdWatch::Impl> {
  Impl(asio::io_context& context, int fd, std::function<void(short)> callback)
      : descriptor(context, fd), ready(std::move(callback)) {}

  void wait(asio::posix::stream_descriptor::wait_type type, short event) {
    descriptor.async_wait(type,
                          [weak = weak_from_this(), type, event](const asio::error_code& error) {
                            const std::shared_ptr<Impl> self = weak.lock();
                            if (error || !self || self->cancelled) return;
                            self->ready(event);
                            if (!self->cancelled) self->wait(type, event);
                          });
  }

  asio::posix::stream_descriptor descriptor;
  std::function<void(short)> ready;
  bool cancelled = false;
};

FdWatch::FdWatch(Loop& loop, int fd, short events, std::function<void(short)> ready)
    : impl_(std::make_shared<Impl>(loop.impl().context, fd, std::move(ready))) {
  const auto watched = static_cast<unsigned short>(events);
  if ((watched & POLLIN) != 0) impl_->wait(asio::posix::stream_descriptor::wait_read, POLLIN);
  if ((watched & POLLOUT) != 0) impl_->wait(asio::posix::stream_descriptor::wait_write, POLLOUT);
}

FdWatch::~FdWatch() {
  impl_->cancelled = true;
  impl_->descriptor.release();  // not ours to close; and at once, as its owner may close it next
}

// --- SignalWatch ---

struct SignalWatch::Impl : std::enable_shared_from_this<SignalWatch::Impl> {
  Impl(asio::io_context& context, std::function<void(int)> callback)
      : signals(context), received(std::move(callback)) {}

  void wait() {
    signals.async_wait([weak = weak_from_this()](const asio::error_code& error, int signal) {
      const std::shared_ptr<Impl> self = weak.lock();
      if (error || !self || self->cancelled) return;
      self->received(signal);
      if (!self->cancelled) self->wait();
    });
  }

  asio::signal_set signals;
  std::function<void(int)> received;
  bool cancelled = false;
};

SignalWatch::SignalWatch(Loop& loop, std::initializer_list<int> signals,
                         std::function<void(int)> received)
    : impl_(std::make_shared<Impl>(loop.impl().context, std::move(received))) {
  for (const int signal : signals) impl_->signals.add(signal);
  impl_->wait();
}

SignalWatch::~SignalWatch() {
  impl_->cancelled = true;
  impl_->signals.cancel();
}

}  // namespace tillbridge::transport
