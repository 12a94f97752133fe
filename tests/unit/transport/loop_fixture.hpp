// Runs a loop until something has happened, or fails the test.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "channel/transport/loop.hpp"

namespace tillbridge::test {

class LoopTest : public testing::Test {
 protected:
  /// Runs the loop until `happened`; callbacks call progress() to have it looked at.
  void run_until(const std::function<bool()>& happened) {
    bool late = false;
    transport::Timer guard(loop_);
    guard.arm(loop_.now() + std::chrono::seconds(60), [&] {
      late = true;
      loop_.stop();
    });
    while (!happened() && !late) loop_.run();
    ASSERT_FALSE(late) << "what the test waits for did not happen";
  }
  /// Has run_until() look again.
  void progress() { loop_.stop(); }
  /// Runs what is already on its way.
  void run_posted() {
    bool done = false;
    transport::Timer timer(loop_);  // expires behind what the sockets have to say by then
    loop_.post([&] {
      timer.arm(loop_.now(), [&] {
        done = true;
        progress();
      });
    });
    run_until([&] { return done; });
  }

  transport::Loop loop_;
};

}  // namespace tillbridge::test
