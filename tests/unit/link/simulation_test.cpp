// Thousands of bad days of a shop, each from one seed that a failure prints. To repeat one, or to
// run more of them: TILLBRIDGE_SEED=first TILLBRIDGE_RUNS=count.
#include "tests/unit/link/simulation.hpp"

#include <cstdio>
#include <cstdlib>

#include <gmock/gmock.h>

namespace tillbridge::test {
namespace {

std::uint32_t setting(const char* name, std::uint32_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10));
}

struct Sum {
  std::size_t runs = 0, transfers = 0, connections = 0, resumed = 0, failed = 0;
};

Sum runs(Weather weather) {
  const std::uint32_t first = setting("TILLBRIDGE_SEED", 1);
  const std::uint32_t count = setting("TILLBRIDGE_RUNS", 300);
  Sum sum;
  for (std::uint32_t seed = first; seed < first + count; ++seed) {
    const SimulationOutcome outcome = simulate(seed, weather);
    EXPECT_EQ(outcome.violation, "") << "seed " << seed;
    if (testing::Test::HasFailure()) break;
    sum.runs += 1;
    sum.transfers += outcome.transfers;
    sum.connections += outcome.connections;
    sum.resumed += outcome.resumed;
    sum.failed += outcome.failed_transfers;
  }
  std::printf("%zu runs: %zu transfers, %zu connections, %zu resumed, %zu transfers failed\n",
              sum.runs, sum.transfers, sum.connections, sum.resumed, sum.failed);
  return sum;
}

TEST(LinkSimulationTest, CutsLoseAndRepeatNothing) {
  const Sum sum = runs(Weather::cuts);
  EXPECT_GT(sum.resumed, 0U);
  EXPECT_EQ(sum.failed, 0U);
}

TEST(LinkSimulationTest, HalfOpenConnectionsAndLateBytes) {
  const Sum sum = runs(Weather::half_open);
  EXPECT_GT(sum.resumed, 0U);
  EXPECT_EQ(sum.failed, 0U);
}

TEST(LinkSimulationTest, BlackHoles) {
  const Sum sum = runs(Weather::holes);
  EXPECT_GT(sum.resumed, 0U);
  EXPECT_EQ(sum.failed, 0U);
}

TEST(LinkSimulationTest, RestartsAndOutagesFailWhatRanOnceAndRepeatNothing) {
  const Sum sum = runs(Weather::failures);
  EXPECT_GT(sum.resumed, 0U);
  EXPECT_GT(sum.failed, 0U) << "these runs would prove nothing";
}

TEST(LinkSimulationTest, ALinkThatDropsAFrameIsCaught) {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    EXPECT_NE(simulate(seed, Weather::holes, Sabotage::drop_frame).violation, "")
        << "seed " << seed;
  }
}

TEST(LinkSimulationTest, ALinkThatRepeatsAFrameIsCaught) {
  std::size_t twice = 0;
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    const std::string violation = simulate(seed, Weather::holes, Sabotage::replay_frame).violation;
    EXPECT_NE(violation, "") << "seed " << seed;
    twice += violation.find("reached the stick twice") != std::string::npos ? 1U : 0U;
  }
  EXPECT_GT(twice, 0U);
}

}  // namespace
}  // namespace tillbridge::test
