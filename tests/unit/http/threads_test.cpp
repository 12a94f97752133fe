// What HTTP's threads and the loop's thread hand to each other.
#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "server/http/loop_calls.hpp"
#include "server/http/outflow.hpp"

namespace tillbridge::http::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(LoopCalls, AreDoneOnTheLoopOrNeverBegun) {
  transport::Loop loop;
  LoopCalls calls(loop, milliseconds(1));
  int done = 0;
  // Nobody runs the loop: given up, and not made up for later.
  EXPECT_FALSE(calls.run([&] { ++done; }));
  LoopCalls patient(loop, seconds(60));
  std::thread other([&] {
    std::thread::id where;
    EXPECT_TRUE(patient.run([&] {
      ++done;
      where = std::this_thread::get_id();
    }));
    EXPECT_NE(where, std::this_thread::get_id());
    EXPECT_THROW((void)patient.run([] { throw std::runtime_error("oh"); }), std::runtime_error);
    loop.stop();
  });
  loop.run();
  other.join();
  EXPECT_EQ(done, 1);
}

TEST(LoopCalls, NobodyWaitsForALoopThatStops) {
  transport::Loop loop;
  LoopCalls calls(loop, seconds(60));
  std::atomic<int> refused{0};
  std::vector<std::thread> others;
  for (int count = 0; count < 4; ++count) {
    others.emplace_back([&] {
      if (!calls.run([] { FAIL() << "begun after the end"; })) ++refused;
    });
  }
  calls.close();
  for (std::thread& other : others) other.join();
  EXPECT_EQ(refused, 4);
  loop.post([&] { loop.stop(); });
  loop.run();  // what was posted does nothing
}

TEST(Outflow, KeepsOrderAndPulses) {
  Outflow flow(100, ":\n\n");
  EXPECT_EQ(flow.next(milliseconds(0)), ":\n\n");
  EXPECT_TRUE(flow.push("a"));
  EXPECT_TRUE(flow.push("b"));
  EXPECT_EQ(flow.next(milliseconds(0)), "ab");
  flow.cut();
  EXPECT_TRUE(flow.over());
  EXPECT_FALSE(flow.push("c"));
  EXPECT_EQ(flow.next(seconds(60)), std::nullopt);
}

TEST(Outflow, WhoReadsTooSlowlyIsCut) {
  Outflow flow(10);
  EXPECT_TRUE(flow.push("0123456789"));
  EXPECT_FALSE(flow.push("x"));
  EXPECT_TRUE(flow.over());
  EXPECT_EQ(flow.next(seconds(60)), std::nullopt);
}

TEST(Outflow, WhoWaitsIsWoken) {
  Outflow flow(100);
  std::atomic<bool> taken{false};
  std::thread reader([&] {
    EXPECT_EQ(flow.next(seconds(60)), "a");
    taken = true;
    EXPECT_EQ(flow.next(seconds(60)), std::nullopt);
  });
  flow.push("a");
  while (!taken) std::this_thread::yield();
  flow.cut();
  reader.join();
}

}  // namespace
}  // namespace tillbridge::http::test
