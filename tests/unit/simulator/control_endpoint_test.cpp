// Chapter 9, at the boundary of a device.

#include "channel/usb/device_reader.hpp"
#include "server/simulator/serial_echo.hpp"
#include "tests/unit/simulator/device_driver.hpp"

namespace tillbridge::simulator {
namespace {

using usb::SetupPacket;
using usb::TransferStatus;

class ControlRequests : public testing::Test {
 protected:
  Bytes get(const SetupPacket& setup) {
    const auto completion = driver_.control(setup);
    EXPECT_EQ(completion.status, TransferStatus::success);
    return completion.data;
  }
  void expect_stall(const SetupPacket& setup, Bytes data = {}) {
    EXPECT_EQ(driver_.control(setup, std::move(data)).status, TransferStatus::stall);
  }
  Bytes configuration_now() { return get({0x80, 8, 0, 0, 1}); }

  MassStorageStick stick_{std::make_unique<MemoryMedium>(64), {}};
  DeviceDriver driver_{stick_};
};

template <typename D>
void expect_reads_back(D& device) {
  DeviceDriver driver(device);
  usb::DeviceReader reader(device.description().speed, device.description().path);
  usb::TransferId id = 1;
  while (auto transfer = reader.next(id)) {
    const usb::TransferId asked = transfer->id;
    auto completion = driver.wait(driver.submit(*std::move(transfer)));
    completion.id = asked;
    reader.complete(completion);
    ++id;
  }
  ASSERT_TRUE(reader.done());
  const auto description = reader.result();
  ASSERT_TRUE(description.ok()) << description.error().message;
  EXPECT_EQ(description->device, device.description().device);
  EXPECT_EQ(description->configurations, device.description().configurations);
  EXPECT_EQ(description->manufacturer, device.description().manufacturer);
  EXPECT_EQ(description->product, device.description().product);
  EXPECT_EQ(description->serial, device.description().serial);
}

TEST_F(ControlRequests, ADescriptorReaderFindsWhatTheDeviceSaysOfItself) {
  expect_reads_back(stick_);
  SerialEcho echo({});
  expect_reads_back(echo);
  StickOptions options;
  options.speed = usb::Speed::full;
  options.manufacturer = "Größe";
  options.product = "";
  MassStorageStick full(std::make_unique<MemoryMedium>(64), options);
  expect_reads_back(full);
  EXPECT_EQ(full.description().device.product_index, 0);
}

TEST_F(ControlRequests, DescriptorsOfAStick) {
  EXPECT_EQ(
      get(usb::get_descriptor(1, 0, 0, 64)),
      (Bytes{18, 1, 0x00, 0x02, 0, 0, 0, 64, 0x09, 0x12, 0x01, 0x00, 0x00, 0x01, 1, 2, 3, 1}));
  EXPECT_EQ(get(usb::get_descriptor(2, 0, 0, 255)),
            (Bytes{9, 2, 32,   0, 1,    1,    0,    0x80, 100,  //
                   9, 4, 0,    0, 2,    0x08, 0x06, 0x50, 0,    //
                   7, 5, 0x81, 2, 0x00, 0x02, 0,                //
                   7, 5, 0x02, 2, 0x00, 0x02, 0}));
}

TEST_F(ControlRequests, RepliesAreCutToWhatWasAskedFor) {
  EXPECT_EQ(get(usb::get_descriptor(2, 0, 0, 9)).size(), 9U);
  EXPECT_EQ(get(usb::get_descriptor(1, 0, 0, 8)).size(), 8U);
  EXPECT_EQ(get(usb::get_descriptor(1, 0, 0, 0)).size(), 0U);
  usb::Transfer transfer = usb::control_transfer(1, usb::get_descriptor(1, 0, 0, 18));
  transfer.length = 4;
  EXPECT_EQ(driver_.wait(driver_.submit(transfer)).actual_length, 4U);
}

TEST_F(ControlRequests, StringsAndTheirLanguages) {
  EXPECT_EQ(get(usb::get_descriptor(3, 0, 0, 255)), (Bytes{4, 3, 0x09, 0x04}));
  const auto serial = usb::parse_string_descriptor(get(usb::get_descriptor(3, 3, 0x0409, 255)));
  EXPECT_EQ(*serial, "000000000001");
  expect_stall(usb::get_descriptor(3, 4, 0x0409, 255));
  expect_stall(usb::get_descriptor(3, 0xEE, 0, 18));  // the Microsoft OS string
}

TEST_F(ControlRequests, OtherSpeed) {
  EXPECT_EQ(get(usb::get_descriptor(6, 0, 0, 10)), (Bytes{10, 6, 0, 2, 0, 0, 0, 64, 1, 0}));
  const Bytes other = get(usb::get_descriptor(7, 0, 0, 255));
  EXPECT_EQ(other[1], 7);
  EXPECT_EQ(other[22], 64) << "bulk packets at full speed";
  StickOptions options;
  options.speed = usb::Speed::full;
  MassStorageStick full(std::make_unique<MemoryMedium>(64), options);
  DeviceDriver driver(full);
  EXPECT_EQ(driver.control(usb::get_descriptor(6, 0, 0, 10)).status, TransferStatus::stall);
  EXPECT_EQ(driver.control(usb::get_descriptor(7, 0, 0, 255)).status, TransferStatus::stall);
}

TEST_F(ControlRequests, ConfigurationIsSetAndLost) {
  EXPECT_EQ(configuration_now(), Bytes{0});
  expect_stall(usb::set_configuration(2));
  EXPECT_EQ(configuration_now(), Bytes{0});
  driver_.configure();
  EXPECT_EQ(configuration_now(), Bytes{1});
  EXPECT_EQ(driver_.control(usb::set_configuration(0)).status, TransferStatus::success);
  EXPECT_EQ(configuration_now(), Bytes{0});
  driver_.configure();
  stick_.reset(driver_.now);
  EXPECT_EQ(configuration_now(), Bytes{0});
}

TEST_F(ControlRequests, SettingTheConfigurationEndsTransfersAndHalts) {
  driver_.configure();
  const auto waiting = driver_.submit_in(0x81, 512);
  EXPECT_EQ(driver_.control({0x02, 3, 0, 0x02, 0}).status, TransferStatus::success);
  EXPECT_EQ(driver_.out(0x02, Bytes(31)).status, TransferStatus::stall);
  driver_.configure();
  EXPECT_EQ(driver_.ended(waiting)->status, TransferStatus::cancelled);
  EXPECT_EQ(get({0x82, 0, 0, 0x02, 2}), (Bytes{0, 0}));
}

TEST_F(ControlRequests, HaltsAreSetSeenAndCleared) {
  driver_.configure();
  EXPECT_EQ(get({0x82, 0, 0, 0x81, 2}), (Bytes{0, 0}));
  EXPECT_EQ(driver_.control({0x02, 3, 0, 0x81, 0}).status, TransferStatus::success);
  EXPECT_EQ(get({0x82, 0, 0, 0x81, 2}), (Bytes{1, 0}));
  EXPECT_EQ(get({0x82, 0, 0, 0x02, 2}), (Bytes{0, 0})) << "each endpoint for itself";
  EXPECT_EQ(driver_.in(0x81, 13).status, TransferStatus::stall);
  EXPECT_EQ(driver_.control(usb::clear_halt(0x81)).status, TransferStatus::success);
  EXPECT_EQ(get({0x82, 0, 0, 0x81, 2}), (Bytes{0, 0}));
  EXPECT_EQ(driver_.control(usb::clear_halt(0)).status, TransferStatus::success);
  EXPECT_EQ(get({0x82, 0, 0, 0, 2}), (Bytes{0, 0}));
}

TEST_F(ControlRequests, InterfacesAndTheirSettings) {
  expect_stall(usb::set_interface(0, 0));  // not configured
  driver_.configure();
  EXPECT_EQ(driver_.control(usb::set_interface(0, 0)).status, TransferStatus::success);
  EXPECT_EQ(get({0x81, 10, 0, 0, 1}), Bytes{0});
  expect_stall(usb::set_interface(0, 1));
  expect_stall(usb::set_interface(1, 0));
  expect_stall({0x81, 10, 0, 1, 1});
}

TEST_F(ControlRequests, Status) {
  EXPECT_EQ(get({0x80, 0, 0, 0, 2}), (Bytes{0, 0}));
  expect_stall({0x81, 0, 0, 0, 2});  // interface, not configured
  expect_stall({0x82, 0, 0, 0x81, 2});
  driver_.configure();
  EXPECT_EQ(get({0x81, 0, 0, 0, 2}), (Bytes{0, 0}));
  expect_stall({0x82, 0, 0, 0x83, 2});
}

TEST_F(ControlRequests, WhatADeviceDoesNotKnowStalls) {
  driver_.configure();
  expect_stall(usb::get_descriptor(15, 0, 0, 5));     // BOS
  expect_stall(usb::get_descriptor(2, 1, 0, 9));      // second configuration
  expect_stall(usb::get_descriptor(4, 0, 0, 9));      // interface
  expect_stall({0x00, 3, 1, 0, 0});                   // remote wake-up
  expect_stall({0x00, 3, 2, 0x0100, 0});              // test mode
  expect_stall({0x00, 7, 0x0100, 0, 18}, Bytes(18));  // SET_DESCRIPTOR
  expect_stall({0x82, 12, 0, 0x81, 2});               // SYNCH_FRAME
  expect_stall({0x80, 99, 0, 0, 2});
  EXPECT_EQ(driver_.control({0x00, 5, 7, 0, 0}).status, TransferStatus::success);  // SET_ADDRESS
}

}  // namespace
}  // namespace tillbridge::simulator
