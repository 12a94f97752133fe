// Faults and witness by themselves: what a test bench says, and what it is told.
#include "server/simulator/bench.hpp"

#include <gmock/gmock.h>

#include "channel/bytes/limits.hpp"

namespace tillbridge::simulator {
namespace {

Fault parsed(std::string_view text) {
  const auto fault = parse_fault(text);
  EXPECT_TRUE(fault.ok()) << fault.error().message;
  return fault.ok() ? *fault : Fault{};
}

TEST(Faults, AreWrittenAsWords) {
  const Fault fault = parsed("after-command unplug skip=3 times=2 ms=1000 percent=50 code=0x0c");
  EXPECT_EQ(fault.point, FaultPoint::after_command);
  EXPECT_EQ(fault.action, FaultAction::unplug);
  EXPECT_EQ(fault.skip, 3U);
  EXPECT_EQ(fault.times, 2U);
  EXPECT_EQ(fault.amount_ms, 1000U);
  EXPECT_EQ(fault.percent, 50U);
  EXPECT_EQ(fault.code, 0x0CU);
  EXPECT_FALSE(parsed("status stall").code);
}

TEST(Faults, EveryNameIsUnderstood) {
  for (int point = 0; point <= static_cast<int>(FaultPoint::answer); ++point) {
    for (int action = 0; action <= static_cast<int>(FaultAction::torn_write); ++action) {
      const auto a_point = static_cast<FaultPoint>(point);
      const auto an_action = static_cast<FaultAction>(action);
      const Fault fault = parsed(std::string(name_of(a_point)) + " " + name_of(an_action));
      EXPECT_EQ(fault.point, a_point);
      EXPECT_EQ(fault.action, an_action);
    }
  }
}

TEST(Faults, MistakesSayWhatIsAllowed) {
  for (const auto& [text, hint] : std::vector<std::pair<const char*, const char*>>{
           {"", "the first word must be one of command, data"},
           {"status", "the second word must be one of delay, stall"},
           {"status stall 7", "'7' must be KEY=NUMBER"},
           {"status stall skip=", "'skip=' must be KEY=NUMBER"},
           {"status stall skip=99999999999", "must be KEY=NUMBER"},
           {"status stall percent=0", "percent (1 to 100)"},
           {"status stall tries=1", "the keys are skip"}}) {
    const auto fault = parse_fault(text);
    ASSERT_FALSE(fault.ok()) << text;
    EXPECT_EQ(fault.error().code, ErrorCode::config);
    EXPECT_THAT(fault.error().message, testing::HasSubstr(hint));
  }
}

TEST(Faults, StrikeAfterSkippingAndOnlyForTheirCode) {
  Bench bench;
  ASSERT_TRUE(bench.faults.add(parsed("command stall skip=2 times=2 code=0x2a")).ok());
  EXPECT_FALSE(bench.strike(FaultPoint::status, 0x2A));
  EXPECT_FALSE(bench.strike(FaultPoint::command, 0x28));
  std::string passes;
  for (int pass = 0; pass < 6; ++pass) {
    passes += bench.strike(FaultPoint::command, 0x2A) ? "!" : ".";
  }
  EXPECT_EQ(passes, "..!!..");
  bench.faults.clear();
  ASSERT_TRUE(bench.faults.add(parsed("command stall times=0")).ok());
  EXPECT_TRUE(bench.strike(FaultPoint::command, 1));
  EXPECT_TRUE(bench.strike(FaultPoint::command, 2));
  EXPECT_THAT(bench.witness.to_json(), testing::HasSubstr("\"faults\":4,"));
}

TEST(Faults, ASeedDecidesWhichPasses) {
  const auto passes = [](std::uint64_t seed) {
    FaultPlan plan(seed);
    EXPECT_TRUE(plan.add(parsed("status stall times=0 percent=30")).ok());
    std::string text;
    for (int pass = 0; pass < 200; ++pass) text += plan.strike(FaultPoint::status, 0) ? "!" : ".";
    return text;
  };
  EXPECT_EQ(passes(7), passes(7));
  EXPECT_NE(passes(7), passes(8));
  const std::string text = passes(7);
  const auto struck = std::count(text.begin(), text.end(), '!');
  EXPECT_GT(struck, 30);
  EXPECT_LT(struck, 90);
}

TEST(Faults, AreBounded) {
  FaultPlan plan;
  for (std::size_t count = 0; count < limits::simulated_faults; ++count) {
    ASSERT_TRUE(plan.add({}).ok());
  }
  EXPECT_FALSE(plan.add({}).ok());
}

TEST(WitnessTest, NoticesAFrameThatIsRepeatedBeforeItsAnswerIsRead) {
  Witness witness;
  const Bytes frame{1, 2, 3}, other{1, 2, 4};
  witness.command(0x0A, frame);
  witness.answer_read();
  witness.command(0x0A, frame);  // a client may say the same thing twice
  EXPECT_EQ(witness.repeated_frames(), 0U);
  witness.command(0x0A, frame);  // but not without looking
  EXPECT_EQ(witness.repeated_frames(), 1U);
  witness.command(0x0A, other);
  EXPECT_EQ(witness.repeated_frames(), 1U);
  witness.power_cycle();
  witness.command(0x0A, other);  // a client that starts anew
  EXPECT_EQ(witness.repeated_frames(), 1U);
  EXPECT_EQ(witness.commands(), 5U);
}

TEST(WitnessTest, NoticesGapsAndDoublesOfTheCounter) {
  Witness witness;
  for (const std::uint64_t counter : {5U, 6U, 7U}) witness.signature(counter);
  EXPECT_EQ(witness.counter_gaps(), 0U);
  witness.signature(7);
  witness.signature(9);
  EXPECT_EQ(witness.counter_gaps(), 2U);
  EXPECT_EQ(witness.signatures(), 5U);
}

TEST(WitnessTest, WritesJson) {
  Witness witness;
  witness.scsi_command(0x28);
  witness.scsi_command(0x28);
  witness.scsi_command(0xA0);
  witness.command(0x90, {});
  witness.bus_reset();
  const std::string json = witness.to_json();
  EXPECT_THAT(json, testing::HasSubstr("\"scsi\":{\"0x28\":2,\"0xa0\":1}"));
  EXPECT_THAT(json, testing::HasSubstr("\"tse\":{\"0x90\":1}"));
  EXPECT_THAT(json, testing::HasSubstr("\"bus_resets\":1"));
  EXPECT_EQ(json.find('\n'), std::string::npos);
}

}  // namespace
}  // namespace tillbridge::simulator
