#include "server/simulator/serial_echo.hpp"

#include "channel/bytes/limits.hpp"
#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/device_driver.hpp"

namespace tillbridge::simulator {
namespace {

using usb::TransferStatus;
using usb::TransferType;

constexpr std::uint8_t in_pipe = SerialEcho::data_in_endpoint,
                       out_pipe = SerialEcho::data_out_endpoint,
                       notifications = SerialEcho::notification_endpoint;

class Serial : public testing::Test {
 protected:
  void SetUp() override { driver_.configure(); }
  void set_terminal_ready(bool ready) {
    EXPECT_EQ(driver_.control({0x21, 0x22, static_cast<std::uint16_t>(ready ? 3 : 2), 0, 0}).status,
              TransferStatus::success);
  }
  SerialEcho echo_{SerialOptions{}};
  DeviceDriver driver_{echo_};
};

TEST_F(Serial, IsAnAbstractControlModel) {
  const auto& configuration = echo_.description().configurations.at(0);
  ASSERT_EQ(configuration.interfaces.size(), 2U);
  const auto& communication = configuration.interfaces[0];
  EXPECT_EQ(communication.interface_class, 0x02);
  EXPECT_EQ(communication.interface_subclass, 0x02);
  EXPECT_EQ(communication.interface_protocol, 0x01);
  EXPECT_EQ(communication.endpoints.at(0).type(), TransferType::interrupt);
  EXPECT_EQ(configuration.interfaces[1].interface_class, 0x0A);
  EXPECT_EQ(configuration.interfaces[1].endpoints.size(), 2U);
}

TEST_F(Serial, EchoesInOrderWhileTheTerminalIsReady) {
  set_terminal_ready(true);
  const auto read = driver_.submit_in(in_pipe, 512);
  EXPECT_FALSE(driver_.ended(read).has_value()) << "nothing to read yet";
  EXPECT_EQ(driver_.out(out_pipe, {'h', 'e', 'l'}).actual_length, 3U);
  EXPECT_EQ(driver_.ended(read)->data, (Bytes{'h', 'e', 'l'}));
  driver_.out(out_pipe, {'l'});
  driver_.out(out_pipe, {'o'});
  EXPECT_EQ(driver_.in(in_pipe, 512).data, (Bytes{'l', 'o'}));
}

TEST_F(Serial, DropsWhatComesWhileTheTerminalIsNotReady) {
  EXPECT_EQ(driver_.out(out_pipe, {'x'}).status, TransferStatus::success);
  set_terminal_ready(true);
  driver_.out(out_pipe, {'y'});
  EXPECT_EQ(driver_.in(in_pipe, 512).data, Bytes{'y'});
}

TEST_F(Serial, AFullBufferTakesNoMoreUntilItIsRead) {
  set_terminal_ready(true);
  const Bytes content = pattern_bytes(3 * limits::simulated_serial_buffer_bytes + 100, 5);
  const auto write = driver_.submit_out(out_pipe, content);
  EXPECT_FALSE(driver_.ended(write).has_value());
  Bytes received;
  while (received.size() < content.size()) {
    const auto part = driver_.in(in_pipe, 512);
    ASSERT_GT(part.actual_length, 0U);
    received.insert(received.end(), part.data.begin(), part.data.end());
  }
  EXPECT_EQ(received, content);
  const auto completion = driver_.ended(write);
  ASSERT_TRUE(completion.has_value());
  EXPECT_EQ(completion->actual_length, content.size());
}

TEST_F(Serial, ACancelledWriteSaysHowMuchWasTaken) {
  set_terminal_ready(true);
  const auto write =
      driver_.submit_out(out_pipe, Bytes(limits::simulated_serial_buffer_bytes + 1, 'z'));
  echo_.cancel(write, driver_.now);
  const auto completion = driver_.ended(write);
  EXPECT_EQ(completion->status, TransferStatus::cancelled);
  EXPECT_EQ(completion->actual_length, limits::simulated_serial_buffer_bytes);
}

TEST_F(Serial, NotifiesOfTheLineState) {
  const auto waiting = driver_.submit_in(notifications, 16, TransferType::interrupt);
  EXPECT_FALSE(driver_.ended(waiting).has_value());
  set_terminal_ready(true);
  EXPECT_EQ(driver_.ended(waiting)->data, (Bytes{0xA1, 0x20, 0, 0, 0, 0, 2, 0, 3, 0}));
  set_terminal_ready(true);  // no change, no notification
  const auto next = driver_.submit_in(notifications, 16, TransferType::interrupt);
  EXPECT_FALSE(driver_.ended(next).has_value());
  set_terminal_ready(false);
  EXPECT_EQ(driver_.ended(next)->data.at(8), 0);
}

TEST_F(Serial, LineCodingIsKept) {
  EXPECT_EQ(driver_.control({0xA1, 0x21, 0, 0, 7}).data, (Bytes{0x00, 0xC2, 1, 0, 0, 0, 8}));
  const Bytes slow{0x80, 0x25, 0, 0, 0, 0, 8};
  EXPECT_EQ(driver_.control({0x21, 0x20, 0, 0, 7}, slow).status, TransferStatus::success);
  EXPECT_EQ(driver_.control({0xA1, 0x21, 0, 0, 7}).data, slow);
  EXPECT_EQ(driver_.control({0x21, 0x20, 0, 0, 6}, Bytes(6)).status, TransferStatus::stall);
  EXPECT_EQ(driver_.control({0x21, 0x23, 0, 0, 0}).status, TransferStatus::stall) << "SEND_BREAK";
}

TEST_F(Serial, AReadThatCutsAPacketIsBabble) {
  set_terminal_ready(true);
  driver_.out(out_pipe, Bytes(600, 'a'));
  EXPECT_EQ(driver_.in(in_pipe, 100).status, TransferStatus::overflow);
  EXPECT_EQ(driver_.in(in_pipe, 512).actual_length, 512U);
  EXPECT_EQ(driver_.in(in_pipe, 512).actual_length, 88U);
}

TEST_F(Serial, SelectingAnInterfaceEndsItsTransfersOnly) {
  const auto notification = driver_.submit_in(notifications, 16, TransferType::interrupt);
  const auto read = driver_.submit_in(in_pipe, 512);
  EXPECT_EQ(driver_.control(usb::set_interface(1, 0)).status, TransferStatus::success);
  EXPECT_EQ(driver_.ended(read)->status, TransferStatus::cancelled);
  EXPECT_FALSE(driver_.ended(notification).has_value());
}

}  // namespace
}  // namespace tillbridge::simulator
