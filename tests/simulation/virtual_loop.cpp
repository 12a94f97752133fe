// channel/transport/loop.hpp once more, on the clock of a World. A program that links this file
// takes nothing of the real loop out of the transport room: every function of the header is here.
#include "tests/simulation/virtual_loop.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
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

namespace tillbridge::simulation {
namespace {

thread_local World* the_world = nullptr;

}  // namespace

World::World(std::uint32_t seed)
    : random_(seed), tells_(std::getenv("TILLBRIDGE_STORY") != nullptr) {
  if (the_world != nullptr) throw std::logic_error("one world at a time");
  the_world = this;
}

World::~World() {
  the_world = nullptr;
}

World& World::current() {
  if (the_world == nullptr) throw std::logic_error("there is no world");
  return *the_world;
}

void World::remove(transport::Loop::Impl& loop) {
  loops_.erase(std::find(loops_.begin(), loops_.end(), &loop));
}

void World::at(Instant when, std::function<void()> task) {
  tasks_.push_back({std::max(when, now_), ++order_, std::move(task)});
  std::push_heap(tasks_.begin(), tasks_.end());
}

bool World::step_until(Instant end) {
  steps_ += 1;
  // First what the processes have at hand: their turns come in any order, each one's tasks in
  // theirs.
  std::uint32_t busy = 0;
  for (const auto* loop : loops_) busy += loop->ready.empty() ? 0U : 1U;
  if (busy > 0) {
    std::uint32_t turn = busy == 1 ? 0 : below(busy);
    for (auto* loop : loops_) {
      if (loop->ready.empty() || turn-- > 0) continue;
      const std::function<void()> task = std::move(loop->ready.front());
      loop->ready.pop_front();
      task();
      return true;
    }
  }
  if (tasks_.empty() || tasks_.front().when > end) {
    if (end != Instant::max()) now_ = std::max(now_, end);
    return false;
  }
  std::pop_heap(tasks_.begin(), tasks_.end());
  const Task next = std::move(tasks_.back());
  tasks_.pop_back();
  now_ = next.when;
  note(static_cast<std::uint64_t>(now_.count()));
  next.run();
  return true;
}

bool World::run_until(const std::function<bool()>& condition, Instant end) {
  while (!condition()) {
    if (!step_until(end)) return condition();
  }
  return true;
}

Duration World::between(Duration least, Duration most) {
  return least + Duration(static_cast<std::int64_t>(
                     random_() % static_cast<std::uint64_t>((most - least).count() + 1)));
}

void World::violation(const std::string& what) {
  tell("VIOLATION", what);
  if (!violation_.empty()) return;
  violation_ = what + " (at " + std::to_string(now_.count() / 1000) + " ms of the run)";
}

void World::tell(const std::string& who, const std::string& what) {
  note(what.size());
  if (tells_) {
    std::printf("%10.3f  %-10s %s\n", static_cast<double>(now_.count()) / 1000.0, who.c_str(),
                what.c_str());
  }
}

void World::note(std::uint64_t value) noexcept {
  fingerprint_ = (fingerprint_ ^ value) * 1099511628211U;
}

}  // namespace tillbridge::simulation
