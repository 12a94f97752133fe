#include "channel/massstorage/host.hpp"

#include <utility>

#include <gtest/gtest.h>

#include "channel/usb/requests.hpp"

namespace tillbridge::massstorage {
namespace {

using usb::Completion;
using usb::Transfer;
using usb::TransferStatus;

constexpr std::uint8_t in_pipe = 0x81, out_pipe = 0x02;

usb::DeviceDescription stick() {
  usb::DeviceDescription device;
  device.speed = usb::Speed::high;
  usb::InterfaceDescriptor other{0, 0, 0xFF, 0, 0, {{0x85, 2, 512, 0}, {0x05, 2, 512, 0}}};
  usb::InterfaceDescriptor storage{
      3, 0, 0x08, 0x06, 0x50, {{0x83, 3, 8, 1}, {in_pipe, 2, 512, 0}, {out_pipe, 2, 512, 0}}};
  usb::Configuration configuration;
  configuration.value = 1;
  configuration.interface_count = 2;
  configuration.interfaces = {other, storage};
  device.configurations = {configuration};
  return device;
}

/// Plays the device: takes the host's transfers one by one and answers each as the test says.
class Host : public testing::Test {
 protected:
  BulkOnlyHost make(const HostOptions& options = {}) {
    auto host = BulkOnlyHost::create(stick(), options);
    EXPECT_TRUE(host.ok());
    return *host;
  }

  Transfer next() {
    auto transfer = host_.poll_transfer();
    EXPECT_TRUE(transfer.has_value()) << "the host wants no transfer";
    EXPECT_FALSE(host_.poll_transfer().has_value()) << "never two at a time";
    last_ = transfer.value_or(Transfer{});
    return last_;
  }
  void answer(TransferStatus status, Bytes data = {}) {
    Completion completion;
    completion.id = last_.id;
    completion.status = status;
    completion.data = std::move(data);
    completion.actual_length = static_cast<std::uint32_t>(
        last_.in() ? completion.data.size()
                   : (status == TransferStatus::success ? last_.data.size() : 0));
    host_.complete(completion);
  }
  /// The host sends a CBW, which is taken.
  CommandBlock take_command() {
    const Transfer transfer = next();
    EXPECT_EQ(transfer.endpoint, out_pipe);
    EXPECT_EQ(transfer.type, usb::TransferType::bulk);
    const auto block = parse_command_block(transfer.data);
    EXPECT_TRUE(block.ok());
    answer(TransferStatus::success);
    tag_ = block->tag;
    return *block;
  }
  Transfer expect_in(std::uint32_t length) {
    const Transfer transfer = next();
    EXPECT_EQ(transfer.endpoint, in_pipe);
    EXPECT_EQ(transfer.length, length);
    return transfer;
  }
  void give_status(CommandStatus status, std::uint32_t residue = 0) {
    expect_in(StatusBlock::size);
    answer(TransferStatus::success, encode(StatusBlock{tag_, residue, status}));
  }
  void expect_control(const usb::SetupPacket& setup,
                      TransferStatus status = TransferStatus::success) {
    const Transfer transfer = next();
    EXPECT_EQ(transfer.type, usb::TransferType::control);
    EXPECT_EQ(transfer.setup, setup);
    answer(status);
  }
  void expect_recovery() {
    expect_control(usb::bulk_only_reset(3));
    expect_control(usb::clear_halt(in_pipe));
    expect_control(usb::clear_halt(out_pipe));
  }
  CommandResult result() {
    EXPECT_FALSE(host_.poll_transfer().has_value());
    auto result = host_.poll_result();
    EXPECT_TRUE(result.has_value()) << "no result yet";
    EXPECT_FALSE(host_.poll_result().has_value());
    EXPECT_FALSE(host_.busy());
    return result.value_or(CommandResult{});
  }

  BulkOnlyHost host_ = make();
  Transfer last_;
  std::uint32_t tag_ = 0;
};

TEST_F(Host, FindsTheInterfaceAndItsBulkEndpoints) {
  EXPECT_EQ(host_.interface_number(), 3);
  EXPECT_EQ(host_.in_endpoint(), in_pipe);
  EXPECT_EQ(host_.out_endpoint(), out_pipe);
  EXPECT_EQ(host_.configuration_value(), 1);
}

TEST_F(Host, OtherDevicesAreRefusedByName) {
  usb::DeviceDescription device = stick();
  device.configurations[0].interfaces.pop_back();
  const auto host = BulkOnlyHost::create(device);
  ASSERT_FALSE(host.ok());
  EXPECT_EQ(host.error().code, ErrorCode::refused);
  device.configurations.clear();
  EXPECT_FALSE(BulkOnlyHost::create(device).ok());
}

TEST_F(Host, ReadIsCommandDataStatus) {
  ASSERT_TRUE(host_.read(100, 8).ok());
  const CommandBlock block = take_command();
  EXPECT_EQ(block.cdb, scsi::read_10(100, 8));
  EXPECT_EQ(block.data_length, 4096U);
  EXPECT_EQ(block.direction(), DataDirection::in);
  expect_in(4096);
  answer(TransferStatus::success, Bytes(4096, 0x5A));
  give_status(CommandStatus::passed);
  const CommandResult ended = result();
  EXPECT_TRUE(ended.good());
  EXPECT_EQ(ended.data, Bytes(4096, 0x5A));
  EXPECT_EQ(ended.residue, 0U);
}

TEST_F(Host, WriteSendsTheData) {
  ASSERT_TRUE(host_.write(7, Bytes(1024, 0x33)).ok());
  const CommandBlock block = take_command();
  EXPECT_EQ(block.cdb, scsi::write_10(7, 2));
  EXPECT_EQ(block.direction(), DataDirection::out);
  const Transfer data = next();
  EXPECT_EQ(data.endpoint, out_pipe);
  EXPECT_EQ(data.data, Bytes(1024, 0x33));
  EXPECT_FALSE(data.zero_packet);
  answer(TransferStatus::success);
  give_status(CommandStatus::passed);
  EXPECT_TRUE(result().good());
}

TEST_F(Host, WithoutDataTheStatusFollowsAtOnce) {
  ASSERT_TRUE(host_.test_unit_ready().ok());
  EXPECT_EQ(take_command().data_length, 0U);
  give_status(CommandStatus::passed);
  EXPECT_TRUE(result().good());
}

TEST_F(Host, TagsAndTransferIdsAreNeverReused) {
  ASSERT_TRUE(host_.test_unit_ready().ok());
  const std::uint32_t first_tag = take_command().tag;
  const usb::TransferId first_id = last_.id;
  give_status(CommandStatus::passed);
  EXPECT_TRUE(result().good());
  ASSERT_TRUE(host_.test_unit_ready().ok());
  EXPECT_NE(take_command().tag, first_tag);
  EXPECT_GT(last_.id, first_id);
}

TEST_F(Host, SplitsDataIntoTransfersAsLinuxDoes) {
  HostOptions options;
  options.max_transfer_bytes = 2048;
  host_ = make(options);
  ASSERT_TRUE(host_.read(0, 9).ok());
  take_command();
  for (const std::uint32_t length : {2048U, 2048U, 512U}) {
    expect_in(length);
    answer(TransferStatus::success, Bytes(length, static_cast<std::uint8_t>(length >> 8U)));
  }
  give_status(CommandStatus::passed);
  EXPECT_EQ(result().data.size(), 9U * 512U);
}

TEST_F(Host, AShortPacketEndsTheDataEarly) {
  HostOptions options;
  options.max_transfer_bytes = 1024;
  host_ = make(options);
  ASSERT_TRUE(host_.read(0, 8).ok());
  take_command();
  expect_in(1024);
  answer(TransferStatus::success, Bytes(512, 1));
  give_status(CommandStatus::passed, 4096 - 512);
  const CommandResult ended = result();
  EXPECT_TRUE(ended.good());
  EXPECT_EQ(ended.data.size(), 512U);
  EXPECT_EQ(ended.residue, 3584U);
}

TEST_F(Host, PaddingThatTheResidueNamesIsCutOff) {
  ASSERT_TRUE(host_.inquiry().ok());
  take_command();
  expect_in(36);
  answer(TransferStatus::success, Bytes(36, 1));
  give_status(CommandStatus::passed, 30);
  EXPECT_EQ(result().data.size(), 6U);
}

TEST_F(Host, AStallInTheDataClearsTheHaltAndReadsTheStatus) {
  ASSERT_TRUE(host_.read(0, 8).ok());
  take_command();
  expect_in(4096);
  answer(TransferStatus::stall, Bytes(512, 9));
  expect_control(usb::clear_halt(in_pipe));
  give_status(CommandStatus::passed, 3584);
  const CommandResult ended = result();
  EXPECT_TRUE(ended.good());
  EXPECT_EQ(ended.data, Bytes(512, 9)) << "what came before the stall counts";
}

TEST_F(Host, AStallOfWrittenDataClearsTheOutPipe) {
  ASSERT_TRUE(host_.write(0, Bytes(512)).ok());
  take_command();
  next();
  answer(TransferStatus::stall);
  expect_control(usb::clear_halt(out_pipe));
  give_status(CommandStatus::failed, 512);
  take_command();  // REQUEST SENSE
  expect_in(18);
  answer(TransferStatus::success, encode(scsi::sense::write_protected));
  give_status(CommandStatus::passed);
  const CommandResult ended = result();
  EXPECT_EQ(ended.outcome, Outcome::check_condition);
  EXPECT_EQ(ended.sense, scsi::sense::write_protected);
  EXPECT_EQ(ended.residue, 512U);
  EXPECT_NE(ended.message.find("write protected"), std::string::npos);
}

TEST_F(Host, AStalledStatusIsReadOnceMore) {
  ASSERT_TRUE(host_.test_unit_ready().ok());
  take_command();
  expect_in(StatusBlock::size);
  answer(TransferStatus::stall);
  expect_control(usb::clear_halt(in_pipe));
  give_status(CommandStatus::passed);
  EXPECT_TRUE(result().good());
}

TEST_F(Host, AStatusStalledTwiceEndsInResetRecovery) {
  ASSERT_TRUE(host_.test_unit_ready().ok());
  take_command();
  expect_in(StatusBlock::size);
  answer(TransferStatus::stall);
  expect_control(usb::clear_halt(in_pipe));
  expect_in(StatusBlock::size);
  answer(TransferStatus::stall);
  expect_recovery();
  const CommandResult ended = result();
  EXPECT_EQ(ended.outcome, Outcome::transport_failure);
  EXPECT_FALSE(ended.needs_port_reset);
}

TEST_F(Host, AnEmptyPacketBeforeTheStatusIsSkippedOnce) {
  ASSERT_TRUE(host_.read(0, 1).ok());
  take_command();
  expect_in(512);
  answer(TransferStatus::success, Bytes(512));
  expect_in(StatusBlock::size);
  answer(TransferStatus::success);
  give_status(CommandStatus::passed);
  EXPECT_TRUE(result().good());
}

TEST_F(Host, AnInvalidStatusEndsInResetRecovery) {
  const auto status_bytes = [&](std::uint32_t tag) {
    return encode(StatusBlock{tag, 0, CommandStatus::passed});
  };
  for (int kind = 0; kind < 3; ++kind) {
    ASSERT_TRUE(host_.test_unit_ready().ok());
    take_command();
    expect_in(StatusBlock::size);
    Bytes bytes = status_bytes(kind == 0 ? tag_ + 1 : tag_);
    if (kind == 1) bytes.pop_back();
    if (kind == 2) bytes[0] = 'X';
    answer(TransferStatus::success, bytes);
    expect_recovery();
    const CommandResult ended = result();
    EXPECT_EQ(ended.outcome, Outcome::transport_failure) << kind;
    EXPECT_FALSE(ended.message.empty());
  }
}

TEST_F(Host, APhaseErrorEndsInResetRecovery) {
  ASSERT_TRUE(host_.read(0, 1).ok());
  take_command();
  expect_in(512);
  answer(TransferStatus::stall);
  expect_control(usb::clear_halt(in_pipe));
  give_status(CommandStatus::phase_error, 512);
  expect_recovery();
  const CommandResult ended = result();
  EXPECT_EQ(ended.outcome, Outcome::phase_error);
  EXPECT_EQ(ended.residue, 512U);
}

TEST_F(Host, ACommandThatIsNotTakenEndsInResetRecovery) {
  for (const TransferStatus status : {TransferStatus::stall, TransferStatus::error,
                                      TransferStatus::refused, TransferStatus::timeout}) {
    ASSERT_TRUE(host_.test_unit_ready().ok());
    next();
    answer(status);
    expect_recovery();
    EXPECT_EQ(result().outcome, Outcome::transport_failure);
  }
}

TEST_F(Host, FailedDataEndsInResetRecoveryWithoutReadingAStatus) {
  for (const TransferStatus status :
       {TransferStatus::error, TransferStatus::overflow, TransferStatus::no_resources}) {
    ASSERT_TRUE(host_.read(0, 1).ok());
    take_command();
    expect_in(512);
    answer(status);
    expect_recovery();
    EXPECT_EQ(result().outcome, Outcome::transport_failure);
  }
}

TEST_F(Host, ARecoveryThatFailsAsksForAPortReset) {
  ASSERT_TRUE(host_.test_unit_ready().ok());
  next();
  answer(TransferStatus::error);
  expect_control(usb::bulk_only_reset(3), TransferStatus::stall);
  expect_control(usb::clear_halt(in_pipe));
  expect_control(usb::clear_halt(out_pipe));
  EXPECT_TRUE(result().needs_port_reset);
}

TEST_F(Host, UnplugEndsTheCommandAtOnceWhereverItIs) {
  ASSERT_TRUE(host_.read(0, 1).ok());
  take_command();
  expect_in(512);
  answer(TransferStatus::device_gone);
  EXPECT_EQ(result().outcome, Outcome::device_gone);

  ASSERT_TRUE(host_.read(0, 1).ok());
  next();
  answer(TransferStatus::error);
  next();  // in the middle of the recovery
  answer(TransferStatus::device_gone);
  EXPECT_EQ(result().outcome, Outcome::device_gone);
}

TEST_F(Host, AbortCancelsAndRecovers) {
  ASSERT_TRUE(host_.read(0, 1).ok());
  take_command();
  expect_in(512);
  EXPECT_FALSE(host_.poll_cancel().has_value());
  host_.abort();
  EXPECT_EQ(host_.poll_cancel(), last_.id);
  EXPECT_FALSE(host_.poll_cancel().has_value());
  EXPECT_TRUE(host_.busy());
  answer(TransferStatus::cancelled);
  expect_recovery();
  EXPECT_EQ(result().outcome, Outcome::aborted);
}

TEST_F(Host, AbortBeforeTheTransferWasTakenNeedsNoCancel) {
  ASSERT_TRUE(host_.read(0, 1).ok());
  host_.abort();
  EXPECT_FALSE(host_.poll_cancel().has_value());
  expect_recovery();
  EXPECT_EQ(result().outcome, Outcome::aborted);
  host_.abort();  // nothing runs: nothing happens
  EXPECT_FALSE(host_.poll_transfer().has_value());
  EXPECT_FALSE(host_.poll_result().has_value());
}

TEST_F(Host, AbortThatComesTooLateStillEndsAsAborted) {
  ASSERT_TRUE(host_.read(0, 1).ok());
  take_command();
  expect_in(512);
  host_.abort();
  answer(TransferStatus::success, Bytes(512));
  expect_recovery();
  EXPECT_EQ(result().outcome, Outcome::aborted);
}

TEST_F(Host, SenseThatCannotBeReadLeavesACheckCondition) {
  ASSERT_TRUE(host_.test_unit_ready().ok());
  take_command();
  give_status(CommandStatus::failed);
  EXPECT_EQ(take_command().cdb, scsi::request_sense());
  expect_in(18);
  answer(TransferStatus::error);
  expect_recovery();
  const CommandResult ended = result();
  EXPECT_EQ(ended.outcome, Outcome::check_condition);
  EXPECT_EQ(ended.sense, std::nullopt);
}

TEST_F(Host, SenseIsLeftToTheCallerIfAskedTo) {
  HostOptions options;
  options.automatic_sense = false;
  host_ = make(options);
  ASSERT_TRUE(host_.test_unit_ready().ok());
  take_command();
  give_status(CommandStatus::failed);
  EXPECT_EQ(result().outcome, Outcome::check_condition);
}

TEST_F(Host, GetMaxLunMayStall) {
  ASSERT_TRUE(host_.get_max_lun().ok());
  expect_control({0xA1, 0xFE, 0, 3, 1}, TransferStatus::stall);
  CommandResult ended = result();
  EXPECT_TRUE(ended.good());
  EXPECT_EQ(ended.max_lun, 0);

  ASSERT_TRUE(host_.get_max_lun().ok());
  next();
  answer(TransferStatus::success, {2});
  ended = result();
  EXPECT_TRUE(ended.good());
  EXPECT_EQ(ended.max_lun, 2);

  ASSERT_TRUE(host_.get_max_lun().ok());
  next();
  answer(TransferStatus::error);
  EXPECT_EQ(result().outcome, Outcome::transport_failure);
}

TEST_F(Host, ReadCapacityTeachesTheBlockSize) {
  ASSERT_TRUE(host_.read_capacity().ok());
  take_command();
  expect_in(8);
  answer(TransferStatus::success, {0, 0, 0, 99, 0, 0, 16, 0});
  give_status(CommandStatus::passed);
  EXPECT_TRUE(result().good());
  EXPECT_EQ(host_.block_count(), 100U);
  EXPECT_EQ(host_.block_size(), 4096U);
  ASSERT_TRUE(host_.read(0, 2).ok());
  EXPECT_EQ(take_command().data_length, 8192U);
}

TEST_F(Host, OneCommandAtATimeAndWithinTheLimits) {
  EXPECT_EQ(host_.read(0, 129).error().code, ErrorCode::limit) << "64.5 KiB";
  EXPECT_FALSE(host_.write(0, Bytes(513)).ok());
  EXPECT_FALSE(host_.write(0, {}).ok());
  EXPECT_FALSE(host_.execute({{}, DataDirection::none, 0, {}, 0}).ok()) << "no command bytes";
  EXPECT_FALSE(host_.execute({scsi::read_12(0, 1), DataDirection::in, 0xFFFFFFFF, {}, 0}).ok());
  EXPECT_FALSE(host_.busy());
  ASSERT_TRUE(host_.read(0, 128).ok());
  EXPECT_FALSE(host_.read(0, 1).ok());
  EXPECT_FALSE(host_.get_max_lun().ok());
  take_command();
  expect_in(65536);
}

TEST_F(Host, CompletionsThatNobodyAskedForAreIgnored) {
  host_.complete({77, TransferStatus::success, 0, {}, {}});
  ASSERT_TRUE(host_.test_unit_ready().ok());
  host_.complete({1, TransferStatus::success, 31, {}, {}});  // not even polled yet
  take_command();
  expect_in(StatusBlock::size);
  host_.complete({last_.id + 1, TransferStatus::device_gone, 0, {}, {}});
  EXPECT_TRUE(host_.busy());
  answer(TransferStatus::success, encode(StatusBlock{tag_, 0, CommandStatus::passed}));
  host_.complete({last_.id, TransferStatus::device_gone, 0, {}, {}});  // told twice
  EXPECT_TRUE(result().good());
}

TEST_F(Host, MoreDataThanAskedForIsCutToWhatWasAsked) {
  ASSERT_TRUE(host_.inquiry().ok());
  take_command();
  expect_in(36);
  answer(TransferStatus::success, Bytes(4000, 1));
  give_status(CommandStatus::passed);
  EXPECT_EQ(result().data.size(), 36U);
}

}  // namespace
}  // namespace tillbridge::massstorage
