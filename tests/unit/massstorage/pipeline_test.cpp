// The pipeline's own rules, one by one: what goes to the stick, and when the session is told.
#include "channel/massstorage/pipeline.hpp"

#include <gtest/gtest.h>

#include "tests/unit/massstorage/pipeline_scripts.hpp"

namespace tillbridge::massstorage::test {
namespace {

using usb::TransferStatus;

constexpr std::chrono::milliseconds leg{10};  // one way

class PipelineTest : public testing::Test {
 protected:
  PipelineTest() {
    RigOptions options;
    options.delay = leg;
    make(options);
  }
  void make(const RigOptions& options) {
    rig_.emplace(options);
    ASSERT_TRUE(ended(rig_->control(usb::set_configuration(1))));
    ask({scsi::test_unit_ready(), DataDirection::none, 0, {}, 0});  // the unit attention
  }
  std::optional<usb::Completion> ended(usb::TransferId id) { return rig_->wait(id); }
  usb::TransferId command(const Cdb& cdb, DataDirection direction, std::uint32_t length) {
    CommandBlock block;
    block.tag = ++tag_;
    block.data_length = length;
    block.flags = direction == DataDirection::in ? CommandBlock::flag_in : std::uint8_t{0};
    block.cdb = cdb;
    return rig_->out(encode(block));
  }
  /// As class drivers do; the time it took.
  Duration ask(const Command& asked) {
    const Instant before = rig_->now;
    const auto length = asked.direction == DataDirection::out
                            ? static_cast<std::uint32_t>(asked.data.size())
                            : asked.length;
    EXPECT_TRUE(ended(command(asked.cdb, asked.direction, length)));
    if (asked.direction == DataDirection::in) {
      data_ = *ended(rig_->in(length));
    } else if (asked.direction == DataDirection::out) {
      data_ = *ended(rig_->out(asked.data));
    }
    status_ = *ended(rig_->in(StatusBlock::size));
    return rig_->now - before;
  }

  std::optional<Rig> rig_;
  std::uint32_t tag_ = 0;
  usb::Completion data_, status_;
};

TEST_F(PipelineTest, ACommandCostsOneRoundTrip) {
  EXPECT_EQ(ask({scsi::read_10(0, 8), DataDirection::in, 4096, {}, 0}), 2 * leg);
  EXPECT_EQ(data_.data.size(), 4096U);
  EXPECT_EQ(status_.data.size(), StatusBlock::size);
  EXPECT_EQ(ask({scsi::write_10(0, 8), DataDirection::out, 0, pattern(4096, 1), 0}), 2 * leg);
  EXPECT_EQ(ask({scsi::test_unit_ready(), DataDirection::none, 0, {}, 0}), 2 * leg);
  EXPECT_EQ(rig_->counters().posted_commands, 4U);
  EXPECT_EQ(rig_->counters().posted_data, 1U);
  EXPECT_EQ(rig_->counters().data_ahead, 1U);
  EXPECT_EQ(rig_->counters().status_ahead, 4U);
  for (const auto count : rig_->counters().fall_backs) EXPECT_EQ(count, 0U);
  EXPECT_EQ(rig_->problem, "");
}

TEST_F(PipelineTest, WithoutItThereAreThree) {
  RigOptions options;
  options.delay = leg;
  options.pipeline = false;
  make(options);
  EXPECT_EQ(ask({scsi::read_10(0, 8), DataDirection::in, 4096, {}, 0}), 6 * leg);
}

TEST_F(PipelineTest, DataOfOneCommandInPieces) {
  ask({scsi::write_10(0, 16), DataDirection::out, 0, pattern(8192, 3), 0});
  ASSERT_TRUE(ended(command(scsi::read_10(0, 16), DataDirection::in, 8192)));
  const Instant before = rig_->now;
  Bytes all;
  for (const std::uint32_t part : {3072U, 1024U, 4096U}) {
    const auto data = ended(rig_->in(part));
    ASSERT_EQ(data->data.size(), part);
    all.insert(all.end(), data->data.begin(), data->data.end());
  }
  EXPECT_EQ(all, pattern(8192, 3));
  EXPECT_EQ(ended(rig_->in(StatusBlock::size))->data.size(), StatusBlock::size);
  EXPECT_EQ(rig_->now - before, 2 * leg);
}

TEST_F(PipelineTest, ALateStallIsShownOnTheStatusAndClearedWhereItIs) {
  RigOptions options;
  options.delay = leg;
  options.stick.write_protected = true;
  make(options);
  ask({scsi::write_10(0, 8), DataDirection::out, 0, pattern(4096, 1), 0});
  EXPECT_EQ(data_.status, TransferStatus::success) << "posted";
  EXPECT_EQ(status_.status, TransferStatus::stall);
  EXPECT_EQ(rig_->counters().fell_back(PipelineCounters::FallBack::late_failure), 1U);
  ASSERT_EQ(ended(rig_->in(13))->status, TransferStatus::stall) << "until it is cleared";
  ASSERT_EQ(ended(rig_->control(usb::clear_halt(Rig::in_pipe)))->status, TransferStatus::success);
  const auto status = ended(rig_->in(StatusBlock::size));
  ASSERT_EQ(status->data.size(), StatusBlock::size);
  EXPECT_EQ(status->data.back(), 1) << "check condition";
  EXPECT_EQ(ask({scsi::request_sense(), DataDirection::in, 18, {}, 0}), 2 * leg)
      << "the OUT endpoint was cleared, and the pipeline goes on";
}

TEST_F(PipelineTest, ACommandThatIsNotTakenStallsEverythingUntilResetRecovery) {
  RigOptions options;
  options.delay = leg;
  simulator::Fault fault;
  fault.point = simulator::FaultPoint::command;
  fault.action = simulator::FaultAction::stall;
  fault.skip = 1;
  options.faults = {fault};
  make(options);
  ask({scsi::write_10(0, 8), DataDirection::out, 0, pattern(4096, 1), 0});
  EXPECT_EQ(status_.status, TransferStatus::stall);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(ended(rig_->control(usb::clear_halt(Rig::in_pipe))));
    EXPECT_EQ(ended(rig_->in(13))->status, TransferStatus::stall);
  }
  ASSERT_TRUE(ended(rig_->control(usb::bulk_only_reset(0))));
  ASSERT_TRUE(ended(rig_->control(usb::clear_halt(Rig::in_pipe))));
  ASSERT_TRUE(ended(rig_->control(usb::clear_halt(Rig::out_pipe))));
  ask({scsi::request_sense(), DataDirection::in, 18, {}, 0});
  EXPECT_EQ(status_.status, TransferStatus::success);
  EXPECT_EQ(rig_->deeds.size(), 2U) << "nothing of the lost command reached the disk";
}

TEST_F(PipelineTest, MoreDataThanTheBoundIsPostedBitByBit) {
  constexpr std::uint32_t piece = limits::pipeline_posted_bytes / 2;
  const Cdb cdb = scsi::write_10(0, 255);  // less than is sent: the stick takes what it wants
  ASSERT_TRUE(ended(command(cdb, DataDirection::out, 4 * piece)));
  const Instant before = rig_->now;
  ASSERT_TRUE(ended(rig_->out(pattern(piece, 1))));
  EXPECT_EQ(rig_->now, before);
  const auto second = ended(rig_->out(pattern(piece, 2)));
  EXPECT_GT(rig_->now, before) << "the command block, the first and the second are too much";
}

TEST_F(PipelineTest, TheNextCommandWaitsForTheStatus) {
  ASSERT_TRUE(ended(command(scsi::read_10(0, 1), DataDirection::in, 512)));
  const auto early = command(scsi::write_10(0, 1), DataDirection::out, 512);
  while (rig_->step()) {
  }
  EXPECT_TRUE(rig_->is_open(early));
  EXPECT_EQ(rig_->deeds.size(), 2U) << "it is not at the stick";
  EXPECT_EQ(ended(rig_->in(512))->data.size(), 512U);
  EXPECT_EQ(ended(rig_->in(13))->data.size(), 13U);
  EXPECT_EQ(ended(early)->status, TransferStatus::success);
}

TEST_F(PipelineTest, AWriteThatGotLostOnTheLinkEndsAsAnErrorAtItsStatus) {
  ASSERT_EQ(ended(command(scsi::write_10(0, 8), DataDirection::out, 4096))->status,
            TransferStatus::success);
  ASSERT_EQ(ended(rig_->out(pattern(4096, 1)))->status, TransferStatus::success);
  const auto asked_before = rig_->in(StatusBlock::size);
  rig_->lost();
  EXPECT_EQ(ended(asked_before)->status, TransferStatus::device_gone);
  EXPECT_EQ(ended(rig_->in(StatusBlock::size))->status, TransferStatus::device_gone);
  EXPECT_EQ(rig_->deeds.size(), 1U) << "it never came to the stick";
}

TEST_F(PipelineTest, AReadThatIsCancelledLeavesItsDataForTheNext) {
  ask({scsi::write_10(0, 2), DataDirection::out, 0, pattern(1024, 5), 0});
  ASSERT_TRUE(ended(command(scsi::read_10(0, 2), DataDirection::in, 1024)));
  const auto data = rig_->in(1024);
  const Instant before = rig_->now;
  rig_->cancel(data);
  EXPECT_EQ(ended(data)->status, TransferStatus::cancelled);
  EXPECT_EQ(rig_->now, before) << "it was not at the stick, so nobody had to be asked";
  EXPECT_EQ(ended(rig_->in(1024))->data, pattern(1024, 5));
  const auto status = rig_->in(StatusBlock::size);
  rig_->cancel(status);
  EXPECT_TRUE(ended(status)) << "whichever was first";
  EXPECT_EQ(rig_->problem, "");
}

TEST_F(PipelineTest, DataThatWasNotPostedCanBeCancelledAtTheStick) {
  constexpr std::uint32_t piece = limits::pipeline_posted_bytes;
  ASSERT_TRUE(ended(command(scsi::write_10(0, 255), DataDirection::out, 2 * piece)));
  ASSERT_EQ(ended(rig_->out(pattern(piece, 1)))->status, TransferStatus::success);
  const auto second = rig_->out(pattern(piece, 2));
  while (rig_->step()) {
  }
  rig_->cancel(second);
  EXPECT_NE(ended(second)->status, TransferStatus::success);
  for (const auto& setup :
       {usb::bulk_only_reset(0), usb::clear_halt(Rig::in_pipe), usb::clear_halt(Rig::out_pipe)}) {
    ASSERT_EQ(ended(rig_->control(setup))->status, TransferStatus::success);
  }
  EXPECT_EQ(ask({scsi::request_sense(), DataDirection::in, 18, {}, 0}), 2 * leg);
  EXPECT_EQ(rig_->problem, "");
}

TEST_F(PipelineTest, WhatWasReadAheadIsGoneAfterAReset) {
  ASSERT_TRUE(ended(command(scsi::read_10(0, 1), DataDirection::in, 512)));
  ASSERT_TRUE(ended(rig_->control(usb::bulk_only_reset(0))));
  ask({scsi::inquiry(36), DataDirection::in, 36, {}, 0});
  EXPECT_EQ(data_.data.size(), 36U);
  EXPECT_EQ(status_.data.size(), 13U);
  EXPECT_EQ(rig_->problem, "");
}

TEST_F(PipelineTest, AnotherAlternateSettingIsNotTouched) {
  simulator::MassStorageStick stick(std::make_unique<simulator::MemoryMedium>(16), {});
  usb::DeviceDescription device = stick.description();
  usb::InterfaceDescriptor attached_scsi = device.configurations[0].interfaces[0];
  attached_scsi.alternate_setting = 1;
  attached_scsi.interface_protocol = 0x62;
  device.configurations[0].interfaces.push_back(attached_scsi);
  device.active_configuration = 1;
  Pipeline pipeline(device);
  usb::Transfer transfer;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = Rig::in_pipe;
  EXPECT_TRUE(pipeline.concerns(transfer));
  pipeline.submit(usb::control_transfer(1, usb::set_interface(0, 1)));
  auto output = pipeline.poll();
  ASSERT_TRUE(output && std::holds_alternative<Pipeline::Submit>(*output));
  usb::Completion done;
  done.id = std::get<Pipeline::Submit>(*output).transfer.id;
  pipeline.complete(done);
  EXPECT_FALSE(pipeline.concerns(transfer));
}

TEST_F(PipelineTest, OtherDevicesAreNoneOfItsBusiness) {
  usb::DeviceDescription device;
  device.configurations.push_back({1, 0, 1, {{0, 0, 0x02, 0x02, 1, {{0x81, 2, 512, 0}}}}, {}});
  const Pipeline pipeline(device);
  EXPECT_FALSE(pipeline.useful());
  EXPECT_FALSE(pipeline.concerns(usb::control_transfer(1, usb::set_configuration(1))));
}

/// Given up at any moment: what was running may be done or not, but everything ends, the stick is
/// left usable, and nothing is made up.
TEST(PipelineRaceTest, AbortsAtAnyMoment) {
  for (std::uint64_t seed = 1; seed <= sessions(600); ++seed) {
    SCOPED_TRACE(seed);
    Dice dice(seed);
    DriverScript script = roll_driver_script(dice);
    script.rig.faults.clear();
    script.rig.stick.write_protected = false;
    Rig rig(script.rig);
    BulkOnlyHost host = host_for(script.rig, script.host);
    static_cast<void>(rig.wait(rig.control(usb::set_configuration(1))));
    for (const Command& command : script.commands) {
      if (!host.execute(command)) continue;
      const bool aborts = dice.below(2) == 0;
      const auto result =
          run(rig, host,
              aborts ? std::optional(Interruption{Interruption::Kind::given_up, dice.below(25)})
                     : std::nullopt);
      ASSERT_TRUE(result.has_value());
      if (!result->needs_port_reset) continue;  // recovery itself was given up
      ASSERT_TRUE(rig.wait(rig.control(usb::port_reset())));
      ASSERT_TRUE(rig.wait(rig.control(usb::set_configuration(1))));
    }
    for (int attention = 0; attention < 2; ++attention) {
      ASSERT_TRUE(host.test_unit_ready().ok());
      ASSERT_TRUE(run(rig, host).has_value());
    }
    const Bytes data = pattern(4096, 77);
    ASSERT_TRUE(host.write(64, data).ok());
    ASSERT_TRUE(run(rig, host)->good());
    ASSERT_TRUE(host.read(64, 8).ok());
    ASSERT_EQ(run(rig, host)->data, data);
    rig.lost();
    ASSERT_EQ(rig.open(), 0U);
    ASSERT_EQ(rig.problem, "");
  }
}

/// The link is cut for good, or the stick unplugged, at any moment: everything ends, and what the
/// session believes to be written is on the stick.
TEST(PipelineRaceTest, LostAtAnyMoment) {
  for (std::uint64_t seed = 1; seed <= sessions(400); ++seed) {
    SCOPED_TRACE(seed);
    Dice dice(seed);
    DriverScript script = roll_driver_script(dice);
    const std::uint32_t lost_in = dice.below(static_cast<std::uint32_t>(script.commands.size()));
    Rig rig(script.rig);
    BulkOnlyHost host = host_for(script.rig, script.host);
    static_cast<void>(rig.wait(rig.control(usb::set_configuration(1))));
    std::size_t promised = 0;
    for (std::uint32_t i = 0; i <= lost_in; ++i) {
      const Command& command = script.commands[i];
      if (!host.execute(command)) continue;
      std::optional<Interruption> interruption;
      if (i == lost_in) interruption = {Interruption::Kind::stick_lost, dice.below(20)};
      const auto result = run(rig, host, interruption);
      if (!result) break;  // a dead stick: nothing more comes from it, and it was not lost in time
      if (!result->good() || command.direction != DataDirection::out) continue;
      promised += (command.data.size() - result->residue) / simulator::block_bytes;
    }
    rig.lost();
    if (host.test_unit_ready()) {
      ASSERT_EQ(run(rig, host)->outcome, Outcome::device_gone);
    }
    const auto written =
        std::count_if(rig.deeds.begin(), rig.deeds.end(),
                      [](const std::string& deed) { return deed.starts_with("write "); });
    ASSERT_GE(static_cast<std::size_t>(written), promised);
    ASSERT_EQ(rig.open(), 0U);
    ASSERT_EQ(rig.problem, "");
  }
}

}  // namespace
}  // namespace tillbridge::massstorage::test
