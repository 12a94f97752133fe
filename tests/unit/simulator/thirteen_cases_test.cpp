// Bulk-Only Transport 6.7: what host and device expect, in all thirteen combinations. Hn, Hi, Ho:
// the host expects no data, data in, data out; Dn, Di, Do: the device intends the same. The numbers
// are those of the specification.

#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/device_driver.hpp"

namespace tillbridge::simulator {
namespace {

namespace scsi = massstorage::scsi;
using massstorage::CommandStatus;
using usb::TransferStatus;

class ThirteenCases : public StickTest {
 protected:
  void SetUp() override {
    StickTest::SetUp();
    ASSERT_TRUE(stick_->medium().write(10, content_).ok());
  }
  void expect_status(CommandStatus status, std::uint32_t residue) {
    const massstorage::StatusBlock block = read_status();
    EXPECT_EQ(block.status, status);
    EXPECT_EQ(block.residue, residue);
  }
  void expect_phase_error() { EXPECT_EQ(read_status().status, CommandStatus::phase_error); }
  /// Whatever the case left behind, a host gets on after what the case asks of it.
  void expect_works() {
    const auto result = run_in(scsi::read_10(10, 1), 512);
    EXPECT_TRUE(result.good()) << result.message;
    EXPECT_EQ(on_disk(10, 4), content_) << "no case but 11 and 12 may write";
  }
  void recover_and_expect_works() {
    recover();
    EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
    expect_works();
  }

  Bytes content_ = pattern_bytes(2048, 7);
};

TEST_F(ThirteenCases, Case01_Hn_equals_Dn) {
  EXPECT_EQ(send_command(scsi::test_unit_ready(), 0, false).status, TransferStatus::success);
  expect_status(CommandStatus::passed, 0);
  expect_works();
}

TEST_F(ThirteenCases, Case01_Hn_equals_Dn_whatever_the_direction_flag_says) {
  send_command(scsi::test_unit_ready(), 0, true);
  expect_status(CommandStatus::passed, 0);
  expect_works();
}

TEST_F(ThirteenCases, Case02_Hn_less_than_Di) {
  send_command(scsi::read_10(10, 1), 0, true);
  expect_phase_error();
  recover_and_expect_works();
}

TEST_F(ThirteenCases, Case03_Hn_less_than_Do) {
  send_command(scsi::write_10(10, 1), 0, false);
  expect_phase_error();
  recover_and_expect_works();
}

TEST_F(ThirteenCases, Case04_Hi_greater_than_Dn) {
  send_command(scsi::test_unit_ready(), 512, true);
  const auto data = driver_->in(in_pipe, 512);
  EXPECT_EQ(data.status, TransferStatus::stall);
  EXPECT_EQ(data.actual_length, 0U);
  EXPECT_EQ(driver_->in(in_pipe, 13).status, TransferStatus::stall) << "halted until cleared";
  clear_halt(in_pipe);
  expect_status(CommandStatus::passed, 512);
  expect_works();
}

TEST_F(ThirteenCases, Case04_Hi_greater_than_Dn_because_the_command_fails) {
  send_command(scsi::read_10(disk_blocks, 1), 512, true);
  EXPECT_EQ(driver_->in(in_pipe, 512).status, TransferStatus::stall);
  clear_halt(in_pipe);
  expect_status(CommandStatus::failed, 512);
  expect_works();
}

TEST_F(ThirteenCases, Case05_Hi_greater_than_Di_ends_with_a_short_packet_then_a_halt) {
  send_command(scsi::inquiry(255), 255, true);
  const auto data = driver_->in(in_pipe, 255);
  EXPECT_EQ(data.status, TransferStatus::success);
  EXPECT_EQ(data.actual_length, 36U);
  EXPECT_EQ(driver_->in(in_pipe, 13).status, TransferStatus::stall);
  clear_halt(in_pipe);
  expect_status(CommandStatus::passed, 255 - 36);
  expect_works();
}

TEST_F(ThirteenCases, Case05_Hi_greater_than_Di_on_a_packet_boundary_stalls_within_the_transfer) {
  send_command(scsi::read_10(10, 2), 4096, true);
  const auto data = driver_->in(in_pipe, 4096);
  EXPECT_EQ(data.status, TransferStatus::stall);
  EXPECT_EQ(data.data, on_disk(10, 2)) << "what came before the stall counts";
  clear_halt(in_pipe);
  expect_status(CommandStatus::passed, 3072);
  expect_works();
}

TEST_F(ThirteenCases, Case05_Hi_greater_than_Di_on_a_transfer_boundary_stalls_the_next_transfer) {
  send_command(scsi::read_10(10, 2), 4096, true);
  EXPECT_EQ(driver_->in(in_pipe, 1024).data, on_disk(10, 2));
  EXPECT_EQ(driver_->in(in_pipe, 1024).status, TransferStatus::stall);
  clear_halt(in_pipe);
  expect_status(CommandStatus::passed, 3072);
  expect_works();
}

TEST_F(ThirteenCases, Case06_Hi_equals_Di) {
  send_command(scsi::read_10(10, 4), 2048, true);
  const auto data = driver_->in(in_pipe, 2048);
  EXPECT_EQ(data.status, TransferStatus::success);
  EXPECT_EQ(data.data, content_);
  expect_status(CommandStatus::passed, 0);
  expect_works();
}

TEST_F(ThirteenCases, Case07_Hi_less_than_Di) {
  send_command(scsi::read_10(10, 4), 512, true);
  EXPECT_EQ(driver_->in(in_pipe, 512).status, TransferStatus::stall);
  clear_halt(in_pipe);
  expect_phase_error();
  recover_and_expect_works();
}

TEST_F(ThirteenCases, Case08_Hi_and_Do) {
  send_command(scsi::write_10(10, 1), 512, true);
  EXPECT_EQ(driver_->in(in_pipe, 512).status, TransferStatus::stall);
  clear_halt(in_pipe);
  expect_phase_error();
  recover_and_expect_works();
}

TEST_F(ThirteenCases, Case09_Ho_greater_than_Dn) {
  send_command(scsi::test_unit_ready(), 512, false);
  const auto data = driver_->out(out_pipe, Bytes(512, 1));
  EXPECT_EQ(data.status, TransferStatus::stall);
  EXPECT_EQ(data.actual_length, 0U);
  clear_halt(out_pipe);
  expect_status(CommandStatus::passed, 512);
  expect_works();
}

TEST_F(ThirteenCases, Case09_Ho_greater_than_Dn_because_the_command_fails) {
  send_command(scsi::write_10(disk_blocks - 1, 2), 1024, false);
  EXPECT_EQ(driver_->out(out_pipe, Bytes(1024, 1)).status, TransferStatus::stall);
  clear_halt(out_pipe);
  expect_status(CommandStatus::failed, 1024);
  EXPECT_EQ(on_disk(disk_blocks - 1, 1), Bytes(512)) << "nothing of it is written";
  expect_works();
}

TEST_F(ThirteenCases, Case10_Ho_and_Di) {
  send_command(scsi::read_10(10, 1), 512, false);
  EXPECT_EQ(driver_->out(out_pipe, Bytes(512, 1)).status, TransferStatus::stall);
  clear_halt(out_pipe);
  expect_phase_error();
  recover_and_expect_works();
}

TEST_F(ThirteenCases, Case11_Ho_greater_than_Do) {
  send_command(scsi::write_10(100, 2), 2048, false);
  const auto data = driver_->out(out_pipe, Bytes(2048, 0x11));
  EXPECT_EQ(data.status, TransferStatus::stall);
  EXPECT_EQ(data.actual_length, 1024U);
  clear_halt(out_pipe);
  expect_status(CommandStatus::passed, 1024);
  EXPECT_EQ(on_disk(100, 2), Bytes(1024, 0x11));
  EXPECT_EQ(on_disk(102, 2), Bytes(1024)) << "not a block more than the command names";
  expect_works();
}

TEST_F(ThirteenCases, Case11_Ho_greater_than_Do_on_a_transfer_boundary) {
  send_command(scsi::write_10(100, 2), 2048, false);
  EXPECT_EQ(driver_->out(out_pipe, Bytes(1024, 0x11)).status, TransferStatus::success);
  EXPECT_EQ(driver_->out(out_pipe, Bytes(1024, 0x11)).status, TransferStatus::stall);
  clear_halt(out_pipe);
  expect_status(CommandStatus::passed, 1024);
  expect_works();
}

TEST_F(ThirteenCases, Case12_Ho_equals_Do) {
  send_command(scsi::write_10(100, 4), 2048, false);
  EXPECT_EQ(driver_->out(out_pipe, content_).status, TransferStatus::success);
  expect_status(CommandStatus::passed, 0);
  EXPECT_EQ(on_disk(100, 4), content_);
  expect_works();
}

TEST_F(ThirteenCases, Case13_Ho_less_than_Do) {
  send_command(scsi::write_10(100, 4), 512, false);
  EXPECT_EQ(driver_->out(out_pipe, Bytes(512, 1)).status, TransferStatus::stall);
  clear_halt(out_pipe);
  expect_phase_error();
  EXPECT_EQ(on_disk(100, 4), Bytes(2048)) << "a WRITE with a wrong length changes nothing";
  recover_and_expect_works();
}

/// The same through a whole class driver: each case ends, and the next command works.
TEST_F(ThirteenCases, AClassDriverGetsOverEachOfThem) {
  using massstorage::DataDirection;
  using massstorage::Outcome;
  struct Case {
    int number;
    massstorage::Cdb cdb;
    DataDirection direction;
    std::uint32_t length;
    Outcome outcome;
  };
  for (const Case& c : {
           Case{1, scsi::test_unit_ready(), DataDirection::none, 0, Outcome::good},
           Case{2, scsi::read_10(10, 1), DataDirection::none, 0, Outcome::phase_error},
           Case{3, scsi::write_10(10, 1), DataDirection::none, 0, Outcome::phase_error},
           Case{4, scsi::test_unit_ready(), DataDirection::in, 512, Outcome::good},
           Case{5, scsi::inquiry(255), DataDirection::in, 255, Outcome::good},
           Case{6, scsi::read_10(10, 4), DataDirection::in, 2048, Outcome::good},
           Case{7, scsi::read_10(10, 4), DataDirection::in, 512, Outcome::phase_error},
           Case{8, scsi::write_10(10, 1), DataDirection::in, 512, Outcome::phase_error},
           Case{9, scsi::test_unit_ready(), DataDirection::out, 512, Outcome::good},
           Case{10, scsi::read_10(10, 1), DataDirection::out, 512, Outcome::phase_error},
           Case{11, scsi::write_10(100, 1), DataDirection::out, 1024, Outcome::good},
           Case{12, scsi::write_10(100, 2), DataDirection::out, 1024, Outcome::good},
           Case{13, scsi::write_10(100, 4), DataDirection::out, 512, Outcome::phase_error},
       }) {
    SCOPED_TRACE(c.number);
    const Bytes data(c.direction == DataDirection::out ? c.length : 0, 0x22);
    const auto result = run({c.cdb, c.direction, c.length, data, 0});
    EXPECT_EQ(result.outcome, c.outcome) << result.message;
    EXPECT_FALSE(result.needs_port_reset);
    if (c.outcome == Outcome::phase_error) {
      EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
    }
    expect_works();
  }
}

}  // namespace
}  // namespace tillbridge::simulator
