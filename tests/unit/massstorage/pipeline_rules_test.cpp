// The guard rails, with the stick's answers given by hand: in an order, or of a kind, that a real
// stick has once a year.
#include <deque>

#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "tests/unit/massstorage/pipeline_scripts.hpp"

namespace tillbridge::massstorage::test {
namespace {

using usb::TransferStatus;

constexpr std::uint8_t in_pipe = 0x81, out_pipe = 0x02;

class PipelineRulesTest : public testing::Test {
 protected:
  PipelineRulesTest() {
    control(usb::set_configuration(1));
    answer();
  }

  // --- the session
  usb::TransferId submit(usb::Transfer transfer) {
    transfer.id = ++last_id_;
    EXPECT_TRUE(pipeline_.concerns(transfer));
    pipeline_.submit(std::move(transfer));
    drain();
    return last_id_;
  }
  usb::TransferId out(Bytes data) {
    usb::Transfer transfer;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = out_pipe;
    transfer.length = static_cast<std::uint32_t>(data.size());
    transfer.data = std::move(data);
    return submit(std::move(transfer));
  }
  usb::TransferId in(std::uint32_t length) {
    usb::Transfer transfer;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = in_pipe;
    transfer.length = length;
    return submit(std::move(transfer));
  }
  usb::TransferId control(const usb::SetupPacket& setup) {
    return submit(usb::control_transfer(1, setup));
  }
  void cancel(usb::TransferId id) {
    EXPECT_TRUE(pipeline_.cancel(id));
    drain();
  }
  usb::TransferId command(DataDirection direction, std::uint32_t length) {
    block_ = {};
    block_.tag = ++tag_;
    block_.data_length = length;
    block_.flags = direction == DataDirection::in ? CommandBlock::flag_in : std::uint8_t{0};
    block_.cdb = direction == DataDirection::out ? scsi::write_10(0, 1) : scsi::read_10(0, 1);
    return out(encode(block_));
  }
  /// Of the transfer's end, once; nothing if it has not ended.
  std::optional<usb::Completion> ended(usb::TransferId id) {
    auto node = ended_.extract(id);
    return node.empty() ? std::nullopt : std::optional(std::move(node.mapped()));
  }
  std::optional<TransferStatus> status(usb::TransferId id) {
    const auto completion = ended(id);
    return completion ? std::optional(completion->status) : std::nullopt;
  }

  // --- the stick
  /// Ends the transfer that was submitted first, or the one at `index`.
  void answer(TransferStatus status = TransferStatus::success, Bytes data = {},
              std::optional<std::uint32_t> actual_length = {}, std::size_t index = 0) {
    ASSERT_LT(index, at_stick_.size());
    const auto transfer = at_stick_.begin() + static_cast<std::ptrdiff_t>(index);
    usb::Completion completion;
    completion.id = transfer->id;
    completion.status = status;
    completion.actual_length = static_cast<std::uint32_t>(data.size());
    if (!transfer->in() && status == TransferStatus::success) {
      completion.actual_length = actual_length.value_or(transfer->length);
    }
    completion.data = std::move(data);
    at_stick_.erase(transfer);
    pipeline_.complete(std::move(completion));
    drain();
  }
  Bytes status_block(CommandStatus status = CommandStatus::passed) const {
    return encode(StatusBlock{block_.tag, 0, status});
  }
  /// A command without data that is done, through the pipeline or not.
  void whole_command() {
    command(DataDirection::none, 0);
    answer();
    const auto id = in(StatusBlock::size);
    answer(TransferStatus::success, status_block());
    ASSERT_EQ(status(id), TransferStatus::success);
  }
  /// Whether the session was told of the command before the stick took it.
  bool posts() { return ended(command(DataDirection::none, 0)).has_value(); }

  void drain() {
    while (auto output = pipeline_.poll()) {
      if (auto* submit = std::get_if<Pipeline::Submit>(&*output)) {
        at_stick_.push_back(std::move(submit->transfer));
      } else if (const auto* cancel = std::get_if<Pipeline::Cancel>(&*output)) {
        cancels_.push_back(cancel->id);
      } else {
        auto& completion = std::get<Pipeline::Complete>(*output).completion;
        const auto id = completion.id;
        EXPECT_TRUE(ended_.emplace(id, std::move(completion)).second) << "ended twice";
      }
    }
  }
  static usb::DeviceDescription device() {
    usb::DeviceDescription device;
    usb::Configuration configuration;
    configuration.value = 1;
    configuration.interfaces = {
        {0, 0, 0x08, 0x06, 0x50, {{in_pipe, 2, 512, 0}, {out_pipe, 2, 512, 0}}}};
    device.configurations = {configuration};
    return device;
  }

  Pipeline pipeline_{device()};
  std::deque<usb::Transfer> at_stick_;
  std::vector<usb::TransferId> cancels_;
  std::map<usb::TransferId, usb::Completion> ended_;
  usb::TransferId last_id_ = 0;
  std::uint32_t tag_ = 0;
  CommandBlock block_;
};

// --- what is posted, and what is not

TEST_F(PipelineRulesTest, AfterASelectTheFirstCommandIsPosted) {
  EXPECT_TRUE(posts());
}

TEST_F(PipelineRulesTest, NothingIsPostedBeforeTheStickIsKnownToWait) {
  whole_command();
  control(usb::bulk_only_reset(0));
  answer(TransferStatus::stall);
  EXPECT_FALSE(posts()) << "the reset failed";
  answer();
  control(usb::bulk_only_reset(0));
  const auto early = command(DataDirection::none, 0);
  EXPECT_FALSE(ended(early)) << "the reset has not ended";
  answer(TransferStatus::success, {}, {}, 1);
  EXPECT_EQ(status(early), TransferStatus::success);
  answer();
  EXPECT_FALSE(posts()) << "a command was sent behind the reset";
}

TEST_F(PipelineRulesTest, NothingIsPostedWhileAnotherSelectIsUnderWay) {
  control(usb::set_configuration(1));
  control(usb::set_configuration(0));
  answer();
  EXPECT_FALSE(posts());
}

TEST_F(PipelineRulesTest, AStatusOfAnotherCommandIsNoneOfThisOne) {
  command(DataDirection::none, 0);
  answer();
  in(StatusBlock::size);
  ++block_.tag;
  answer(TransferStatus::success, status_block());
  EXPECT_FALSE(posts());
  EXPECT_EQ(pipeline_.counters().fell_back(PipelineCounters::FallBack::bad_status), 1U);
}

TEST_F(PipelineRulesTest, AfterAPhaseErrorNothingIsPosted) {
  command(DataDirection::none, 0);
  answer();
  in(StatusBlock::size);
  answer(TransferStatus::success, status_block(CommandStatus::phase_error));
  EXPECT_FALSE(posts());
}

TEST_F(PipelineRulesTest, DataThatLooksLikeTheStatusIsNotTheStatus) {
  command(DataDirection::in, StatusBlock::size);
  answer();
  answer(TransferStatus::success, status_block());
  EXPECT_EQ(ended(in(StatusBlock::size))->data, status_block());
  in(StatusBlock::size);
  answer(TransferStatus::success, status_block(CommandStatus::phase_error));
  EXPECT_FALSE(posts());
}

TEST_F(PipelineRulesTest, ACommandOfMoreDataThanTheLimitIsNotPosted) {
  const auto id = command(DataDirection::in, limits::pipeline_read_bytes + 1);
  EXPECT_FALSE(ended(id));
  EXPECT_EQ(at_stick_.size(), 1U) << "and nothing is read ahead";
}

TEST_F(PipelineRulesTest, NothingIsPostedToHaltedEndpoints) {
  command(DataDirection::none, 0);
  answer();
  answer(TransferStatus::stall);
  EXPECT_EQ(status(in(StatusBlock::size)), TransferStatus::stall);
  control(usb::bulk_only_reset(0));  // does not clear halts (3.1)
  answer();
  EXPECT_FALSE(posts());
  answer();  // the command
  control(usb::clear_halt(in_pipe));
  answer();
  const auto id = in(StatusBlock::size);
  answer(TransferStatus::success, status_block());
  EXPECT_EQ(status(id), TransferStatus::success);
  EXPECT_TRUE(posts());
}

TEST_F(PipelineRulesTest, NothingIsPostedToAnEndpointThatHaltedUnderAForwardedTransfer) {
  const auto early = in(StatusBlock::size);
  answer(TransferStatus::stall);
  EXPECT_EQ(status(early), TransferStatus::stall);
  EXPECT_FALSE(posts());
}

// --- OUT: what the stick could take for something else waits

TEST_F(PipelineRulesTest, DataAsLongAsACommandBlockWaitsForTheCommand) {
  command(DataDirection::out, CommandBlock::size);
  const auto data = out(Bytes(CommandBlock::size));
  EXPECT_EQ(at_stick_.size(), 1U);
  EXPECT_FALSE(ended(data));
  answer();
  EXPECT_EQ(status(data), TransferStatus::success);
  EXPECT_EQ(at_stick_.front().data.size(), CommandBlock::size);
}

TEST_F(PipelineRulesTest, MoreThanWasAnnouncedWaitsForTheCommand) {
  command(DataDirection::out, 512);
  const auto data = out(Bytes(600));
  EXPECT_EQ(at_stick_.size(), 1U);
  answer();
  EXPECT_EQ(at_stick_.size(), 1U);
  EXPECT_FALSE(ended(data)) << "forwarded, not posted";
}

TEST_F(PipelineRulesTest, DataOfACommandThatWasNotTakenNeverReachesTheStick) {
  command(DataDirection::out, 1024);
  answer(TransferStatus::stall);
  EXPECT_EQ(status(out(Bytes(1024))), TransferStatus::stall);
  EXPECT_TRUE(at_stick_.empty());
  EXPECT_EQ(status(in(StatusBlock::size)), TransferStatus::stall);
}

TEST_F(PipelineRulesTest, DataBehindDataThatStalledNeverReachesTheStick) {
  command(DataDirection::out, 1024);
  out(Bytes(512));
  answer();
  answer(TransferStatus::stall);
  EXPECT_EQ(status(out(Bytes(512))), TransferStatus::stall);
  EXPECT_TRUE(at_stick_.empty());
}

TEST_F(PipelineRulesTest, WhatComesBehindDataThatStalledIsNoPartOfIt) {
  command(DataDirection::out, 1024);
  out(Bytes(512));
  answer();
  answer(TransferStatus::stall);
  EXPECT_EQ(status(in(StatusBlock::size)), TransferStatus::stall) << "so it knows";
  control(usb::clear_halt(in_pipe));
  answer();
  // The status was not read: the stick says NAK to the next command until it is.
  const auto next = command(DataDirection::none, 0);
  EXPECT_FALSE(ended(next)) << "forwarded, not posted as the other half of the data";
  in(StatusBlock::size);
  ASSERT_EQ(at_stick_.size(), 2U) << "the session's read reaches the stick meanwhile";
}

TEST_F(PipelineRulesTest, WhoReadsBeforeAllDataIsSentReadsTheStatusAlone) {
  command(DataDirection::out, 1024);
  out(Bytes(512));
  answer();
  answer();
  const auto early = in(StatusBlock::size);
  out(Bytes(512));
  ASSERT_EQ(at_stick_.size(), 2U) << "the session's read, then the data; no second read";
  answer(TransferStatus::success, {}, {}, 1);
  answer(TransferStatus::success, status_block());
  EXPECT_EQ(status(early), TransferStatus::success);
  EXPECT_TRUE(posts());
}

TEST_F(PipelineRulesTest, DataThatWasTakenInPartIsALateFailure) {
  command(DataDirection::out, 512);
  EXPECT_EQ(status(out(Bytes(512))), TransferStatus::success);
  answer();
  answer(TransferStatus::success, {}, 100);
  EXPECT_EQ(status(in(StatusBlock::size)), TransferStatus::stall);
}

TEST_F(PipelineRulesTest, EveryOtherFailureOfPostedDataStallsUntilAReset) {
  for (const auto failure :
       {TransferStatus::cancelled, TransferStatus::timeout, TransferStatus::error,
        TransferStatus::refused, TransferStatus::no_resources, TransferStatus::overflow}) {
    SCOPED_TRACE(usb::name(failure));
    command(DataDirection::out, 512);
    EXPECT_EQ(status(out(Bytes(512))), TransferStatus::success);
    answer();
    answer(failure);
    ASSERT_EQ(cancels_.size(), 1U) << "the status is not read any more";
    answer(TransferStatus::cancelled);
    cancels_.clear();
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(status(in(StatusBlock::size)), TransferStatus::stall);
      control(usb::clear_halt(in_pipe));
      EXPECT_EQ(at_stick_.front().setup, usb::clear_halt(in_pipe));
      answer();
    }
    control(usb::bulk_only_reset(0));
    answer();
    EXPECT_TRUE(at_stick_.empty());
  }
  EXPECT_TRUE(posts());
}

TEST_F(PipelineRulesTest, DataThatFailsBeforeItWasPostedIsToldAsItIs) {
  command(DataDirection::out, 2 * limits::pipeline_posted_bytes);
  const auto data = out(Bytes(limits::pipeline_posted_bytes));
  EXPECT_FALSE(ended(data)) << "with the command block it is more than the bound";
  answer(TransferStatus::success, {}, {}, 1);  // not posted any more: the command block is late
  EXPECT_EQ(status(data), TransferStatus::success);
  const auto second = out(Bytes(limits::pipeline_posted_bytes));
  EXPECT_FALSE(ended(second));
  answer(TransferStatus::stall, {}, {}, 1);
  EXPECT_EQ(status(second), TransferStatus::stall);
  answer();  // the command block, at last
  answer(TransferStatus::success, status_block());
  EXPECT_EQ(status(in(StatusBlock::size)), TransferStatus::success) << "it stalls only once";
}

TEST_F(PipelineRulesTest, AfterDataThatFailedTheNextThingIsACommand) {
  command(DataDirection::out, 2 * limits::pipeline_posted_bytes);
  const auto data = out(Bytes(limits::pipeline_posted_bytes));
  answer(TransferStatus::stall, {}, {}, 1);
  EXPECT_EQ(status(data), TransferStatus::stall);
  answer();
  command(DataDirection::none, 0);
  EXPECT_EQ(pipeline_.counters().commands, 2U);
}

TEST_F(PipelineRulesTest, DataThatTheSessionCancelsIsNotPostedAnyMore) {
  command(DataDirection::out, 2 * limits::pipeline_posted_bytes);
  const auto data = out(Bytes(limits::pipeline_posted_bytes));
  cancel(data);
  ASSERT_EQ(cancels_.size(), 1U);
  answer();  // the command block: now there is room
  EXPECT_FALSE(ended(data)) << "its fate is the stick's";
  answer(TransferStatus::cancelled);
  EXPECT_EQ(status(data), TransferStatus::cancelled);
}

// --- IN

TEST_F(PipelineRulesTest, ReadsAheadAreWhatTheCommandBlockAnnounces) {
  command(DataDirection::in, 36);
  ASSERT_EQ(at_stick_.size(), 3U);
  EXPECT_EQ(at_stick_[1].length, 36U) << "a stick might fill up whole packets";
  EXPECT_EQ(at_stick_[2].length, std::uint32_t{StatusBlock::size});
  EXPECT_FALSE(at_stick_[1].short_not_ok);
}

TEST_F(PipelineRulesTest, WhatIsAheadOfAClearedHaltEndsLastFirst) {
  command(DataDirection::in, 4096);
  answer();
  const auto data = at_stick_[0].id, end = at_stick_[1].id;
  control(usb::clear_halt(in_pipe));
  EXPECT_EQ(cancels_, (std::vector<usb::TransferId>{end, data}));
  EXPECT_EQ(at_stick_.size(), 2U) << "the request waits for both";
}

TEST_F(PipelineRulesTest, WhatIsAheadOfACommandThatFailedEndsLastFirst) {
  command(DataDirection::in, 4096);
  const auto data = at_stick_[1].id, end = at_stick_[2].id;
  answer(TransferStatus::error);
  EXPECT_EQ(cancels_, (std::vector<usb::TransferId>{end, data}));
  answer(TransferStatus::success, Bytes(4096));
  answer(TransferStatus::success, status_block());
  EXPECT_EQ(status(in(4096)), TransferStatus::stall) << "nobody asked for that";
}

TEST_F(PipelineRulesTest, PacketsOfAReadThatWasTakenBackAreNotLost) {
  command(DataDirection::in, 1024);
  answer();
  control(usb::clear_halt(in_pipe));
  answer(TransferStatus::cancelled, Bytes(512, 7));
  answer(TransferStatus::cancelled);
  answer();
  EXPECT_EQ(ended(in(512))->data, Bytes(512, 7));
  const auto rest = in(512);
  ASSERT_EQ(at_stick_.size(), 1U) << "from here on the session reads by itself";
  answer(TransferStatus::success, Bytes(512, 8));
  EXPECT_EQ(ended(rest)->data, Bytes(512, 8));
}

TEST_F(PipelineRulesTest, AReadGoesOnAtTheStickWithWhatIsMissing) {
  command(DataDirection::in, 1024);
  answer();
  control(usb::clear_halt(in_pipe));
  answer(TransferStatus::cancelled, Bytes(512, 7));
  answer(TransferStatus::cancelled);
  answer();
  const auto first = in(1024), second = in(StatusBlock::size);
  ASSERT_EQ(at_stick_.size(), 1U);
  EXPECT_EQ(at_stick_.front().length, 512U);
  control(usb::set_configuration(0));  // takes the endpoints away
  answer(TransferStatus::success, {}, {}, 1);
  answer(TransferStatus::cancelled);
  EXPECT_EQ(ended(first)->data, Bytes(512, 7));
  ASSERT_EQ(at_stick_.size(), 1U);
  EXPECT_EQ(at_stick_.front().endpoint, in_pipe);
  answer(TransferStatus::refused);
  EXPECT_EQ(status(second), TransferStatus::refused);
}

TEST_F(PipelineRulesTest, AReadThatNeverGotToTheStickIsTheSessionsToMake) {
  command(DataDirection::in, 512);
  answer();
  answer(TransferStatus::no_resources);
  answer(TransferStatus::no_resources);
  const auto data = in(512);
  EXPECT_FALSE(ended(data));
  answer(TransferStatus::success, Bytes(512, 1));
  EXPECT_EQ(ended(data)->data, Bytes(512, 1));
}

TEST_F(PipelineRulesTest, AReadAskedForBehindAClearedHaltDoesNotMeetIt) {
  command(DataDirection::in, 512);
  answer();
  answer(TransferStatus::stall);
  answer(TransferStatus::stall);
  control(usb::clear_halt(in_pipe));
  const auto id = in(StatusBlock::size);
  EXPECT_FALSE(ended(id));
  answer();
  ASSERT_EQ(at_stick_.size(), 1U);
  answer(TransferStatus::success, status_block());
  EXPECT_EQ(ended(id)->data, status_block());
}

}  // namespace
}  // namespace tillbridge::massstorage::test
