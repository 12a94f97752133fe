// Faults on purpose at the mass-storage stick, one by one, and what the witness says about them.

#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/device_driver.hpp"

namespace tillbridge::simulator {
namespace {

namespace scsi = massstorage::scsi;
using massstorage::CommandStatus;
using massstorage::Outcome;
using massstorage::StatusBlock;
using usb::TransferStatus;

/// Stands for a front end: wants something of the device, and lets the host wait.
class DemandingMedium final : public Medium {
 public:
  DemandingMedium(std::shared_ptr<Bench> bench, std::uint64_t blocks)
      : bench_(std::move(bench)), disk_(blocks) {}
  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] Status read(std::uint64_t block, std::span<std::uint8_t> data) override {
    bench_->demand = on_read;
    return disk_.read(block, data);
  }
  [[nodiscard]] Status write(std::uint64_t block, ByteView data) override {
    bench_->demand = on_write;
    return disk_.write(block, data);
  }
  [[nodiscard]] Status flush() override { return {}; }
  [[nodiscard]] Duration begin_command(std::uint8_t /*operation_code*/, Instant now) override {
    last_command = now;
    return waking;
  }
  void power_cycle(Instant /*now*/) override { ++power_cycles; }
  void bus_reset(Instant /*now*/) override { ++bus_resets; }

  std::optional<Fault> on_read, on_write;
  Duration waking{0};
  Instant last_command{};
  int power_cycles = 0, bus_resets = 0;

 private:
  std::shared_ptr<Bench> bench_;
  MemoryMedium disk_;
};

class StickFaults : public StickTest {
 protected:
  void SetUp() override { make_stick({}); }
  void make_stick(const StickOptions& options) {
    bench_ = std::make_shared<Bench>(7);
    auto medium = std::make_unique<DemandingMedium>(bench_, disk_blocks);
    medium_ = medium.get();
    make(options, std::move(medium), bench_);
    content_ = pattern_bytes(8 * 512, 3);
    ASSERT_TRUE(stick_->medium().write(0, content_).ok());
    bench_->demand.reset();
  }
  void strike(const char* text) {
    const auto fault = parse_fault(text);
    ASSERT_TRUE(fault.ok()) << fault.error().message;
    ASSERT_TRUE(bench_->faults.add(*fault).ok());
  }
  massstorage::CommandResult read() { return run_in(scsi::read_10(0, 8), 4096); }
  massstorage::CommandResult write(std::uint8_t fill) {
    return run_out(scsi::write_10(100, 8), Bytes(4096, fill));
  }
  void expect_hanging(usb::TransferId id) {
    EXPECT_FALSE(driver_->ended(id));
    EXPECT_FALSE(stick_->next_deadline()) << "nothing will happen by itself";
  }
  /// A command that never gets its status; the stick has left the bus or is dead.
  void expect_lost(const massstorage::Cdb& cdb, Bytes data) {
    send_command(cdb, static_cast<std::uint32_t>(data.empty() ? 4096 : data.size()), data.empty());
    if (data.empty()) {
      expect_hanging(driver_->submit_in(in_pipe, 4096));
    } else {
      expect_hanging(driver_->submit_out(out_pipe, std::move(data)));
    }
  }

  std::shared_ptr<Bench> bench_;
  DemandingMedium* medium_ = nullptr;
  Bytes content_;
};

TEST_F(StickFaults, NoneChangesNothing) {
  EXPECT_EQ(read().data, content_);
  EXPECT_TRUE(write(1).good());
  EXPECT_EQ(bench_->witness.scsi_commands(0x28), 1U);
  EXPECT_EQ(bench_->witness.scsi_commands(0x2A), 1U);
}

TEST_F(StickFaults, DelayAtEachPoint) {
  for (const char* text : {"command delay ms=30000 code=0x28", "data delay ms=30000 code=0x28",
                           "status delay ms=30000 code=0x28"}) {
    strike(text);
    const Instant before = driver_->now;
    EXPECT_EQ(run_none(scsi::test_unit_ready()).outcome, Outcome::good) << "another operation";
    EXPECT_EQ(driver_->now, before);
    EXPECT_EQ(read().data, content_) << text;
    EXPECT_EQ(driver_->now - before, std::chrono::seconds(30)) << text;
    EXPECT_EQ(read().data, content_) << "once only";
    EXPECT_EQ(driver_->now - before, std::chrono::seconds(30)) << text;
  }
}

TEST_F(StickFaults, ControlRequestsGoOnDuringADelay) {
  strike("command delay ms=30000");
  send_command(scsi::read_10(0, 8), 4096, true);
  const auto data = driver_->submit_in(in_pipe, 4096);
  EXPECT_FALSE(driver_->ended(data));
  EXPECT_EQ(driver_->control({0xA1, 0xFE, 0, 0, 1}).data, Bytes{0});
  EXPECT_EQ(driver_->now, Instant(0));
  EXPECT_EQ(driver_->wait(data).data, content_);
}

TEST_F(StickFaults, StallsAreRecoveredFrom) {
  strike("command stall");
  EXPECT_EQ(read().outcome, Outcome::transport_failure);
  strike("data stall");
  EXPECT_EQ(read().outcome, Outcome::check_condition);
  strike("data stall");
  EXPECT_EQ(write(2).outcome, Outcome::check_condition);
  EXPECT_EQ(on_disk(100, 1), Bytes(512)) << "nothing of it was taken";
  strike("status stall");
  EXPECT_EQ(read().data, content_) << "the status is read once more";
  EXPECT_EQ(bench_->witness.class_resets(), 1U) << "after the stalled CBW only";
}

TEST_F(StickFaults, SilenceLastsUntilAReset) {
  for (const char* text : {"command silence", "data silence", "status silence"}) {
    strike(text);
    ASSERT_TRUE(
        host_->execute({scsi::read_10(0, 8), massstorage::DataDirection::in, 4096, {}, 0}).ok());
    // Runs until a transfer hangs.
    std::optional<usb::TransferId> hanging;
    while (auto transfer = host_->poll_transfer()) {
      const usb::TransferId asked = transfer->id;
      const auto id = driver_->submit(std::move(*transfer));
      auto completion = driver_->ended(id);
      if (!completion) {
        hanging = id;
        expect_hanging(id);
        host_->abort();
        stick_->cancel(id, driver_->now);
        completion = driver_->ended(id);
        ASSERT_TRUE(completion);
      }
      completion->id = asked;
      host_->complete(*completion);
    }
    EXPECT_TRUE(hanging) << text;
    EXPECT_EQ(host_->poll_result()->outcome, Outcome::aborted);
    EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
    EXPECT_EQ(read().data, content_);
  }
}

TEST_F(StickFaults, ShortData) {
  strike("data short-data");
  const auto half = read();
  EXPECT_EQ(half.data, Bytes(content_.begin(), content_.begin() + 2048));
  EXPECT_EQ(half.residue, 2048U);
  strike("data short-data");
  EXPECT_EQ(write(3).outcome, Outcome::check_condition);
  EXPECT_EQ(on_disk(103, 1), Bytes(512, 3));
  EXPECT_EQ(on_disk(104, 1), Bytes(512));
  strike("status short-data");
  EXPECT_EQ(read().outcome, Outcome::transport_failure) << "half a CSW is none";
}

TEST_F(StickFaults, WrongStatus) {
  strike("status wrong-residue");
  EXPECT_EQ(read().residue, 512U);
  EXPECT_EQ(read().residue, 0U);
  strike("command phase-error");
  EXPECT_EQ(read().outcome, Outcome::phase_error);
  EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
}

TEST_F(StickFaults, OneBitFlips) {
  const auto different_bits = [](const Bytes& a, const Bytes& b) {
    int bits = 0;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      for (unsigned x = a[i] ^ b[i]; x != 0; x &= x - 1) ++bits;
    }
    return bits;
  };
  strike("data bit-flip");
  EXPECT_EQ(different_bits(read().data, content_), 1);
  EXPECT_EQ(read().data, content_);
  strike("data bit-flip");
  EXPECT_TRUE(write(0x55).good());
  EXPECT_EQ(different_bits(on_disk(100, 8), Bytes(4096, 0x55)), 1);
}

TEST_F(StickFaults, UnpluggedItIsGoneUntilItComesBack) {
  strike("data unplug ms=1000 code=0x2a");
  expect_lost(scsi::write_10(100, 8), Bytes(4096, 9));
  const auto departure = stick_->poll_departure();
  ASSERT_TRUE(departure);
  EXPECT_EQ(departure->back_after, std::chrono::seconds(1));
  EXPECT_FALSE(stick_->poll_departure()) << "told once";
  EXPECT_EQ(on_disk(100, 1), Bytes(512));
  expect_hanging(driver_->submit(usb::control_transfer(1, usb::set_configuration(1))));

  stick_->power_cycle(driver_->now);
  driver_->configure();
  EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
  EXPECT_EQ(read().data, content_);
  EXPECT_EQ(medium_->power_cycles, 1);
  EXPECT_EQ(bench_->witness.power_cycles(), 1U);
  EXPECT_NE(bench_->witness.to_json().find("\"unplugs\":1"), std::string::npos);
}

TEST_F(StickFaults, UnpluggedByHandNobodySaysWhenItIsBack) {
  strike("command unplug");
  expect_hanging([&] {
    massstorage::CommandBlock block;
    block.tag = 1;
    block.cdb = scsi::test_unit_ready();
    return driver_->submit_out(out_pipe, massstorage::encode(block));
  }());
  const auto departure = stick_->poll_departure();
  ASSERT_TRUE(departure);
  EXPECT_FALSE(departure->back_after);
}

TEST_F(StickFaults, ATornWriteKeepsItsFirstHalf) {
  strike("data torn-write code=0x2a");
  send_command(scsi::write_10(100, 8), 4096, false);
  EXPECT_EQ(driver_->out(out_pipe, Bytes(1024, 9)).status, TransferStatus::success);
  expect_hanging(driver_->submit_out(out_pipe, Bytes(3072, 9)));
  EXPECT_TRUE(stick_->poll_departure());
  EXPECT_EQ(on_disk(103, 1), Bytes(512, 9));
  EXPECT_EQ(on_disk(104, 1), Bytes(512));
}

TEST_F(StickFaults, DeadOnlyAPowerCycleHelps) {
  strike("status dead");
  send_command(scsi::test_unit_ready(), 0, false);
  expect_hanging(driver_->submit_in(in_pipe, 13));
  EXPECT_FALSE(stick_->poll_departure()) << "it is still plugged in";
  stick_->reset(driver_->now);
  expect_hanging(driver_->submit(usb::control_transfer(1, usb::set_configuration(1))));
  stick_->power_cycle(driver_->now);
  driver_->configure();
  EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
  EXPECT_EQ(bench_->witness.bus_resets(), 1U);
}

TEST_F(StickFaults, APowerCycleThatTheBusDoesNotNotice) {
  strike("status power-cycle code=0x28");
  EXPECT_EQ(read().data, content_);
  EXPECT_EQ(medium_->power_cycles, 1);
  EXPECT_TRUE(run_none(scsi::test_unit_ready()).good());
}

TEST_F(StickFaults, PortResetsAreNoPowerCycleUnlessSoConfigured) {
  stick_->reset(driver_->now);
  EXPECT_EQ(medium_->bus_resets, 1);
  EXPECT_EQ(medium_->power_cycles, 0);
  StickOptions options;
  options.port_reset_cuts_power = true;
  make_stick(options);
  stick_->reset(driver_->now);
  EXPECT_EQ(medium_->bus_resets, 0);
  EXPECT_EQ(medium_->power_cycles, 1);
}

TEST_F(StickFaults, PowerBringsAnEjectedMediumBack) {
  EXPECT_TRUE(run_none(scsi::start_stop_unit(false, true)).good());
  EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::not_ready_no_medium);
  stick_->power_cycle(driver_->now);
  driver_->configure();
  EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
  EXPECT_TRUE(run_none(scsi::test_unit_ready()).good());
}

TEST_F(StickFaults, AFrontEndsDemandsAreCarriedOut) {
  const auto demand = [](FaultAction action, std::uint32_t amount_ms = 0) {
    Fault fault;
    fault.action = action;
    fault.amount_ms = amount_ms;
    return fault;
  };
  medium_->on_write = demand(FaultAction::delay, 5000);
  EXPECT_TRUE(write(1).good());
  EXPECT_EQ(driver_->now, std::chrono::seconds(5));
  medium_->on_write = demand(FaultAction::stall);
  EXPECT_TRUE(write(1).good()) << "the status is read once more";
  medium_->on_write = demand(FaultAction::phase_error);
  EXPECT_EQ(write(1).outcome, Outcome::phase_error);
  (void)run_none(scsi::test_unit_ready());
  medium_->on_write.reset();
  medium_->on_read = demand(FaultAction::power_cycle);
  EXPECT_EQ(read().data, content_);
  EXPECT_EQ(medium_->power_cycles, 1);
  medium_->on_read = demand(FaultAction::unplug);
  expect_lost(scsi::read_10(0, 8), {});
  EXPECT_TRUE(stick_->poll_departure());
}

TEST_F(StickFaults, AFrontEndLetsTheHostWait) {
  medium_->waking = std::chrono::seconds(30);
  EXPECT_EQ(read().data, content_);
  EXPECT_EQ(driver_->now, std::chrono::seconds(30));
  EXPECT_EQ(medium_->last_command, Instant(0)) << "when the command came, not when it went on";
}

}  // namespace
}  // namespace tillbridge::simulator
