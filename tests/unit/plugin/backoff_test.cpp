#include "plugin/backoff.hpp"

#include <gtest/gtest.h>

namespace tillbridge::plugin {
namespace {

TEST(Backoff, AnAnnouncedRestartIsLookedForOftenAndNotForEver) {
  Backoff backoff(1);
  for (int attempt = 0; attempt < 10; ++attempt) (void)backoff.next();  // it waits long by now
  backoff.expect_soon();
  Duration looked_for{};
  for (int attempt = 0; attempt < Backoff::attempts_when_soon; ++attempt) {
    const Duration wait = backoff.next();
    EXPECT_LE(wait, Backoff::longest_when_soon);
    looked_for += wait;
  }
  EXPECT_GE(looked_for, std::chrono::seconds(3));
  Duration last{};
  for (int attempt = 0; attempt < 6; ++attempt) last = backoff.next();
  EXPECT_GE(last, Backoff::longest / 2);
}

TEST(Backoff, AGoodConnectionEndsTheHurry) {
  Backoff backoff(1);
  backoff.expect_soon();
  backoff.reset();
  Duration last{};
  for (int attempt = 0; attempt < 8; ++attempt) last = backoff.next();
  EXPECT_GE(last, Backoff::longest / 2);
}

}  // namespace
}  // namespace tillbridge::plugin
