#include "channel/usb/descriptors.hpp"

#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"

namespace tillbridge::usb {
namespace {

const Bytes device_bytes{18,   1,    0x10, 0x02, 0,    0, 0, 64, 0x09,
                         0x12, 0x01, 0x00, 0x34, 0x12, 1, 2, 3,  1};

// A Bulk-Only stick: one configuration, one interface 08/06/50, endpoints 0x81 and 0x02.
const Bytes stick_configuration{
    9, 2, 32,   0, 1,    1,    0, 0x80, 50,  // configuration 1, bus powered, 100 mA
    9, 4, 0,    0, 2,    8,    6, 0x50, 0,   // interface 0
    7, 5, 0x81, 2, 0x00, 0x02, 0,            // bulk IN, 512
    7, 5, 0x02, 2, 0x00, 0x02, 0,            // bulk OUT, 512
};

Bytes with(Bytes bytes, std::size_t index, std::uint8_t value) {
  bytes.at(index) = value;
  return bytes;
}

/// Appends descriptors and corrects wTotalLength.
Bytes extended(Bytes bytes, const Bytes& more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
  bytes[2] = static_cast<std::uint8_t>(bytes.size() & 0xFFU);
  bytes[3] = static_cast<std::uint8_t>(bytes.size() >> 8U);
  return bytes;
}

TEST(DeviceDescriptor, IsReadFieldByField) {
  const auto parsed = parse_device_descriptor(device_bytes);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->usb_version, 0x0210);
  EXPECT_EQ(parsed->max_packet_size_0, 64);
  EXPECT_EQ(parsed->vendor_id, 0x1209);
  EXPECT_EQ(parsed->product_id, 0x0001);
  EXPECT_EQ(parsed->device_version, 0x1234);
  EXPECT_EQ(parsed->manufacturer_index, 1);
  EXPECT_EQ(parsed->product_index, 2);
  EXPECT_EQ(parsed->serial_index, 3);
  EXPECT_EQ(parsed->configuration_count, 1);
}

TEST(DeviceDescriptor, EncodesToTheSameBytes) {
  const auto parsed = parse_device_descriptor(device_bytes);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(encode(*parsed), device_bytes);
}

TEST(DeviceDescriptor, EveryTruncationIsAnError) {
  for (std::size_t size = 0; size < device_bytes.size(); ++size) {
    EXPECT_FALSE(parse_device_descriptor(ByteView(device_bytes).first(size)).ok()) << size;
  }
}

TEST(DeviceDescriptor, OtherLengthOrTypeIsAnError) {
  EXPECT_FALSE(parse_device_descriptor(with(device_bytes, 0, 17)).ok());
  EXPECT_FALSE(parse_device_descriptor(with(device_bytes, 1, 2)).ok());
}

TEST(DeviceDescriptor, WhatFollowsIsIgnored) {
  Bytes longer = device_bytes;
  longer.insert(longer.end(), {1, 2, 3});
  const auto parsed = parse_device_descriptor(longer);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(encode(*parsed), device_bytes);
}

TEST(ConfigurationDescriptor, OfAStick) {
  const auto parsed = parse_configuration(stick_configuration);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->value, 1);
  EXPECT_EQ(parsed->attributes, 0x80);
  EXPECT_EQ(parsed->interface_count, 1);
  EXPECT_EQ(parsed->raw, stick_configuration);
  ASSERT_EQ(parsed->interfaces.size(), 1U);
  const auto* interface = parsed->find(0, 0);
  ASSERT_NE(interface, nullptr);
  EXPECT_EQ(interface->interface_class, class_code::mass_storage);
  EXPECT_EQ(interface->interface_subclass, 6);
  EXPECT_EQ(interface->interface_protocol, 0x50);
  ASSERT_EQ(interface->endpoints.size(), 2U);
  EXPECT_EQ(interface->endpoints[0], (EndpointDescriptor{0x81, 2, 512, 0}));
  EXPECT_EQ(interface->endpoints[1], (EndpointDescriptor{0x02, 2, 512, 0}));
  EXPECT_EQ(interface->endpoints[0].type(), TransferType::bulk);
  EXPECT_EQ(parsed->find(0, 1), nullptr);
  EXPECT_EQ(parsed->find(1, 0), nullptr);
}

TEST(ConfigurationDescriptor, EveryTruncationIsAnError) {
  for (std::size_t size = 0; size < stick_configuration.size(); ++size) {
    EXPECT_FALSE(parse_configuration(ByteView(stick_configuration).first(size)).ok()) << size;
  }
}

TEST(ConfigurationDescriptor, RawEndsAtTotalLength) {
  Bytes longer = stick_configuration;
  longer.insert(longer.end(), {9, 4, 7, 0, 0, 0xFF, 0, 0, 0});
  const auto parsed = parse_configuration(longer);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->raw, stick_configuration);
  EXPECT_EQ(parsed->find(7, 0), nullptr);
}

TEST(ConfigurationDescriptor, LyingLengthsAreErrors) {
  EXPECT_FALSE(parse_configuration(with(stick_configuration, 0, 8)).ok()) << "short header";
  EXPECT_FALSE(parse_configuration(with(stick_configuration, 0, 33)).ok())
      << "header past wTotalLength";
  EXPECT_FALSE(parse_configuration(with(stick_configuration, 1, 3)).ok()) << "type";
  EXPECT_FALSE(parse_configuration(with(stick_configuration, 2, 33)).ok())
      << "wTotalLength past the end";
  EXPECT_FALSE(parse_configuration(with(stick_configuration, 2, 31)).ok())
      << "wTotalLength inside a descriptor";
  EXPECT_FALSE(parse_configuration(with(stick_configuration, 9, 0)).ok())
      << "length 0 would never end";
  EXPECT_FALSE(parse_configuration(with(stick_configuration, 9, 1)).ok()) << "length 1";
  EXPECT_FALSE(parse_configuration(with(stick_configuration, 9, 8)).ok()) << "short interface";
  EXPECT_FALSE(parse_configuration(with(stick_configuration, 18, 6)).ok()) << "short endpoint";
  EXPECT_FALSE(parse_configuration(with(stick_configuration, 25, 8)).ok())
      << "last one past the end";
}

TEST(ConfigurationDescriptor, AnEndpointBeforeTheFirstInterfaceIsAnError) {
  const Bytes bytes{9, 2, 16, 0, 1, 1, 0, 0x80, 50, 7, 5, 0x81, 2, 0, 2, 0};
  EXPECT_FALSE(parse_configuration(bytes).ok());
}

TEST(ConfigurationDescriptor, UnknownDescriptorsAreSteppedOver) {
  const auto parsed =
      parse_configuration(extended(stick_configuration, {4, 0x24, 0xAA, 0xBB, 2, 0xFF}));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->interfaces.at(0).endpoints.size(), 2U);
}

TEST(ConfigurationDescriptor, LongerEndpointDescriptorsAreRead) {  // audio class: 9 bytes
  const auto parsed = parse_configuration(
      extended(stick_configuration, {9, 4, 1, 1, 1, 1, 2, 0, 0, 9, 5, 0x83, 1, 0xC0, 0, 4, 0, 0}));
  ASSERT_TRUE(parsed.ok());
  const auto* interface = parsed->find(1, 1);
  ASSERT_NE(interface, nullptr);
  ASSERT_EQ(interface->endpoints.size(), 1U);
  EXPECT_EQ(interface->endpoints[0].type(), TransferType::isochronous);
  EXPECT_EQ(interface->endpoints[0].interval, 4);
}

TEST(ConfigurationDescriptor, ASecondDescriptorOfTheSameSettingIsNotUsed) {
  const auto parsed = parse_configuration(
      extended(stick_configuration, {9, 4, 0, 0, 1, 0xFF, 0, 0, 0, 7, 5, 0x85, 3, 8, 0, 1}));
  ASSERT_TRUE(parsed.ok());
  ASSERT_EQ(parsed->interfaces.size(), 1U);
  EXPECT_EQ(parsed->interfaces[0].interface_class, class_code::mass_storage);
  EXPECT_EQ(parsed->interfaces[0].endpoints.size(), 2U) << "its endpoint belongs to it";
}

TEST(ConfigurationDescriptor, ImpossibleAndRepeatedEndpointsAreNotUsed) {
  const auto parsed =
      parse_configuration(extended(stick_configuration, {7, 5, 0x81, 3, 8, 0,    1, 7, 5, 0x80, 2,
                                                         8, 0, 0,    7, 5, 0x91, 2, 8, 0, 0}));
  ASSERT_TRUE(parsed.ok());
  ASSERT_EQ(parsed->interfaces[0].endpoints.size(), 2U);
  EXPECT_EQ(parsed->interfaces[0].endpoints[0].type(), TransferType::bulk);
}

TEST(ConfigurationDescriptor, TooManyInterfacesAreAnError) {
  Bytes bytes{9, 2, 9, 0, 1, 1, 0, 0x80, 50};
  for (std::size_t i = 0; i < limits::interfaces_per_configuration; ++i) {
    bytes = extended(bytes, {9, 4, static_cast<std::uint8_t>(i), 0, 0, 0xFF, 0, 0, 0});
  }
  EXPECT_TRUE(parse_configuration(bytes).ok());
  EXPECT_FALSE(parse_configuration(extended(bytes, {9, 4, 200, 0, 0, 0xFF, 0, 0, 0})).ok());
  EXPECT_FALSE(parse_configuration(with(stick_configuration, 4, 33)).ok()) << "bNumInterfaces";
}

TEST(ConfigurationDescriptor, TooManyAlternateSettingsAreAnError) {
  Bytes bytes{9, 2, 9, 0, 2, 1, 0, 0x80, 50};
  for (std::size_t i = 0; i < limits::alternate_settings_per_configuration; ++i) {
    bytes = extended(bytes, {9, 4, 0, static_cast<std::uint8_t>(i), 0, 0xFF, 0, 0, 0});
  }
  EXPECT_TRUE(parse_configuration(bytes).ok());
  EXPECT_FALSE(parse_configuration(extended(bytes, {9, 4, 1, 0, 0, 0xFF, 0, 0, 0})).ok());
}

TEST(DeviceDescription, LabelNamesTheStick) {
  DeviceDescription device;
  device.device.vendor_id = 0x1209;
  device.device.product_id = 0x000A;
  device.path = "1-1.4";
  EXPECT_EQ(device.label(), "1209:000a without serial at 1-1.4");
  device.serial = "5A2F00";
  EXPECT_EQ(device.label(), "1209:000a serial 5A2F00");
  device.serial = "5A\n2026-01-01 forged\x7f";
  EXPECT_EQ(device.label(), "1209:000a serial 5A?2026-01-01 forged?");
}

TEST(DeviceDescription, FindsConfigurationsByValue) {
  DeviceDescription device;
  device.configurations.resize(2);
  device.configurations[0].value = 4;
  device.configurations[1].value = 2;
  EXPECT_EQ(device.find_configuration(2), &device.configurations[1]);
  EXPECT_EQ(device.find_configuration(1), nullptr);
  EXPECT_EQ(device.find_configuration(0), nullptr);
}

TEST(Names, AreForPeople) {
  EXPECT_EQ(name(Speed::high), "high speed");
  EXPECT_EQ(name(TransferStatus::device_gone), "device gone");
  EXPECT_EQ(name(TransferType::bulk), "bulk");
}

}  // namespace
}  // namespace tillbridge::usb
