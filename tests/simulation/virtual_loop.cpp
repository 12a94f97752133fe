// channel/transport/loop.hpp once more, on the clock of a World. A program that links this file
// takes nothing of the real loop out of the transport room: every function of the header is here.
#include "tests/simulation/virtual_loop.hpp"

#include <memory>
#include <stdexcept>
#include <utility>

namespace tillbridge::transport {

Loop::Loop() : impl_(std::make_unique<Impl>(simulation::World::current())) {}
Loop::~Loop() = default;

void Loop::run() {
  while (!impl_->stopped && impl_->world.step()) {
  }
  impl_->stopped = false;
}

void Loop::stop() {
  impl_->stopped = true;
}

void Loop::post(std::function<void()> task) {
  impl_->ready.emplace_back(std::move(task));
}

Instant Loop::now() const {
  return impl_->world.now();
}

std::uint32_t Loop::random() {
  return impl_->world.chance();
}

// --- Soon

struct Soon::Impl {
  Loop& loop;
  std::function<void()> task;
  bool asked = false;
};

Soon::Soon(Loop& loop, std::function<void()> task)
    : impl_(std::make_shared<Impl>(Impl{loop, std::move(task)})) {}
Soon::~Soon() = default;

void Soon::ask() {
  if (std::exchange(impl_->asked, true)) return;
  impl_->loop.post([weak = std::weak_ptr(impl_)] {
    const std::shared_ptr<Impl> self = weak.lock();
    if (!self) return;
    self->asked = false;
    self->task();
  });
}

// --- Timer

struct Timer::Impl {
  simulation::World& world;
  std::function<void()> expired;
  std::uint64_t generation = 0;
};

Timer::Timer(Loop& loop) : impl_(std::make_shared<Impl>(Impl{loop.impl().world, {}})) {}
Timer::~Timer() = default;

void Timer::arm(Instant when, std::function<void()> expired) {
  impl_->expired = std::move(expired);
  const std::uint64_t generation = ++impl_->generation;
  impl_->world.at(when, [weak = std::weak_ptr(impl_), generation] {
    const std::shared_ptr<Impl> self = weak.lock();
    if (!self || self->generation != generation) return;
    const std::function<void()> callback = std::exchange(self->expired, {});
    if (callback) callback();
  });
}

void Timer::cancel() {
  ++impl_->generation;
  impl_->expired = {};
}

// --- what no part of a simulation has

struct FdWatch::Impl {};
FdWatch::FdWatch(Loop&, int, short, std::function<void(short)>) {
  throw std::logic_error("a simulation has no file descriptors");
}
FdWatch::~FdWatch() = default;

struct SignalWatch::Impl {};
SignalWatch::SignalWatch(Loop&, std::initializer_list<int>, std::function<void(int)>) {
  throw std::logic_error("a simulation has no signals");
}
SignalWatch::~SignalWatch() = default;

}  // namespace tillbridge::transport
