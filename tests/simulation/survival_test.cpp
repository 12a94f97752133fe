// Bad days of shops, each from one seed that a failure prints with the command that repeats it and
// tells its story. README.md says how the simulation works and how to run thousands.
#include <cstdio>
#include <cstdlib>
#include <string>

#include <gmock/gmock.h>

#include "tests/simulation/shop.hpp"

namespace tillbridge::simulation {
namespace {

std::uint32_t setting(const char* name, std::uint32_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10));
}

/// So that nobody takes an idle run for a proof.
void print(const std::string& what, std::uint32_t runs, const Outcome& sum) {
  const auto count = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf("%s: %u runs, %.1f h of %llu tills and %llu sticks\n", what.c_str(), runs,
              static_cast<double>(sum.virtual_ms) / 3'600'000.0, count(sum.tills),
              count(sum.sticks));
  std::printf(
      "  happened: %llu cuts, %llu holes, %llu till deaths, %llu server deaths, "
      "%llu restarts, %llu pulls\n",
      count(sum.cuts), count(sum.holes), count(sum.till_deaths), count(sum.server_deaths),
      count(sum.restarts), count(sum.pulls));
  std::printf(
      "  survived: %llu connections, %llu sessions resumed, %llu leases continued, "
      "%llu handed over, sticks came %llu times and left %llu times\n",
      count(sum.connections), count(sum.resumed), count(sum.continued), count(sum.handed_over),
      count(sum.arrivals), count(sum.departures));
  std::printf(
      "  receipts: %llu, of these %llu verified, %llu reported as failed (%llu as not "
      "known); %llu signatures\n",
      count(sum.receipts), count(sum.verified), count(sum.failed), count(sum.unknown),
      count(sum.signatures));
  std::printf("  transfers: %llu to a stick, %llu that never came there, %llu ends of commands\n",
              count(sum.transfers), count(sum.lost), count(sum.command_ends));
}

class SurvivalTest : public ::testing::Test {
 protected:
  static void TearDownTestSuite() {
    if (all_runs_ > 0) print("all weathers", all_runs_, all_);
  }

  static Outcome runs(Weather weather) {
    const std::uint32_t first = setting("TILLBRIDGE_SEED", 1);
    const std::uint32_t count = setting("TILLBRIDGE_RUNS", 6);
    Outcome sum;
    std::uint32_t done = 0;
    for (std::uint32_t seed = first; seed - first < count; ++seed) {
      const Outcome outcome = simulate(seed, weather);
      EXPECT_EQ(outcome.violation, "")
          << name_of(weather) << ", seed " << seed
          << "; to see how it came to that:\n  TILLBRIDGE_SEED=" << seed
          << " TILLBRIDGE_RUNS=1 TILLBRIDGE_STORY=1 survival_test --gtest_filter="
          << "SurvivalTest." << testing::UnitTest::GetInstance()->current_test_info()->name();
      done += 1;
      sum.add(outcome);
      if (HasFailure()) break;
    }
    print(name_of(weather), done, sum);
    all_runs_ += done;
    all_.add(sum);
    return sum;
  }

 private:
  static inline std::uint32_t all_runs_ = 0;
  static inline Outcome all_;
};

TEST_F(SurvivalTest, InCalmWeather) {
  const Outcome sum = runs(Weather::calm);
  EXPECT_EQ(sum.failed, 0U);
}

TEST_F(SurvivalTest, CutsEvery50To500Milliseconds) {
  const Outcome sum = runs(Weather::cuts);
  EXPECT_GT(sum.cuts, 0U);
  EXPECT_EQ(sum.lost, 0U);
}

TEST_F(SurvivalTest, HalfOpenConnectionsAndLateBytes) {
  const Outcome sum = runs(Weather::half_open);
  EXPECT_GT(sum.cuts, 0U);
  EXPECT_EQ(sum.lost, 0U);
}

TEST_F(SurvivalTest, BlackHolesUpTo30Seconds) {
  const Outcome sum = runs(Weather::holes);
  EXPECT_GT(sum.holes, 0U);
  EXPECT_EQ(sum.lost, 0U);
}

TEST_F(SurvivalTest, PlannedRestartsLoseNothing) {
  const Outcome sum = runs(Weather::restarts);
  EXPECT_GT(sum.restarts, 0U);
  EXPECT_EQ(sum.lost, 0U);
}

TEST_F(SurvivalTest, OutagesLongerThanTheGraceTime) {
  runs(Weather::outages);
}

TEST_F(SurvivalTest, TillsThatDie) {
  const Outcome sum = runs(Weather::till_deaths);
  EXPECT_GT(sum.till_deaths, 0U);
}

TEST_F(SurvivalTest, ServersThatDie) {
  const Outcome sum = runs(Weather::server_deaths);
  EXPECT_GT(sum.server_deaths, 0U);
}

TEST_F(SurvivalTest, SticksThatArePulled) {
  const Outcome sum = runs(Weather::pulls);
  EXPECT_GT(sum.pulls, 0U);
}

TEST_F(SurvivalTest, AllOfItTogether) {
  runs(Weather::storm);
}

TEST_F(SurvivalTest, OneSeedIsOneRun) {
  const Outcome first = simulate(7, Weather::storm);
  const Outcome second = simulate(7, Weather::storm);
  EXPECT_EQ(first.fingerprint, second.fingerprint);
}

void expect_caught(Sabotage sabotage) {
  const std::uint32_t count = setting("TILLBRIDGE_RUNS", 6);
  std::size_t sabotaged = 0;
  for (std::uint32_t seed = setting("TILLBRIDGE_SEED", 1); sabotaged < count; ++seed) {
    const Outcome outcome = simulate(seed, Weather::calm, sabotage);
    if (!outcome.sabotaged) continue;  // too few frames
    sabotaged += 1;
    EXPECT_NE(outcome.violation, "") << "seed " << seed;
  }
}

TEST_F(SurvivalTest, ALinkThatDropsAFrameIsCaught) {
  expect_caught(Sabotage::drop_frame);
}

TEST_F(SurvivalTest, ALinkThatRepeatsAFrameIsCaught) {
  expect_caught(Sabotage::replay_frame);
}

}  // namespace
}  // namespace tillbridge::simulation
