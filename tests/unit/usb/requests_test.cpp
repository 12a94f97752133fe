#include "channel/usb/requests.hpp"

#include <gtest/gtest.h>

namespace tillbridge::usb {
namespace {

TEST(Requests, AreWhatTheStandardSays) {
  EXPECT_EQ(get_descriptor(2, 1, 0, 9), (SetupPacket{0x80, 6, 0x0201, 0, 9}));
  EXPECT_EQ(get_descriptor(3, 2, 0x0409, 255), (SetupPacket{0x80, 6, 0x0302, 0x0409, 255}));
  EXPECT_EQ(set_configuration(1), (SetupPacket{0x00, 9, 1, 0, 0}));
  EXPECT_EQ(set_interface(2, 3), (SetupPacket{0x01, 11, 3, 2, 0}));
  EXPECT_EQ(clear_halt(0x81), (SetupPacket{0x02, 1, 0, 0x81, 0}));
  EXPECT_EQ(port_reset(), (SetupPacket{0x23, 3, 4, 0, 0}));
  EXPECT_EQ(bulk_only_reset(1), (SetupPacket{0x21, 0xFF, 0, 1, 0}));
}

TEST(HostRequest, IsRecognised) {
  const auto configuration = as_host_request(set_configuration(3));
  ASSERT_TRUE(configuration && std::holds_alternative<SetConfiguration>(*configuration));
  EXPECT_EQ(std::get<SetConfiguration>(*configuration).value, 3);

  const auto interface = as_host_request(set_interface(2, 5));
  ASSERT_TRUE(interface && std::holds_alternative<SetInterface>(*interface));
  EXPECT_EQ(std::get<SetInterface>(*interface).interface_number, 2);
  EXPECT_EQ(std::get<SetInterface>(*interface).alternate_setting, 5);

  const auto halt = as_host_request(clear_halt(0x82));
  ASSERT_TRUE(halt && std::holds_alternative<ClearHalt>(*halt));
  EXPECT_EQ(std::get<ClearHalt>(*halt).endpoint, 0x82);

  const auto reset = as_host_request(port_reset());
  EXPECT_TRUE(reset && std::holds_alternative<PortReset>(*reset));
}

TEST(HostRequest, EverythingElseGoesToTheDevice) {
  EXPECT_FALSE(as_host_request(get_descriptor(1, 0, 0, 18)));
  EXPECT_FALSE(as_host_request(bulk_only_reset(0)));
  EXPECT_FALSE(as_host_request({0x00, request::clear_feature, 1, 0, 0}))
      << "remote wake-up, of the device";
  EXPECT_FALSE(as_host_request({0x02, request::clear_feature, 1, 0x81, 0}))
      << "not the halt feature";
  EXPECT_FALSE(as_host_request({0x02, request::set_feature, 0, 0x81, 0})) << "sets the halt";
  EXPECT_FALSE(as_host_request({0x21, request::set_interface, 0, 0, 0}))
      << "a class request of the same number";
  EXPECT_FALSE(as_host_request({0x40, request::set_configuration, 0, 0, 0}))
      << "a vendor request of the same number";
}

TEST(ControlTransfer, In) {
  const Transfer transfer = control_transfer(7, get_descriptor(1, 0, 0, 18));
  EXPECT_EQ(transfer.id, 7U);
  EXPECT_EQ(transfer.type, TransferType::control);
  EXPECT_EQ(transfer.endpoint, 0x80);
  EXPECT_EQ(transfer.length, 18U);
  EXPECT_TRUE(transfer.in());
  EXPECT_TRUE(transfer.data.empty());
}

TEST(ControlTransfer, OutCarriesItsDataAndSaysHowMuch) {
  const Transfer transfer = control_transfer(8, {0x21, 0x20, 0, 0, 0}, Bytes{1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(transfer.endpoint, 0x00);
  EXPECT_EQ(transfer.setup.length, 7);
  EXPECT_EQ(transfer.length, 7U);
  EXPECT_EQ(transfer.data.size(), 7U);
  EXPECT_FALSE(transfer.in());
}

}  // namespace
}  // namespace tillbridge::usb
