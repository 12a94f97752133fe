// MassStorageStick as a Bulk-Only device: splitting, halts, reset recovery, cancels, time. The
// thirteen cases are next door.

#include "channel/bytes/limits.hpp"
#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/device_driver.hpp"

namespace tillbridge::simulator {
namespace {

namespace scsi = massstorage::scsi;
using massstorage::CommandBlock;
using massstorage::CommandStatus;
using massstorage::StatusBlock;
using usb::TransferStatus;

using StickTransport = StickTest;

TEST_F(StickTransport, GetMaxLunIsZero) {
  const auto completion = driver_->control({0xA1, 0xFE, 0, 0, 1});
  EXPECT_EQ(completion.status, TransferStatus::success);
  EXPECT_EQ(completion.data, Bytes{0});
}

TEST_F(StickTransport, ClassRequestsForOthersStall) {
  EXPECT_EQ(driver_->control({0xA1, 0xFE, 0, 1, 1}).status, TransferStatus::stall) << "interface 1";
  EXPECT_EQ(driver_->control({0x21, 0xFF, 1, 0, 0}).status, TransferStatus::stall) << "wValue 1";
  EXPECT_EQ(driver_->control({0x21, 0x0A, 0, 0, 0}).status, TransferStatus::stall) << "SET_IDLE";
  EXPECT_EQ(driver_->control({0xC0, 0x01, 0, 4, 16}).status, TransferStatus::stall) << "vendor";
}

TEST_F(StickTransport, DataInMayBeSplitOnPacketBoundaries) {
  const Bytes content = pattern_bytes(8 * 512, 3);
  ASSERT_TRUE(stick_->medium().write(0, content).ok());
  send_command(scsi::read_10(0, 8), 4096, true);
  Bytes received;
  for (const std::uint32_t length : {512U, 1536U, 1024U, 1024U}) {
    const auto part = driver_->in(in_pipe, length);
    EXPECT_EQ(part.status, TransferStatus::success);
    EXPECT_EQ(part.actual_length, length);
    received.insert(received.end(), part.data.begin(), part.data.end());
  }
  EXPECT_EQ(received, content);
  EXPECT_EQ(read_status().status, CommandStatus::passed);
}

TEST_F(StickTransport, DataInThatDoesNotFitAPacketIsBabble) {
  send_command(scsi::read_10(0, 8), 4096, true);
  const auto part = driver_->in(in_pipe, 700);
  EXPECT_EQ(part.status, TransferStatus::overflow);
  EXPECT_EQ(part.actual_length, 512U);
}

TEST_F(StickTransport, DataOutMayBeSplitOnPacketBoundaries) {
  const Bytes content = pattern_bytes(8 * 512, 3);
  send_command(scsi::write_10(0, 8), 4096, false);
  std::size_t position = 0;
  for (const std::size_t length : {1024U, 512U, 2048U, 512U}) {
    const ByteView part = ByteView(content).subspan(position, length);
    EXPECT_EQ(driver_->out(out_pipe, {part.begin(), part.end()}).actual_length, length);
    position += length;
  }
  EXPECT_EQ(read_status().status, CommandStatus::passed);
  EXPECT_EQ(on_disk(0, 8), content);
}

TEST_F(StickTransport, AtFullSpeedTransfersMayCutBlocks) {
  StickOptions options;
  options.speed = usb::Speed::full;
  make(options);
  EXPECT_EQ(stick_->description().configurations[0].interfaces[0].endpoints[0].max_packet_size, 64);
  const Bytes content = pattern_bytes(1024, 4);
  send_command(scsi::write_10(5, 2), 1024, false);
  std::size_t position = 0;
  for (const std::size_t length : {64U, 448U + 64U, 128U, 320U}) {
    const ByteView part = ByteView(content).subspan(position, length);
    EXPECT_EQ(driver_->out(out_pipe, {part.begin(), part.end()}).status, TransferStatus::success);
    position += length;
  }
  EXPECT_EQ(read_status().status, CommandStatus::passed);
  send_command(scsi::read_10(5, 2), 1024, true);
  Bytes received;
  for (const std::uint32_t length : {192U, 640U, 192U}) {
    const auto part = driver_->in(in_pipe, length);
    received.insert(received.end(), part.data.begin(), part.data.end());
  }
  EXPECT_EQ(received, content);
  EXPECT_EQ(read_status().residue, 0U);
}

TEST_F(StickTransport, AHostThatEndsItsDataEarlyGetsAnErrorAndKeepsWhatItSent) {
  send_command(scsi::write_10(20, 4), 2048, false);
  EXPECT_EQ(driver_->out(out_pipe, Bytes(700, 0x77)).status, TransferStatus::success);
  EXPECT_EQ(driver_->out(out_pipe, Bytes(1348, 0x77)).status, TransferStatus::stall);
  clear_halt(out_pipe);
  const StatusBlock status = read_status();
  EXPECT_EQ(status.status, CommandStatus::failed);
  EXPECT_EQ(status.residue, 2048U - 512U);
  EXPECT_EQ(on_disk(20, 1), Bytes(512, 0x77));
  EXPECT_EQ(on_disk(21, 1), Bytes(512));
  const auto sense = run_in(scsi::request_sense(), 18);
  EXPECT_EQ(*scsi::parse_sense(sense.data), scsi::sense::data_phase_error);
}

TEST_F(StickTransport, AZeroLengthPacketEndsDataToo) {
  send_command(scsi::write_10(20, 2), 1024, false);
  EXPECT_EQ(driver_->out(out_pipe, Bytes(512, 1)).status, TransferStatus::success);
  EXPECT_EQ(driver_->out(out_pipe, {}).status, TransferStatus::success);
  expect_halted(out_pipe, true);
  EXPECT_EQ(read_status().status, CommandStatus::failed);
}

TEST_F(StickTransport, AZeroLengthPacketAfterAllDataBelongsToIt) {
  send_command(scsi::write_10(20, 1), 512, false);
  usb::Transfer transfer;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = out_pipe;
  transfer.data = Bytes(512, 1);
  transfer.length = 512;
  transfer.zero_packet = true;
  EXPECT_EQ(driver_->wait(driver_->submit(transfer)).status, TransferStatus::success);
  EXPECT_EQ(read_status().status, CommandStatus::passed);
}

TEST_F(StickTransport, ShortPacketsOnlyIfSoConfigured) {
  StickOptions options;
  options.halts_on_short_data = false;
  make(options);
  send_command(scsi::inquiry(255), 255, true);
  EXPECT_EQ(driver_->in(in_pipe, 255).actual_length, 36U);
  EXPECT_EQ(read_status().residue, 255U - 36U);

  send_command(scsi::read_10(0, 1), 1024, true);  // ends on a packet boundary within the transfer
  auto data = driver_->in(in_pipe, 1024);
  EXPECT_EQ(data.status, TransferStatus::success);
  EXPECT_EQ(data.actual_length, 512U);
  EXPECT_EQ(read_status().residue, 512U);

  send_command(scsi::read_10(0, 1), 1024, true);  // and at the end of one
  EXPECT_EQ(driver_->in(in_pipe, 512).actual_length, 512U);
  data = driver_->in(in_pipe, 512);
  EXPECT_EQ(data.status, TransferStatus::success);
  EXPECT_EQ(data.actual_length, 0U);
  EXPECT_EQ(read_status().residue, 512U);

  send_command(scsi::test_unit_ready(), 512, true);  // no data at all
  EXPECT_EQ(driver_->in(in_pipe, 512).actual_length, 0U);
  EXPECT_EQ(read_status().residue, 512U);
}

TEST_F(StickTransport, ShortNotOkIsHonoured) {
  send_command(scsi::inquiry(36), 36, true);
  usb::Transfer transfer;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = in_pipe;
  transfer.length = 512;
  transfer.short_not_ok = true;
  const auto completion = driver_->wait(driver_->submit(transfer));
  EXPECT_EQ(completion.status, TransferStatus::short_read);
  EXPECT_EQ(completion.actual_length, 36U);
}

TEST_F(StickTransport, AHostThatReadsPastItsDataGetsTheStatusInTheSameTransfer) {
  send_command(scsi::read_10(0, 1), 512, true);
  const auto completion = driver_->in(in_pipe, 1024);
  EXPECT_EQ(completion.status, TransferStatus::success);
  EXPECT_EQ(completion.actual_length, 512U + StatusBlock::size);
}

TEST_F(StickTransport, AStatusThatDoesNotFitIsBabbleAndStaysThere) {
  send_command(scsi::test_unit_ready(), 0, false);
  EXPECT_EQ(driver_->in(in_pipe, 12).status, TransferStatus::overflow);
  EXPECT_EQ(read_status().status, CommandStatus::passed);
}

class InvalidCommandBlock : public StickTest, public testing::WithParamInterface<int> {
 protected:
  Bytes broken() {
    CommandBlock block;
    block.tag = 5;
    block.cdb = scsi::test_unit_ready();
    Bytes bytes = massstorage::encode(block);
    switch (GetParam()) {
      case 0:
        bytes[0] = 'X';
        break;
      case 1:
        bytes.pop_back();
        break;
      case 2:
        bytes.push_back(0);
        break;
      case 3:
        bytes[14] = 0;
        break;
      case 4:
        bytes.clear();
        break;
      default:
        bytes[13] = 0x40;
        break;
    }
    return bytes;
  }
};

TEST_P(InvalidCommandBlock, HaltsBothPipesUntilResetRecovery) {
  EXPECT_EQ(driver_->out(out_pipe, broken()).status, TransferStatus::success)
      << "ACKed, then halted";
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(driver_->in(in_pipe, 13).status, TransferStatus::stall);
    EXPECT_EQ(driver_->out(out_pipe, Bytes(31)).status, TransferStatus::stall);
    clear_halt(in_pipe);
    clear_halt(out_pipe);
    expect_halted(in_pipe, true);
    expect_halted(out_pipe, true);
  }
  EXPECT_EQ(driver_->control(usb::bulk_only_reset(0)).status, TransferStatus::success);
  expect_halted(in_pipe, true);  // 3.1: the reset leaves the halts to the host
  expect_halted(out_pipe, true);
  clear_halt(in_pipe);
  clear_halt(out_pipe);
  expect_halted(in_pipe, false);
  expect_halted(out_pipe, false);
  EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
  EXPECT_TRUE(run_none(scsi::test_unit_ready()).good());
}

INSTANTIATE_TEST_SUITE_P(All, InvalidCommandBlock, testing::Range(0, 6));

TEST_F(StickTransport, AnInvalidCommandBlockOfSeveralPacketsIsCutAfterTheFirst) {
  const auto completion = driver_->out(out_pipe, Bytes(2048, 'U'));
  EXPECT_EQ(completion.status, TransferStatus::stall);
  EXPECT_EQ(completion.actual_length, 512U);
}

TEST_F(StickTransport, AClassDriverRecoversFromAWedgedStick) {
  driver_->out(out_pipe, Bytes(31));
  auto result = run_none(scsi::test_unit_ready());
  EXPECT_EQ(result.outcome, massstorage::Outcome::transport_failure);
  EXPECT_FALSE(result.needs_port_reset);
  EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
  EXPECT_TRUE(run_in(scsi::read_10(0, 1), 512).good());
}

TEST_F(StickTransport, TransfersWaitForTheirTurn) {
  // As the pipeline of the till does it: all three at once.
  CommandBlock block;
  block.tag = 9;
  block.data_length = 512;
  block.flags = CommandBlock::flag_in;
  block.cdb = scsi::read_10(1, 1);
  const auto status = driver_->submit_in(in_pipe, 512);
  const auto early = driver_->submit_in(in_pipe, 13);
  EXPECT_FALSE(driver_->ended(status).has_value()) << "nothing to read before the command";
  const auto command = driver_->submit_out(out_pipe, massstorage::encode(block));
  EXPECT_TRUE(driver_->ended(command).has_value());
  EXPECT_EQ(driver_->ended(status)->actual_length, 512U);
  EXPECT_EQ(driver_->ended(early)->actual_length, StatusBlock::size);
}

TEST_F(StickTransport, ASecondCommandWaitsUntilTheStatusWasFetched) {
  send_command(scsi::test_unit_ready(), 0, false);
  CommandBlock block;
  block.tag = 77;
  block.cdb = scsi::test_unit_ready();
  const auto second = driver_->submit_out(out_pipe, massstorage::encode(block));
  EXPECT_FALSE(driver_->ended(second).has_value());
  EXPECT_EQ(read_status().tag, sent_.tag);
  EXPECT_TRUE(driver_->ended(second).has_value());
  sent_ = block;
  EXPECT_EQ(read_status().tag, 77U);
}

TEST_F(StickTransport, DataPastTheCommandWaitsAndIsThenNoCommand) {
  send_command(scsi::write_10(30, 1), 512, false);
  const auto data = driver_->submit_out(out_pipe, Bytes(1024, 3));
  EXPECT_FALSE(driver_->ended(data).has_value());
  EXPECT_EQ(read_status().status, CommandStatus::passed);
  const auto completion = driver_->ended(data);
  ASSERT_TRUE(completion.has_value());
  EXPECT_EQ(completion->actual_length, 1024U);
  expect_halted(in_pipe, true);
  expect_halted(out_pipe, true);
}

TEST_F(StickTransport, ACancelledReadEndsOnceAndTheCommandGoesOn) {
  const auto read = driver_->submit_in(in_pipe, 512);
  stick_->cancel(read, driver_->now);
  const auto completion = driver_->ended(read);
  ASSERT_TRUE(completion.has_value());
  EXPECT_EQ(completion->status, TransferStatus::cancelled);
  stick_->cancel(read, driver_->now);
  EXPECT_FALSE(driver_->ended(read).has_value());
  EXPECT_TRUE(run_in(scsi::read_10(0, 1), 512).good());
}

TEST_F(StickTransport, BusResetEndsWhatRunsAndLosesTheConfiguration) {
  send_command(scsi::read_10(0, 8), 4096, true);
  const auto pending = driver_->submit_out(out_pipe, Bytes(31));
  stick_->reset(driver_->now);
  EXPECT_EQ(driver_->ended(pending)->status, TransferStatus::cancelled);
  EXPECT_EQ(stick_->description().active_configuration, 0);
  EXPECT_EQ(driver_->in(in_pipe, 512).status, TransferStatus::refused) << "not configured";
  driver_->configure();
  EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
  EXPECT_TRUE(run_in(scsi::read_10(0, 1), 512).good());
}

TEST_F(StickTransport, APortResetThatArrivesAsATransferIsABusReset) {
  const auto waiting = driver_->submit_in(in_pipe, 512);
  EXPECT_EQ(driver_->control(usb::port_reset()).status, TransferStatus::success);
  EXPECT_EQ(driver_->ended(waiting)->status, TransferStatus::cancelled);
  EXPECT_EQ(stick_->description().active_configuration, 0);
}

TEST_F(StickTransport, BusResetUnwedges) {
  driver_->out(out_pipe, Bytes(31));
  stick_->reset(driver_->now);
  driver_->configure();
  expect_halted(in_pipe, false);
  EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
}

TEST_F(StickTransport, EndpointsThatDoNotExistAreRefused) {
  EXPECT_EQ(driver_->in(0x83, 13).status, TransferStatus::refused);
  EXPECT_EQ(driver_->out(0x01, Bytes(31)).status, TransferStatus::refused);
  const auto wrong_type = driver_->submit_in(in_pipe, 8, usb::TransferType::interrupt);
  EXPECT_EQ(driver_->wait(wrong_type).status, TransferStatus::refused);
}

TEST_F(StickTransport, AFloodIsRefusedNotKept) {
  usb::TransferId first = 0;
  for (std::size_t i = 0; i < limits::transfers_in_flight_per_device; ++i) {
    const auto id = driver_->submit_in(in_pipe, 512);
    if (first == 0) first = id;
  }
  EXPECT_EQ(driver_->in(in_pipe, 512).status, TransferStatus::no_resources);
  stick_->cancel(first, driver_->now);
  EXPECT_EQ(driver_->ended(first)->status, TransferStatus::cancelled);
  EXPECT_FALSE(driver_->ended(driver_->submit_in(in_pipe, 512)).has_value()) << "room again";
}

class SlowStick : public StickTest {
 protected:
  void SetUp() override {
    StickOptions options;
    options.delay = Duration(250);
    make(options);
    driver_->now = Instant(1'000'000);
  }
  massstorage::CommandBlock read_block() {
    CommandBlock block;
    block.tag = 3;
    block.data_length = 512;
    block.flags = CommandBlock::flag_in;
    block.cdb = scsi::read_10(0, 1);
    return block;
  }
};

TEST_F(SlowStick, ATransferEndsExactlyItsDelayAfterItsSubmission) {
  const auto id = driver_->submit_out(out_pipe, massstorage::encode(read_block()));
  EXPECT_EQ(stick_->next_deadline(), Instant(1'000'250));
  driver_->now = Instant(1'000'249);
  EXPECT_FALSE(driver_->ended(id).has_value());
  driver_->now = Instant(1'000'250);
  EXPECT_TRUE(driver_->ended(id).has_value());
  EXPECT_EQ(stick_->next_deadline(), std::nullopt);
}

TEST_F(SlowStick, TransfersSubmittedTogetherEndOneAfterTheOther) {
  const auto command = driver_->submit_out(out_pipe, massstorage::encode(read_block()));
  const auto data = driver_->submit_in(in_pipe, 512);
  const auto status = driver_->submit_in(in_pipe, 13);
  driver_->now = Instant(1'000'499);
  EXPECT_TRUE(driver_->ended(command).has_value());
  EXPECT_FALSE(driver_->ended(data).has_value());
  driver_->now = Instant(1'000'500);
  EXPECT_TRUE(driver_->ended(data).has_value());
  EXPECT_FALSE(driver_->ended(status).has_value());
  EXPECT_EQ(stick_->next_deadline(), Instant(1'000'750));
  driver_->now = Instant(1'000'750);
  EXPECT_TRUE(driver_->ended(status).has_value());
}

TEST_F(SlowStick, TimesDoNotDependOnWhenItIsAskedToAdvance) {
  driver_->submit_out(out_pipe, massstorage::encode(read_block()));
  driver_->submit_in(in_pipe, 512);
  driver_->now = Instant(9'000'000);
  stick_->advance(driver_->now);
  driver_->submit_in(in_pipe, 13);
  EXPECT_EQ(stick_->next_deadline(), Instant(9'000'250));
}

TEST_F(SlowStick, AWriteCancelledBeforeItsTurnChangesNothing) {
  CommandBlock block;
  block.tag = 4;
  block.data_length = 512;
  block.cdb = scsi::write_10(40, 1);
  driver_->out(out_pipe, massstorage::encode(block));
  const auto data = driver_->submit_out(out_pipe, Bytes(512, 0xEE));
  stick_->cancel(data, driver_->now + Duration(249));
  EXPECT_EQ(driver_->ended(data)->status, TransferStatus::cancelled);
  driver_->now += Duration(10'000);
  stick_->advance(driver_->now);
  EXPECT_EQ(on_disk(40, 1), Bytes(512));
}

TEST_F(SlowStick, ACancelThatComesTooLateFindsItDone) {
  CommandBlock block;
  block.tag = 4;
  block.data_length = 512;
  block.cdb = scsi::write_10(40, 1);
  driver_->out(out_pipe, massstorage::encode(block));
  const auto data = driver_->submit_out(out_pipe, Bytes(512, 0xEE));
  driver_->now += Duration(250);
  stick_->cancel(data, driver_->now);
  EXPECT_EQ(driver_->ended(data)->status, TransferStatus::success);
  EXPECT_EQ(on_disk(40, 1), Bytes(512, 0xEE));
}

TEST_F(SlowStick, AReadThatWaitsForACommandSetsNoDeadline) {
  driver_->submit_in(in_pipe, 512);
  EXPECT_EQ(stick_->next_deadline(), std::nullopt);
}

}  // namespace
}  // namespace tillbridge::simulator
