// Whatever a session does, the stick does the same with the pipeline as without, and the session
// sees the same.
#include <gtest/gtest.h>

#include "tests/unit/massstorage/pipeline_scripts.hpp"

namespace tillbridge::massstorage::test {
namespace {

/// Bulk-Only Transport 6.7: what the host expects (Hn, Hi, Ho) against what the device intends (Dn,
/// Di, Do), each with a stall of each phase, in one transfer and in several.
TEST(PipelineEquivalenceTest, InEachOfTheThirteenCases) {
  using simulator::FaultPoint;
  const Cdb nothing = scsi::test_unit_ready(), reads = scsi::read_10(2, 4),
            writes = scsi::write_10(2, 4);
  constexpr std::uint32_t all = 4 * simulator::block_bytes;
  const auto none = [](const Cdb& cdb) { return Command{cdb, DataDirection::none, 0, {}, 0}; };
  const auto in = [](const Cdb& cdb, std::uint32_t length) {
    return Command{cdb, DataDirection::in, length, {}, 0};
  };
  const auto out = [](const Cdb& cdb, std::uint32_t length) {
    return Command{cdb, DataDirection::out, length, pattern(length, 7), 0};
  };
  const std::vector<Command> cases = {
      none(nothing),        none(reads),
      none(writes),  // 1 Hn=Dn, 2 Hn<Di, 3 Hn<Do
      in(nothing, all),     in(reads, 2 * all),
      in(reads, all),                         // 4 Hi>Dn, 5 Hi>Di, 6 Hi=Di
      in(reads, all / 2),   in(writes, all),  // 7 Hi<Di, 8 Hi<>Do
      out(nothing, all),    out(reads, all),
      out(writes, 2 * all),                         // 9 Ho>Dn, 10 Ho<>Di, 11 Ho>Do
      out(writes, all),     out(writes, all / 2)};  // 12 Ho=Do, 13 Ho<Do
  for (std::size_t i = 0; i < cases.size(); ++i) {
    for (const auto stalled :
         {std::optional<FaultPoint>(), std::optional(FaultPoint::command),
          std::optional(FaultPoint::data), std::optional(FaultPoint::status)}) {
      for (const unsigned variant : {0U, 1U, 2U, 3U}) {
        DriverScript script;
        script.host.automatic_sense = false;
        script.host.max_transfer_bytes = (variant & 1U) != 0 ? 65536 : 1024;
        script.rig.stick.halts_on_short_data = (variant & 2U) != 0;
        script.rig.delay = std::chrono::milliseconds(10);
        // The first command takes the unit attention.
        script.commands = {none(nothing), cases[i], none(nothing), in(reads, all)};
        if (stalled) {
          simulator::Fault fault;
          fault.point = *stalled;
          fault.action = simulator::FaultAction::stall;
          fault.skip = *stalled == FaultPoint::data ? 0 : 1;
          script.rig.faults = {fault};
        }
        const Story piped = play(script, true);
        ASSERT_EQ(difference(play(script, false), piped), "")
            << "case " << i + 1 << ", variant " << variant << ", stalled phase "
            << (stalled ? static_cast<int>(*stalled) : -1);
        ASSERT_EQ(piped.counters.posted_commands, piped.counters.commands);
      }
    }
  }
}

TEST(PipelineEquivalenceTest, ForAnyClassDriver) {
  int failures = 0;
  PipelineCounters total;
  for (std::uint64_t seed = 1; seed <= sessions(1500) && failures < 5; ++seed) {
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
  EXPECT_GT(total.posted_data, total.commands / 20);
  EXPECT_GT(total.data_ahead, total.commands / 20);
  EXPECT_GT(total.status_ahead, total.commands / 3);
  RecordProperty("counters", total.text());
}

TEST(PipelineEquivalenceTest, ForAnybodyWhoKeepsNoRules) {
  int failures = 0;
  for (std::uint64_t seed = 1; seed <= sessions(1500) && failures < 5; ++seed) {
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
