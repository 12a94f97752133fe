// Time, chance and turns of a simulation: everything that happens in a run happens in
// World::step(), or in work that waits in World::run_until(), and one seed decides in which order.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "channel/transport/loop.hpp"

namespace tillbridge::simulation {

/// One world at a time: the loops that are made while it lives are its loops, see
/// virtual_loop.cpp.
class World {
 public:
  explicit World(std::uint32_t seed);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  World(World&&) = delete;
  World& operator=(World&&) = delete;

  [[nodiscard]] static World& current();

  // --- time
  [[nodiscard]] Instant now() const noexcept { return now_; }
  void at(Instant when, std::function<void()> task);
  void after(Duration delay, std::function<void()> task) { at(now_ + delay, std::move(task)); }
  /// Does what comes next; false: nothing is left to happen.
  bool step() { return step_until(Instant::max()); }
  /// The same, but nothing later than `end`; false: it is `end` now.
  bool step_until(Instant end);
  /// Until `condition` is so (true) or `end` is reached (false). Work that is called from nothing
  /// else but the run itself, or an Errand, may wait here.
  bool run_until(const std::function<bool()>& condition, Instant end);
  void run_for(Duration time) {
    run_until([] { return false; }, now_ + time);
  }
  [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }

  // --- chance
  [[nodiscard]] std::uint32_t below(std::uint32_t limit) {
    return static_cast<std::uint32_t>(random_() % limit);
  }
  [[nodiscard]] Duration between(Duration least, Duration most);
  [[nodiscard]] bool one_in(std::uint32_t count) { return below(count) == 0; }
  [[nodiscard]] std::uint32_t chance() { return static_cast<std::uint32_t>(random_()); }

  // --- what a person reads of a run
  /// Something that must not happen did. The first one counts.
  void violation(const std::string& what);
  [[nodiscard]] const std::string& violated() const noexcept { return violation_; }
  /// A line of the run's story, with its time; printed if TILLBRIDGE_STORY is set.
  void tell(const std::string& who, const std::string& what);
  /// Differs between two runs that went differently.
  [[nodiscard]] std::uint64_t fingerprint() const noexcept { return fingerprint_; }

  // --- for the loops
  void add(transport::Loop::Impl& loop) { loops_.push_back(&loop); }
  void remove(transport::Loop::Impl& loop);

 private:
  friend class Errand;
  /// Who waits in run_until(). Only one thread runs at a time: the one whose turn it is.
  struct Waiter {
    const std::function<bool()>* condition;
    Instant end;
    std::binary_semaphore turn{0};
  };
  [[nodiscard]] Waiter* go_on();
  void leave(Waiter& waiter);

  struct Task {
    Instant when;
    std::uint64_t order = 0;
    std::function<void()> run;
    bool operator<(const Task& other) const {
      return when != other.when ? when > other.when : order > other.order;
    }
  };
  void note(std::uint64_t value) noexcept;

  std::uint32_t seed_;
  std::mt19937 random_;
  Instant now_ = std::chrono::seconds(1);
  std::vector<Task> tasks_;  ///< a heap: the earliest is in front
  std::uint64_t order_ = 0, steps_ = 0, fingerprint_ = 14695981039346656037U;
  std::vector<transport::Loop::Impl*> loops_;
  std::vector<Waiter*> waiters_;
  std::string violation_;
  bool tells_ = false;
};

/// Work that waits in its middle, as POS software does that was written for a computer of its own:
/// a thread, which runs only while every other one of the world waits in run_until().
class Errand {
 public:
  /// Begins with the world's next turn.
  Errand(World& world, std::function<void()> work);
  /// Waits until the work is done.
  ~Errand();
  Errand(const Errand&) = delete;
  Errand& operator=(const Errand&) = delete;
  Errand(Errand&&) = delete;
  Errand& operator=(Errand&&) = delete;
  [[nodiscard]] bool done() const noexcept { return done_; }

 private:
  void run(const std::function<void()>& work);

  World& world_;
  std::function<bool()> at_once_ = [] { return true; };
  World::Waiter begin_{&at_once_, Instant{}};
  bool done_ = false;
  std::thread thread_;
};

}  // namespace tillbridge::simulation
