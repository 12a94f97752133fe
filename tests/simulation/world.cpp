#include "tests/simulation/world.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "tests/simulation/virtual_loop.hpp"

namespace tillbridge::simulation {
namespace {

World* the_world = nullptr;

constexpr Instant longest_run = std::chrono::hours(24);

}  // namespace

World::World(std::uint32_t seed)
    : seed_(seed), random_(seed), tells_(std::getenv("TILLBRIDGE_STORY") != nullptr) {
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
  if (now_ > longest_run) {
    std::fprintf(stderr, "seed %u: the run does not end\n", seed_);
    std::abort();
  }
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

/// Does what there is to do until somebody who waits has their turn.
World::Waiter* World::go_on() {
  for (;;) {
    Instant end = Instant::max();
    for (Waiter* waiter : waiters_) {
      if (now_ >= waiter->end || (*waiter->condition)()) return waiter;
      end = std::min(end, waiter->end);
    }
    if (step_until(end) || now_ == end) continue;
    std::fprintf(stderr, "seed %u: everybody waits, for nothing\n", seed_);
    std::abort();
  }
}

void World::leave(Waiter& waiter) {
  waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &waiter));
}

bool World::run_until(const std::function<bool()>& condition, Instant end) {
  Waiter self{&condition, end};
  waiters_.push_back(&self);
  Waiter* const next = go_on();
  if (next != &self) {
    next->turn.release();
    self.turn.acquire();
  }
  leave(self);
  return condition();
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

// --- Errand

Errand::Errand(World& world, std::function<void()> work) : world_(world) {
  world_.waiters_.push_back(&begin_);
  thread_ = std::thread([this, its_work = std::move(work)] { run(its_work); });
}

void Errand::run(const std::function<void()>& work) {
  begin_.turn.acquire();
  world_.leave(begin_);
  try {
    work();
  } catch (const std::exception& error) {
    world_.violation(std::string("it ended with ") + error.what());
  }
  done_ = true;
  world_.go_on()->turn.release();  // nobody waits for this thread's turn any more
}

Errand::~Errand() {
  world_.run_until([this] { return done_; }, Instant::max());
  thread_.join();
}

}  // namespace tillbridge::simulation
