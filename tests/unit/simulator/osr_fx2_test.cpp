#include "server/simulator/osr_fx2.hpp"

#include <chrono>

#include "server/simulator/factory.hpp"
#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/device_driver.hpp"

namespace tillbridge::simulator {
namespace {

using usb::TransferStatus;
using usb::TransferType;
using namespace std::chrono_literals;

constexpr std::uint8_t switches_pipe = 0x81, out_pipe = 0x06, in_pipe = 0x88;

class Board : public testing::Test {
 protected:
  void SetUp() override { make({}); }
  void make(const OsrFx2Options& options) {
    board_ = make_osr_fx2(options);
    driver_ = std::make_unique<DeviceDriver>(*board_);
    driver_->configure();
  }
  usb::Completion write(std::uint8_t request, Bytes data) {
    const auto length = static_cast<std::uint16_t>(data.size());
    return driver_->control({0x40, request, 0, 0, length}, std::move(data));
  }
  usb::Completion read(std::uint8_t request) { return driver_->control({0xC0, request, 0, 0, 1}); }
  usb::TransferId read_switches() {
    return driver_->submit_in(switches_pipe, 1, TransferType::interrupt);
  }
  void set_switches(std::uint8_t positions) {
    switch_pack(*board_)->set_switches(positions, driver_->now);
  }
  std::unique_ptr<Device> board_;
  std::unique_ptr<DeviceDriver> driver_;
};

TEST_F(Board, HasTheThreePipesOfTheLearningBoard) {
  const usb::DeviceDescription& description = board_->description();
  EXPECT_EQ(description.device.vendor_id, 0x0547);
  EXPECT_EQ(description.device.product_id, 0x1002);
  ASSERT_EQ(description.configurations.size(), 1U);
  ASSERT_EQ(description.configurations[0].interfaces.size(), 1U);
  const auto& endpoints = description.configurations[0].interfaces[0].endpoints;
  ASSERT_EQ(endpoints.size(), 3U);
  EXPECT_EQ(endpoints[0].address, switches_pipe);
  EXPECT_EQ(endpoints[0].type(), TransferType::interrupt);
  EXPECT_EQ(endpoints[1].address, out_pipe);
  EXPECT_EQ(endpoints[1].type(), TransferType::bulk);
  EXPECT_EQ(endpoints[2].address, in_pipe);
  EXPECT_EQ(endpoints[2].max_packet_size, 512);
}

TEST_F(Board, EachDisplayShowsWhatWasWrittenUntilThePowerFails) {
  EXPECT_EQ(write(0xD8, {0x81}).actual_length, 1U);
  EXPECT_EQ(write(0xDB, {0xB3}).status, TransferStatus::success);
  board_->reset(driver_->now);
  EXPECT_EQ(read(0xD7).data, Bytes{0x81});
  EXPECT_EQ(read(0xD4).data, Bytes{0xB3});
  board_->power_cycle(driver_->now);
  EXPECT_EQ(read(0xD7).data, Bytes{0});
  EXPECT_EQ(read(0xD4).data, Bytes{0});
}

TEST_F(Board, KnowsItsSpeed) {
  EXPECT_EQ(read(0xD9).data, Bytes{0x80});
  OsrFx2Options options;
  options.speed = usb::Speed::full;
  make(options);
  EXPECT_EQ(read(0xD9).data, Bytes{0});
  EXPECT_EQ(board_->description().configurations[0].interfaces[0].endpoints[2].max_packet_size, 64);
}

TEST_F(Board, StallsWhatItsFirmwareDoesNotKnow) {
  EXPECT_EQ(read(0xD8).status, TransferStatus::stall) << "a write";
  EXPECT_EQ(read(0x01).status, TransferStatus::stall);
  EXPECT_EQ(write(0xD7, {1}).status, TransferStatus::stall) << "a read";
  EXPECT_EQ(write(0xD8, {1, 2}).status, TransferStatus::stall);
  EXPECT_EQ(write(0xD8, {}).status, TransferStatus::stall);
  EXPECT_EQ(driver_->control({0xC1, 0xD6, 0, 0, 1}).status, TransferStatus::stall) << "interface";
}

TEST_F(Board, EachChangeOfTheSwitchesIsOneByte) {
  const auto first = read_switches();
  EXPECT_FALSE(driver_->ended(first).has_value()) << "nobody touched them";
  set_switches(0x5A);
  EXPECT_EQ(driver_->ended(first)->data, Bytes{0x5A});
  EXPECT_EQ(read(0xD6).data, Bytes{0x5A});
  set_switches(0x5A);  // no change
  set_switches(0x5B);
  set_switches(0x00);
  EXPECT_EQ(driver_->wait(read_switches()).data, Bytes{0x5B});
  EXPECT_EQ(driver_->wait(read_switches()).data, Bytes{0x00});
  EXPECT_FALSE(driver_->ended(read_switches()).has_value());
}

TEST_F(Board, ChangesThatNobodyReadsAreNotKeptForEver) {
  for (int change = 1; change <= 100; ++change) set_switches(static_cast<std::uint8_t>(change));
  int kept = 0;
  while (driver_->ended(read_switches()) && kept < 100) ++kept;
  EXPECT_EQ(kept, 8);
}

TEST_F(Board, ASwitchFlipsByItselfWhileAReadWaits) {
  OsrFx2Options options;
  options.flip_every = 50ms;
  make(options);
  driver_->now = Instant(1s);
  EXPECT_FALSE(board_->next_deadline().has_value()) << "nobody reads";
  EXPECT_EQ(driver_->wait(read_switches()).data, Bytes{0x01});
  EXPECT_EQ(driver_->now, Instant(1s) + 50ms);
  const auto second = read_switches();
  const auto third = read_switches();
  EXPECT_EQ(driver_->wait(second).data, Bytes{0x03});
  EXPECT_EQ(driver_->now, Instant(1s) + 100ms);
  EXPECT_EQ(driver_->wait(third).data, Bytes{0x07});
  EXPECT_EQ(driver_->now, Instant(1s) + 150ms) << "one flip for each, not both at once";
}

TEST_F(Board, LoopsBackPacketByPacket) {
  EXPECT_EQ(driver_->out(out_pipe, {1, 2, 3, 4, 5}).actual_length, 5U);
  EXPECT_EQ(driver_->out(out_pipe, {6}).actual_length, 1U);
  EXPECT_EQ(driver_->out(out_pipe, {}).status, TransferStatus::success);
  EXPECT_EQ(driver_->in(in_pipe, 5).data, (Bytes{1, 2, 3, 4, 5}));
  EXPECT_EQ(driver_->in(in_pipe, 512).data, Bytes{6}) << "a short packet ends a transfer";
  EXPECT_EQ(driver_->in(in_pipe, 512).data, Bytes{}) << "an empty one, too";
  driver_->out(out_pipe, {1, 2, 3});
  EXPECT_EQ(driver_->in(in_pipe, 2).status, TransferStatus::overflow);
}

TEST_F(Board, TakesNoMoreThanItsBuffersHoldUntilSomeoneReads) {
  const Bytes content = pattern_bytes(10000, 7);
  const auto writing = driver_->submit_out(out_pipe, content);
  EXPECT_FALSE(driver_->ended(writing).has_value());
  const auto reading = driver_->submit_in(in_pipe, 16384);
  EXPECT_EQ(driver_->wait(writing).actual_length, content.size());
  EXPECT_EQ(driver_->wait(reading).data, content);
}

TEST_F(Board, NothingOfAnEarlierConfigurationIsLeft) {
  driver_->out(out_pipe, {1, 2, 3});
  set_switches(1);
  driver_->configure();
  EXPECT_FALSE(driver_->ended(driver_->submit_in(in_pipe, 512)).has_value());
  EXPECT_FALSE(driver_->ended(read_switches()).has_value());
  EXPECT_EQ(read(0xD6).data, Bytes{1}) << "the switches stand as they stood";
}

TEST(Factory, AnOsrFx2) {
  DeviceOptions options;
  options.kind = "osr-fx2";
  options.serial = "FX2";
  options.speed = "full";
  const auto device = make_device(options);
  ASSERT_TRUE(device.ok());
  EXPECT_EQ((*device)->description().device.vendor_id, 0x0547);
  EXPECT_EQ((*device)->description().serial, "FX2");
  EXPECT_NE(switch_pack(**device), nullptr);
  options.kind = "serial-echo";
  EXPECT_EQ(switch_pack(**make_device(options)), nullptr);
}

}  // namespace
}  // namespace tillbridge::simulator
