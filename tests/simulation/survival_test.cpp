// Thousands of bad days of a shop, each from one seed that a failure prints. To repeat one with its
// story: TILLBRIDGE_SEED=seed TILLBRIDGE_RUNS=1 TILLBRIDGE_STORY=1; for more of them:
// TILLBRIDGE_RUNS=count.
#include <cstdio>
#include <cstdlib>

#include <gmock/gmock.h>

#include "tests/simulation/shop.hpp"

namespace tillbridge::simulation {
namespace {

std::uint32_t setting(const char* name, std::uint32_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10));
}

Outcome runs(Weather weather) {
  const std::uint32_t first = setting("TILLBRIDGE_SEED", 1);
  const std::uint32_t count = setting("TILLBRIDGE_RUNS", 6);
  Outcome sum;
  std::uint32_t done = 0;
  for (std::uint32_t seed = first; seed < first + count; ++seed) {
    const Outcome outcome = simulate(seed, weather);
    EXPECT_EQ(outcome.violation, "") << name_of(weather) << ", seed " << seed;
    if (testing::Test::HasFailure()) break;
    done += 1;
    sum.receipts += outcome.receipts;
    sum.verified += outcome.verified;
    sum.failed += outcome.failed;
    sum.unknown += outcome.unknown;
    sum.cuts += outcome.cuts;
    sum.connections += outcome.connections;
    sum.arrivals += outcome.arrivals;
    sum.departures += outcome.departures;
    sum.till_deaths += outcome.till_deaths;
    sum.server_deaths += outcome.server_deaths;
    sum.restarts += outcome.restarts;
    sum.transfers += outcome.transfers;
    sum.lost_transfers += outcome.lost_transfers;
    sum.signatures += outcome.signatures;
    sum.virtual_ms += outcome.virtual_ms;
  }
  std::printf(
      "%s: %u runs, %zu receipts (%zu verified, %zu failed, of these %zu unknown), %zu cuts, %zu "
      "connections, %zu till deaths, %zu server deaths, %zu restarts, stick in session %zu times, "
      "left it %zu "
      "times, %llu transfers to the stick, %llu lost, %llu signatures, %.1f h\n",
      name_of(weather), done, sum.receipts, sum.verified, sum.failed, sum.unknown, sum.cuts,
      sum.connections, sum.till_deaths, sum.server_deaths, sum.restarts, sum.arrivals,
      sum.departures, static_cast<unsigned long long>(sum.transfers),
      static_cast<unsigned long long>(sum.lost_transfers),
      static_cast<unsigned long long>(sum.signatures),
      static_cast<double>(sum.virtual_ms) / 3'600'000.0);
  return sum;
}

TEST(SurvivalTest, InCalmWeather) {
  const Outcome sum = runs(Weather::calm);
  EXPECT_EQ(sum.failed, 0U);
}

TEST(SurvivalTest, CutsEvery50To500Milliseconds) {
  const Outcome sum = runs(Weather::cuts);
  EXPECT_GT(sum.cuts, 0U);
  EXPECT_EQ(sum.lost_transfers, 0U);
}

TEST(SurvivalTest, HalfOpenConnectionsAndLateBytes) {
  const Outcome sum = runs(Weather::half_open);
  EXPECT_GT(sum.cuts, 0U);
  EXPECT_EQ(sum.lost_transfers, 0U);
}

TEST(SurvivalTest, BlackHolesUpTo30Seconds) {
  const Outcome sum = runs(Weather::holes);
  EXPECT_GT(sum.cuts, 0U);
  EXPECT_EQ(sum.lost_transfers, 0U);
}

TEST(SurvivalTest, PlannedRestartsLoseNothing) {
  const Outcome sum = runs(Weather::restarts);
  EXPECT_GT(sum.restarts, 0U);
  EXPECT_EQ(sum.lost_transfers, 0U);
}

TEST(SurvivalTest, OutagesLongerThanTheGraceTime) {
  runs(Weather::outages);
}

TEST(SurvivalTest, TillsThatDie) {
  const Outcome sum = runs(Weather::till_deaths);
  EXPECT_GT(sum.till_deaths, 0U);
}

TEST(SurvivalTest, ServersThatDie) {
  const Outcome sum = runs(Weather::server_deaths);
  EXPECT_GT(sum.server_deaths, 0U);
}

TEST(SurvivalTest, AllOfItTogether) {
  runs(Weather::storm);
}

TEST(SurvivalTest, OneSeedIsOneRun) {
  const Outcome first = simulate(7, Weather::storm);
  const Outcome second = simulate(7, Weather::storm);
  EXPECT_EQ(first.fingerprint, second.fingerprint);
}

void expect_caught(Sabotage sabotage) {
  std::size_t sabotaged = 0;
  for (std::uint32_t seed = 1; sabotaged < 6; ++seed) {
    const Outcome outcome = simulate(seed, Weather::calm, sabotage);
    if (!outcome.sabotaged) continue;  // too few frames
    sabotaged += 1;
    EXPECT_NE(outcome.violation, "") << "seed " << seed;
  }
}

TEST(SurvivalTest, ALinkThatDropsAFrameIsCaught) {
  expect_caught(Sabotage::drop_frame);
}

TEST(SurvivalTest, ALinkThatRepeatsAFrameIsCaught) {
  expect_caught(Sabotage::replay_frame);
}

}  // namespace
}  // namespace tillbridge::simulation
