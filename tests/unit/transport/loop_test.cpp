#include "channel/transport/loop.hpp"

#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/transport/loop_fixture.hpp"

namespace tillbridge::transport {
namespace {

class LoopTest : public test::LoopTest {};

TEST_F(LoopTest, RunsTasksOfOtherThreadsOneAtATime) {
  constexpr int threads = 4;
  constexpr int tasks = 1000;
  int counted = 0;  // unprotected on purpose: only the loop's thread touches it
  std::vector<std::thread> posting;
  posting.reserve(threads);
  for (int i = 0; i < threads; ++i) {
    posting.emplace_back([&] {
      for (int task = 0; task < tasks; ++task) {
        loop_.post([&] {
          if (++counted == threads * tasks) progress();
        });
      }
    });
  }
  run_until([&] { return counted == threads * tasks; });
  for (std::thread& thread : posting) thread.join();
  EXPECT_EQ(counted, threads * tasks);
}

TEST_F(LoopTest, TasksOfTasksComeAfterThemInOrder) {
  std::vector<int> order;
  loop_.post([&] {
    loop_.post([&] {
      order.push_back(2);
      loop_.post([&] {
        order.push_back(4);
        progress();
      });
    });
    loop_.post([&] { order.push_back(3); });
    order.push_back(1);
  });
  run_until([&] { return order.size() == 4; });
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
}

TEST_F(LoopTest, WhatIsAskedForSoonComesOnceAfterTheCallback) {
  std::vector<int> order;
  Soon soon(loop_, [&] {
    order.push_back(3);
    loop_.post([&] {
      order.push_back(5);
      progress();
    });
  });
  loop_.post([&] {
    loop_.post([&] { order.push_back(2); });
    soon.ask();
    soon.ask();
    loop_.post([&] { order.push_back(4); });
    order.push_back(1);
  });
  run_until([&] { return order.size() == 5; });
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4, 5}));
}

TEST_F(LoopTest, SoonMayBeAskedBeforeTheLoopRunsAndByItself) {
  int times = 0;
  std::optional<Soon> soon;
  soon.emplace(loop_, [&] {
    if (++times < 3) return soon->ask();
    soon.reset();  // while it runs
    progress();
  });
  soon->ask();
  run_until([&] { return times == 3; });
  EXPECT_EQ(times, 3);
}

TEST_F(LoopTest, WhatIsDestroyedDoesNotComeSoon) {
  int times = 0;
  auto soon = std::make_unique<Soon>(loop_, [&] { ++times; });
  bool done = false;
  loop_.post([&] {
    soon->ask();
    soon.reset();
    loop_.post([&] {
      done = true;
      progress();
    });
  });
  run_until([&] { return done; });
  EXPECT_EQ(times, 0);
}

TEST_F(LoopTest, ATaskThatPostsItselfForEverHoldsNothingUp) {
  std::function<void()> again = [&] { loop_.post(again); };
  bool expired = false;
  bool posted = false;
  Timer timer(loop_);
  loop_.post([&] {
    again();
    timer.arm(loop_.now() + std::chrono::milliseconds(1), [&] {
      expired = true;
      progress();
    });
  });
  std::thread other([&] {
    loop_.post([&] {
      posted = true;
      progress();
    });
  });
  run_until([&] { return expired && posted; });
  other.join();
  EXPECT_TRUE(expired && posted);
  again = [] {};
}

TEST_F(LoopTest, NothingRunsAfterStopUntilItRunsAgain) {
  int ran = 0;
  loop_.post([&] {
    loop_.post([&] {
      ++ran;
      loop_.stop();
    });
    loop_.stop();
  });
  loop_.run();
  EXPECT_EQ(ran, 0);
  loop_.run();
  EXPECT_EQ(ran, 1);
}

TEST_F(LoopTest, StopsFromAnotherThreadAndRunsAgain) {
  for (int round = 0; round < 3; ++round) {
    std::thread stopping([&] { loop_.stop(); });
    loop_.run();  // also when stop() came first
    stopping.join();
  }
  bool ran = false;
  loop_.post([&] {
    ran = true;
    loop_.stop();
  });
  loop_.run();
  EXPECT_TRUE(ran);
}

TEST_F(LoopTest, TimersExpireInTheirOrderAndNotEarly) {
  std::vector<int> order;
  Timer late(loop_);
  Timer early(loop_);
  const Instant start = loop_.now();
  Instant expired{};
  late.arm(start + std::chrono::milliseconds(20), [&] {
    order.push_back(2);
    expired = loop_.now();
    progress();
  });
  early.arm(start + std::chrono::milliseconds(10), [&] { order.push_back(1); });
  run_until([&] { return order.size() == 2; });
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_GE(expired, start + std::chrono::milliseconds(20));
}

TEST_F(LoopTest, ATimerThatIsCancelledRearmedOrDestroyedIsSilent) {
  int calls = 0;
  std::vector<int> heard;
  Timer cancelled(loop_);
  Timer rearmed(loop_);
  auto destroyed = std::make_unique<Timer>(loop_);
  const Instant now = loop_.now();
  cancelled.arm(now, [&] { ++calls; });
  destroyed->arm(now, [&] { ++calls; });
  rearmed.arm(now, [&] { heard.push_back(1); });
  // All three are due; nothing has run yet.
  cancelled.cancel();
  destroyed.reset();
  rearmed.arm(now, [&] { heard.push_back(2); });
  Timer last(loop_);
  bool done = false;
  last.arm(now + std::chrono::milliseconds(5), [&] {
    done = true;
    progress();
  });
  run_until([&] { return done; });
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(heard, std::vector<int>{2});
}

TEST_F(LoopTest, ATimerMayDestroyOrRearmItselfWhenItExpires) {
  std::optional<Timer> timer;
  timer.emplace(loop_);
  int calls = 0;
  timer->arm(loop_.now(), [&] {
    timer->arm(loop_.now(), [&] {
      ++calls;
      timer.reset();
      progress();
    });
    ++calls;
  });
  run_until([&] { return calls == 2; });
  EXPECT_FALSE(timer.has_value());
}

TEST_F(LoopTest, ATimerCanBeArmedForNever) {
  Timer never(loop_);
  bool expired = false;
  never.arm(Instant::max(), [&] { expired = true; });
  run_posted();
  EXPECT_FALSE(expired);
}

TEST_F(LoopTest, AWatchCallsWhileItsDescriptorIsReady) {
  const int fd = ::eventfd(2, EFD_CLOEXEC | EFD_SEMAPHORE | EFD_NONBLOCK);
  ASSERT_GE(fd, 0);
  int calls = 0;
  auto watch = std::make_unique<FdWatch>(loop_, fd, POLLIN, [&](short events) {
    EXPECT_EQ(events, POLLIN);
    std::uint64_t one = 0;
    EXPECT_EQ(::read(fd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
    // Twice for the two units at the start, though nothing was written in between; once for the
    // third.
    ++calls;
    if (calls == 2) {
      one = 1;
      EXPECT_EQ(::write(fd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
    }
    if (calls == 3) progress();
  });
  run_until([&] { return calls == 3; });
  watch.reset();
  const std::uint64_t more = 1;
  ASSERT_EQ(::write(fd, &more, sizeof more), static_cast<ssize_t>(sizeof more));
  run_posted();
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(::close(fd), 0) << "the watch must not close what it does not own";
}

TEST_F(LoopTest, AWatchTellsReadingFromWritingAndMayDestroyItself) {
  const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  ASSERT_GE(fd, 0);
  std::unique_ptr<FdWatch> watch;
  std::vector<short> heard;
  watch =
      std::make_unique<FdWatch>(loop_, fd, static_cast<short>(POLLIN | POLLOUT), [&](short events) {
        heard.push_back(events);
        watch.reset();
        progress();
      });
  run_until([&] { return !heard.empty(); });
  run_posted();
  EXPECT_EQ(heard, std::vector<short>{POLLOUT});
  ::close(fd);
}

TEST_F(LoopTest, SignalsArriveOnTheLoop) {
  std::vector<int> heard;
  SignalWatch watch(loop_, {SIGUSR1, SIGUSR2}, [&](int signal) {
    heard.push_back(signal);
    progress();
  });
  std::raise(SIGUSR1);
  run_until([&] { return heard.size() == 1; });
  std::raise(SIGUSR2);
  run_until([&] { return heard.size() == 2; });
  EXPECT_EQ(heard, (std::vector<int>{SIGUSR1, SIGUSR2}));
}

}  // namespace
}  // namespace tillbridge::transport
