#include "server/terminal/device_intake.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/terminal/test_device.hpp"

namespace tillbridge::terminal {
namespace {

using testing::HasSubstr;

constexpr DeviceId device_id = 7;
constexpr Instant start{1'000'000};

rdpeusb::AnnouncedDevice announced(bool high_speed = true) {
  rdpeusb::AnnouncedDevice device;
  device.instance_id = "USB\\VID_1209&PID_0001";
  device.high_speed = high_speed;
  return device;
}

/// Runs the intake against a device until it has an opinion.
DeviceIntake::Output judge(DeviceIntake& intake, simulator::Device& device) {
  intake.device_arrived(device_id, announced(), start);
  for (int i = 0; i < 100; ++i) {
    while (auto output = intake.poll()) {
      auto* submit = std::get_if<DeviceIntake::Submit>(&*output);
      if (submit == nullptr) return std::move(*output);
      device.submit(std::move(submit->transfer), start);
    }
    for (const auto& completion : completions_of(device, start)) {
      EXPECT_TRUE(intake.completed(device_id, completion, start));
    }
  }
  ADD_FAILURE() << "no opinion";
  return DeviceIntake::Refused{};
}

usb::DeviceDescription description(std::uint8_t interface_class) {
  usb::DeviceDescription device;
  device.device.max_packet_size_0 = 64;
  usb::Configuration configuration;
  usb::InterfaceDescriptor interface;
  interface.interface_class = interface_class;
  configuration.interfaces.push_back(interface);
  device.configurations.push_back(configuration);
  return device;
}

TEST(DeviceIntake, ReadsAndAdmitsADisk) {
  auto device = simulated_disk();
  DeviceIntake intake({});
  const auto output = judge(intake, *device);
  const auto* admitted = std::get_if<DeviceIntake::Admitted>(&output);
  ASSERT_NE(admitted, nullptr);
  EXPECT_EQ(admitted->device.id, device_id);
  EXPECT_EQ(admitted->device.announced.instance_id, "USB\\VID_1209&PID_0001");
  EXPECT_EQ(admitted->device.description.device, device->description().device);
  EXPECT_EQ(admitted->device.description.serial, device->description().serial);
  EXPECT_EQ(admitted->device.description.configurations, device->description().configurations);
  EXPECT_EQ(admitted->device.description.speed, usb::Speed::high);
  EXPECT_FALSE(intake.next_deadline().has_value());
}

TEST(DeviceIntake, AdmitsASerialPort) {
  auto device = simulated_serial();
  DeviceIntake intake({});
  EXPECT_TRUE(std::holds_alternative<DeviceIntake::Admitted>(judge(intake, *device)));
}

TEST(DeviceIntake, CompletionsAfterwardsAreNotItsOwn) {
  auto device = simulated_disk();
  DeviceIntake intake({});
  (void)judge(intake, *device);
  EXPECT_FALSE(intake.completed(device_id, usb::Completion{}, start));
}

/// Answers device and configuration descriptors of a device whose one interface has this class.
DeviceIntake::Output judge_class(DeviceIntake& intake, std::uint8_t interface_class) {
  usb::DeviceDescriptor descriptor;
  descriptor.usb_version = 0x0200;
  descriptor.max_packet_size_0 = 64;
  descriptor.vendor_id = 0x0403;
  descriptor.product_id = 0x6001;
  descriptor.configuration_count = 1;
  const Bytes device = usb::encode(descriptor);
  const Bytes configuration{9, 2, 18, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 0, interface_class,
                            0, 0, 0};
  intake.device_arrived(device_id, announced(), start);
  for (int i = 0; i < 20; ++i) {
    auto output = intake.poll();
    if (!output) break;
    auto* submit = std::get_if<DeviceIntake::Submit>(&*output);
    if (submit == nullptr) return std::move(*output);
    const usb::SetupPacket& setup = submit->transfer.setup;
    usb::Completion completion;
    completion.id = submit->transfer.id;
    completion.status = usb::TransferStatus::stall;
    const Bytes* answer = setup.value == 0x0100   ? &device
                          : setup.value == 0x0200 ? &configuration
                                                  : nullptr;
    if (answer != nullptr) {
      completion.status = usb::TransferStatus::success;
      const auto size = std::min<std::size_t>(answer->size(), setup.length);
      completion.data.assign(answer->begin(), answer->begin() + static_cast<std::ptrdiff_t>(size));
      completion.actual_length = static_cast<std::uint32_t>(size);
    }
    intake.completed(device_id, completion, start);
  }
  ADD_FAILURE() << "no opinion";
  return DeviceIntake::Refused{};
}

TEST(DeviceIntake, RefusesAKeyboardEvenIfNamed) {
  DeviceIntake intake({Model{0x0403, 0x6001}});
  const auto output = judge_class(intake, 0x03);
  const auto* refused = std::get_if<DeviceIntake::Refused>(&output);
  ASSERT_NE(refused, nullptr);
  EXPECT_THAT(refused->reason, HasSubstr("HID"));
  EXPECT_THAT(refused->reason, testing::Not(HasSubstr("--allow")));
}

TEST(DeviceIntake, RefusesVendorClassUnlessNamed) {
  DeviceIntake strict({});
  const auto output = judge_class(strict, 0xFF);
  const auto* refused = std::get_if<DeviceIntake::Refused>(&output);
  ASSERT_NE(refused, nullptr);
  EXPECT_THAT(refused->reason, HasSubstr("--allow 0403:6001"));
  DeviceIntake named({Model{0x0403, 0x6001}});
  EXPECT_TRUE(std::holds_alternative<DeviceIntake::Admitted>(judge_class(named, 0xFF)));
}

TEST(DeviceIntake, GivesUpOnARequestThatIsNeverAnswered) {
  DeviceIntake intake({});
  intake.device_arrived(device_id, announced(), start);
  auto first = intake.poll();
  ASSERT_TRUE(first && std::holds_alternative<DeviceIntake::Submit>(*first));
  const auto id = std::get<DeviceIntake::Submit>(*first).transfer.id;
  ASSERT_EQ(intake.next_deadline(), start + DeviceIntake::request_patience);
  intake.advance(start + DeviceIntake::request_patience - Duration(1));
  EXPECT_FALSE(intake.poll().has_value());
  intake.advance(start + DeviceIntake::request_patience);
  auto cancel = intake.poll();
  ASSERT_TRUE(cancel && std::holds_alternative<DeviceIntake::Cancel>(*cancel));
  EXPECT_EQ(std::get<DeviceIntake::Cancel>(*cancel).transfer, id);
  EXPECT_FALSE(intake.next_deadline().has_value());
  usb::Completion cancelled;
  cancelled.id = id;
  cancelled.status = usb::TransferStatus::cancelled;
  EXPECT_TRUE(intake.completed(device_id, cancelled, start));
  auto refused = intake.poll();
  ASSERT_TRUE(refused && std::holds_alternative<DeviceIntake::Refused>(*refused));
}

TEST(DeviceIntake, ForgetsADeviceThatWentAway) {
  DeviceIntake intake({});
  intake.device_arrived(device_id, announced(), start);
  (void)intake.poll();
  intake.device_gone(device_id);
  EXPECT_FALSE(intake.next_deadline().has_value());
  EXPECT_FALSE(intake.completed(device_id, usb::Completion{}, start));
}

TEST(SpeedOf, FollowsTheDescriptors) {
  usb::DeviceDescription disk = description(0x08);
  auto& endpoints = disk.configurations[0].interfaces[0].endpoints;
  endpoints.push_back({0x81, 2, 512, 0});
  EXPECT_EQ(speed_of(announced(false), disk), usb::Speed::high);
  endpoints[0].max_packet_size = 64;
  EXPECT_EQ(speed_of(announced(true), disk), usb::Speed::full) << "bcdUSB 2.00 at full speed";
  endpoints[0].max_packet_size = 1024;
  disk.device.max_packet_size_0 = 9;
  EXPECT_EQ(speed_of(announced(true), disk), usb::Speed::super);
}

TEST(SpeedOf, WithoutBulkEndpointsBelievesTheAnnouncementIfPossible) {
  usb::DeviceDescription device = description(0x0B);
  EXPECT_EQ(speed_of(announced(true), device), usb::Speed::high);
  EXPECT_EQ(speed_of(announced(false), device), usb::Speed::full);
  device.device.max_packet_size_0 = 8;
  EXPECT_EQ(speed_of(announced(true), device), usb::Speed::full);
}

}  // namespace
}  // namespace tillbridge::terminal
