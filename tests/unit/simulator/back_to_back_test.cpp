// BulkOnlyHost against MassStorageStick: random commands, seeded, against a model that is a plain
// array of bytes.

#include <random>

#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/device_driver.hpp"

namespace tillbridge::simulator {
namespace {

namespace scsi = massstorage::scsi;
using massstorage::Outcome;

struct Setting {
  std::uint32_t seed;
  usb::Speed speed;
  std::uint32_t max_transfer_bytes;
  bool halts_on_short_data;
  std::uint32_t delay_us;
};

std::ostream& operator<<(std::ostream& out, const Setting& setting) {
  return out << "seed " << setting.seed << ", transfers of " << setting.max_transfer_bytes;
}

class BackToBack : public StickTest, public testing::WithParamInterface<Setting> {
 protected:
  void SetUp() override {
    StickOptions options;
    options.speed = GetParam().speed;
    options.halts_on_short_data = GetParam().halts_on_short_data;
    options.delay = Duration(GetParam().delay_us);
    make(options);
    massstorage::HostOptions host_options;
    host_options.max_transfer_bytes = GetParam().max_transfer_bytes;
    host_ = std::make_unique<massstorage::BulkOnlyHost>(
        *massstorage::BulkOnlyHost::create(stick_->description(), host_options));
  }
  std::uint32_t random(std::uint32_t below) {
    return std::uniform_int_distribution<std::uint32_t>(0, below - 1)(random_);
  }

  void write_somewhere() {
    const std::uint32_t count = 1 + random(128);
    const std::uint32_t block = random(disk_blocks);
    const Bytes data = pattern_bytes(std::size_t{count} * block_bytes, random_());
    ASSERT_TRUE(host_->write(block, data).ok());
    const auto result = driver_->run(*host_);
    if (block + count > disk_blocks) {
      EXPECT_EQ(result.sense, scsi::sense::block_out_of_range);
      EXPECT_EQ(result.residue, data.size());
      return;
    }
    ASSERT_TRUE(result.good()) << result.message;
    EXPECT_EQ(result.residue, 0U);
    std::copy(data.begin(), data.end(), model_.begin() + block * std::ptrdiff_t{block_bytes});
  }
  void read_somewhere() {
    const std::uint32_t count = 1 + random(128);
    const std::uint32_t block = random(disk_blocks);
    ASSERT_TRUE(host_->read(block, static_cast<std::uint16_t>(count)).ok());
    const auto result = driver_->run(*host_);
    if (block + count > disk_blocks) {
      EXPECT_EQ(result.sense, scsi::sense::block_out_of_range);
      return;
    }
    ASSERT_TRUE(result.good()) << result.message;
    const auto begin = model_.begin() + block * std::ptrdiff_t{block_bytes};
    EXPECT_TRUE(std::equal(result.data.begin(), result.data.end(), begin,
                           begin + count * std::ptrdiff_t{block_bytes}));
  }
  /// Lengths that do not match the command: the model says what may have been written.
  void mismatched_write() {
    const std::uint32_t count = 1 + random(16), sent = 1 + random(16);
    const std::uint32_t block = random(disk_blocks - 16);
    const Bytes data = pattern_bytes(std::size_t{sent} * block_bytes, random_());
    const auto result = run_out(scsi::write_10(block, static_cast<std::uint16_t>(count)), data);
    if (sent < count) {
      EXPECT_EQ(result.outcome, Outcome::phase_error);
      EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
      return;
    }
    ASSERT_TRUE(result.good()) << result.message;
    EXPECT_EQ(result.residue, (sent - count) * block_bytes);
    std::copy_n(data.begin(), std::size_t{count} * block_bytes,
                model_.begin() + block * std::ptrdiff_t{block_bytes});
  }
  void mismatched_read() {
    const std::uint32_t count = random(16), wanted = 1 + random(16 * block_bytes);
    const std::uint32_t block = random(disk_blocks - 16);
    const auto result = run_in(scsi::read_10(block, static_cast<std::uint16_t>(count)), wanted);
    if (wanted < count * block_bytes) {
      EXPECT_EQ(result.outcome, Outcome::phase_error);
      EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
      return;
    }
    ASSERT_TRUE(result.good()) << result.message;
    ASSERT_EQ(result.data.size(), count * block_bytes);
    EXPECT_TRUE(std::equal(result.data.begin(), result.data.end(),
                           model_.begin() + block * std::ptrdiff_t{block_bytes}));
  }
  /// Gives up in the middle: after the recovery host and stick agree again.
  void abort_a_read() {
    ASSERT_TRUE(host_->read(random(disk_blocks - 16), 16).ok());
    for (std::uint32_t steps = random(3); steps > 0; --steps) {
      auto transfer = host_->poll_transfer();
      ASSERT_TRUE(transfer.has_value());
      const usb::TransferId asked = transfer->id;
      auto completion = driver_->wait(driver_->submit(*std::move(transfer)));
      completion.id = asked;
      host_->complete(completion);
    }
    host_->abort();
    EXPECT_EQ(driver_->run(*host_).outcome, Outcome::aborted);
    EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
  }
  void odd_command() {
    massstorage::Cdb cdb = scsi::inquiry(static_cast<std::uint16_t>(random(300)));
    if (random(2) == 0) cdb.bytes[0] = static_cast<std::uint8_t>(0xC0 + random(0x40));
    const auto result = run_in(cdb, 300);
    EXPECT_TRUE(result.outcome == Outcome::good || result.outcome == Outcome::check_condition)
        << result.message;
  }

  std::mt19937 random_{GetParam().seed};
  Bytes model_ = Bytes(disk_blocks * block_bytes);
};

TEST_P(BackToBack, TheDiskIsWhatTheModelSays) {
  for (int i = 0; i < 400 && !HasFatalFailure(); ++i) {
    SCOPED_TRACE(i);
    switch (random(8)) {
      case 0:
      case 1:
        write_somewhere();
        break;
      case 2:
      case 3:
        read_somewhere();
        break;
      case 4:
        mismatched_write();
        break;
      case 5:
        mismatched_read();
        break;
      case 6:
        abort_a_read();
        break;
      default:
        odd_command();
        break;
    }
  }
  EXPECT_EQ(on_disk(0, disk_blocks), model_);
}

INSTANTIATE_TEST_SUITE_P(
    Seeds, BackToBack,
    testing::Values(Setting{1, usb::Speed::high, 65536, true, 0},  // as Windows does it
                    Setting{2, usb::Speed::high, 16384, true, 0},  // as Linux does it
                    Setting{3, usb::Speed::full, 4096, true, 0},
                    Setting{4, usb::Speed::high, 65536, false, 0},
                    Setting{5, usb::Speed::full, 1024, false, 0},
                    Setting{6, usb::Speed::high, 65536, true, 125}));

}  // namespace
}  // namespace tillbridge::simulator
