// Whatever a session does, the stick does the same with the pipeline as without, and the session
// sees the same.
#include <gtest/gtest.h>

#include "tests/unit/massstorage/pipeline_scripts.hpp"

namespace tillbridge::massstorage::test {
namespace {

TEST(PipelineEquivalenceTest, ForAnyClassDriver) {
  int failures = 0;
  PipelineCounters total;
  for (std::uint64_t seed = 1; seed <= 10000 && failures < 5; ++seed) {
    Dice dice(seed);
    const DriverScript script = roll_driver_script(dice);
    const Story plain = play(script, false);
    const Story piped = play(script, true);
    if (const std::string what = difference(plain, piped); !what.empty()) {
      std::vector<std::string> conversation;
      static_cast<void>(play(script, true, &conversation));
      ADD_FAILURE() << "seed " << seed << ": " << what << '\n' << lines(conversation);
      ++failures;
    }
    total.commands += piped.counters.commands;
    total.posted_commands += piped.counters.posted_commands;
    total.posted_data += piped.counters.posted_data;
    total.data_ahead += piped.counters.data_ahead;
    total.status_ahead += piped.counters.status_ahead;
    for (std::size_t i = 0; i < total.fall_backs.size(); ++i) {
      total.fall_backs[i] += piped.counters.fall_backs[i];
    }
  }
  // It was the pipeline that was tested.
  EXPECT_GT(total.posted_commands, total.commands / 2);
  EXPECT_GT(total.posted_data, 1000U);
  EXPECT_GT(total.data_ahead, 1000U);
  EXPECT_GT(total.status_ahead, 1000U);
  RecordProperty("counters", total.text());
}

TEST(PipelineEquivalenceTest, ForAnybodyWhoKeepsNoRules) {
  int failures = 0;
  for (std::uint64_t seed = 1; seed <= 12000 && failures < 5; ++seed) {
    Dice dice(seed);
    const FreeScript script = roll_free_script(dice);
    const FreeStory plain = FreePlayer(script, false).play();
    const FreeStory piped = FreePlayer(script, true).play();
    const std::string what = difference(plain, piped);
    if (what.empty()) continue;
    std::vector<std::string> conversation;
    static_cast<void>(FreePlayer(script, true, &conversation).play());
    ADD_FAILURE() << "seed " << seed << ": " << what << '\n' << lines(conversation);
    ++failures;
  }
}

}  // namespace
}  // namespace tillbridge::massstorage::test
