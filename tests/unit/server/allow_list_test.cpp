#include "server/usb/allow_list.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tillbridge::server {
namespace {

using ::testing::HasSubstr;

usb::InterfaceDescriptor interface(std::uint8_t number, std::uint8_t code,
                                   std::uint8_t subclass = 0, std::uint8_t alternate = 0) {
  usb::InterfaceDescriptor descriptor;
  descriptor.number = number;
  descriptor.alternate_setting = alternate;
  descriptor.interface_class = code;
  descriptor.interface_subclass = subclass;
  return descriptor;
}

usb::DeviceDescription device(std::vector<usb::InterfaceDescriptor> interfaces,
                              std::uint8_t device_class = 0) {
  usb::DeviceDescription description;
  description.device.vendor_id = 0x04B4;
  description.device.product_id = 0x0008;
  description.device.device_class = device_class;
  usb::Configuration configuration;
  configuration.value = 1;
  configuration.interfaces = std::move(interfaces);
  description.configurations.push_back(std::move(configuration));
  return description;
}

TEST(AllowList, WhatATillNeedsPassesByItsClass) {
  const AllowList list;
  EXPECT_EQ(list.refusal(device({interface(0, 0x08, 0x06)})), std::nullopt);
  EXPECT_EQ(list.refusal(device({interface(0, 0x0B)})), std::nullopt);
  EXPECT_EQ(list.refusal(device({interface(0, 0x02, 0x02), interface(1, 0x0A)}, 0x02)),
            std::nullopt)
      << "CDC-ACM";
  EXPECT_EQ(list.refusal(device({interface(0, 0x02, 0x02), interface(1, 0x0A)}, 0xEF)),
            std::nullopt);
}

TEST(AllowList, OtherClassesAreRefusedWithARemedy) {
  const AllowList list;
  for (const std::uint8_t code :
       std::initializer_list<std::uint8_t>{0x01, 0x07, 0x0E, 0xE0, 0xFE, 0xFF}) {
    const auto refusal = list.refusal(device({interface(0, code)}));
    ASSERT_TRUE(refusal) << int{code};
    EXPECT_THAT(*refusal, HasSubstr("[[allow]] device = \"04b4:0008\""));
  }
}

TEST(AllowList, ANetworkCardIsNotASerialPort) {
  const AllowList list;
  for (const std::uint8_t subclass : std::initializer_list<std::uint8_t>{0x06, 0x0C, 0x0D, 0x0E}) {
    const auto refusal = list.refusal(device({interface(0, 0x02, subclass), interface(1, 0x0A)}));
    ASSERT_TRUE(refusal);
    EXPECT_THAT(*refusal, HasSubstr("network"));
  }
}

TEST(AllowList, EveryInterfaceMustPass) {
  const AllowList list;
  EXPECT_TRUE(list.refusal(device({interface(0, 0x08), interface(1, 0xFF)})));
  EXPECT_TRUE(list.refusal(device({interface(0, 0x08), interface(0, 0xFF, 0, 1)})))
      << "another alternate setting";
  auto two = device({interface(0, 0x08)});
  two.configurations.push_back(device({interface(0, 0x03)}).configurations[0]);
  EXPECT_TRUE(list.refusal(two)) << "another configuration";
}

TEST(AllowList, AModelThatIsNamedPasses) {
  const AllowList list(std::set<StickPattern::Model>{{0x04B4, 0x0008}});
  EXPECT_EQ(list.refusal(device({interface(0, 0xFF)})), std::nullopt);
  EXPECT_EQ(list.refusal(device({interface(0, 0xFF)}, 0xFF)), std::nullopt);
  auto other = device({interface(0, 0xFF)});
  other.device.product_id = 0x0009;
  EXPECT_TRUE(list.refusal(other));
}

TEST(AllowList, KeyboardsAndHubsNeverPass) {
  const AllowList list(std::set<StickPattern::Model>{{0x04B4, 0x0008}});
  EXPECT_TRUE(list.refusal(device({interface(0, 0x03)})));
  EXPECT_TRUE(list.refusal(device({interface(0, 0x08), interface(1, 0x03)})))
      << "a stick that types";
  EXPECT_TRUE(list.refusal(device({interface(0, 0x09)}, 0x09)));
}

TEST(AllowList, AStrangeDeviceClassIsRefusedUnlessNamed) {
  EXPECT_TRUE(AllowList().refusal(device({interface(0, 0x08)}, 0xFF)));
  EXPECT_TRUE(AllowList().refusal(device({interface(0, 0x08)}, 0xE0)));
}

TEST(AllowList, ADeviceWithoutInterfacesIsRefused) {
  EXPECT_TRUE(AllowList().refusal(device({})));
}

}  // namespace
}  // namespace tillbridge::server
