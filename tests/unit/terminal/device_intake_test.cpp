#include "server/terminal/device_intake.hpp"

#include <algorithm>
#include <optional>

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
  // Its till may be waiting for the USB server: it is read anew, for a while.
  auto again = intake.poll();
  ASSERT_TRUE(again && std::holds_alternative<DeviceIntake::Submit>(*again));
  cancelled.id = std::get<DeviceIntake::Submit>(*again).transfer.id;
  EXPECT_NE(cancelled.id, id);
  intake.advance(start + DeviceIntake::reading_patience);
  cancel = intake.poll();
  ASSERT_TRUE(cancel && std::holds_alternative<DeviceIntake::Cancel>(*cancel));
  EXPECT_TRUE(intake.completed(device_id, cancelled, start + DeviceIntake::reading_patience));
  auto refused = intake.poll();
  ASSERT_TRUE(refused && std::holds_alternative<DeviceIntake::Refused>(*refused));
}

TEST(DeviceIntake, ReadsAnewWhatWasLostWithTheServer) {
  auto disk = simulated_disk();
  DeviceIntake intake({});
  intake.device_arrived(device_id, announced(), start);
  for (unsigned lost = 0; lost < DeviceIntake::broken_readings; ++lost) {
    auto output = intake.poll();
    ASSERT_TRUE(output && std::holds_alternative<DeviceIntake::Submit>(*output)) << lost;
    usb::Completion completion;
    completion.id = std::get<DeviceIntake::Submit>(*output).transfer.id;
    completion.status = usb::TransferStatus::error;
    EXPECT_TRUE(intake.completed(device_id, completion, start));
  }
  EXPECT_TRUE(std::holds_alternative<DeviceIntake::Admitted>(judge(intake, *disk)));
}

/// Plays a device: `answer` sees each request of the intake. Answers its opinion and how many
/// requests that took.
template <typename Answer>
std::pair<std::optional<bool>, int> opinion_on(const Answer& answer) {
  DeviceIntake intake({});
  intake.device_arrived(device_id, announced(), start);
  int requests = 0;
  while (auto output = intake.poll()) {
    if (std::holds_alternative<DeviceIntake::Admitted>(*output)) return {true, requests};
    if (std::holds_alternative<DeviceIntake::Refused>(*output)) return {false, requests};
    const auto* submit = std::get_if<DeviceIntake::Submit>(&*output);
    if (submit == nullptr || ++requests > 1000) break;
    usb::Completion completion = answer(submit->transfer.setup);
    completion.id = submit->transfer.id;
    completion.data.resize(std::min<std::size_t>(completion.data.size(), submit->transfer.length));
    completion.actual_length = static_cast<std::uint32_t>(completion.data.size());
    EXPECT_TRUE(intake.completed(device_id, completion, start));
  }
  return {std::nullopt, requests};
}

TEST(DeviceIntake, DescriptorsThatLieAreRefusedInAFewRequests) {
  const auto disk = simulated_disk();
  const Bytes device = usb::encode(disk->description().device);
  const Bytes configuration = disk->description().configurations[0].raw;
  const auto play = [&](const Bytes& first, const Bytes& second) {
    return opinion_on([&](const usb::SetupPacket& setup) {
      usb::Completion completion;
      if (setup.value == 0x0100) {
        completion.data = first;
      } else if (setup.value >> 8U == 2) {
        completion.data = second;
      } else {
        completion.data = Bytes(255, 0xFF);  // strings, languages: nonsense is no reason
      }
      return completion;
    });
  };
  EXPECT_EQ(play(device, configuration).first, true);
  for (std::size_t size = 0; size < device.size(); ++size) {
    EXPECT_EQ(play(Bytes(device.begin(), device.begin() + static_cast<std::ptrdiff_t>(size)),
                   configuration),
              std::pair(std::optional(false), 1));
  }
  for (const unsigned count : {0U, 9U, 255U}) {
    Bytes many = device;
    many[17] = static_cast<std::uint8_t>(count);
    EXPECT_EQ(play(many, configuration), std::pair(std::optional(false), 1)) << count;
  }
  Bytes two = device;
  two[17] = 2;
  EXPECT_EQ(play(two, configuration), std::pair(std::optional(false), 5)) << "one value twice";
  for (std::size_t size = 0; size < configuration.size(); ++size) {
    const auto [let_in, requests] = play(
        device,
        Bytes(configuration.begin(), configuration.begin() + static_cast<std::ptrdiff_t>(size)));
    EXPECT_EQ(let_in, false) << size;
    EXPECT_LE(requests, 3);
  }
  for (std::size_t at = 0; at < configuration.size(); ++at) {
    for (const unsigned value : {0U, 1U, 0x7FU, 0x80U, 0xFFU}) {
      Bytes changed = configuration;
      changed[at] = static_cast<std::uint8_t>(value);
      const auto [let_in, requests] = play(device, changed);
      EXPECT_TRUE(let_in.has_value()) << at << ' ' << value;
      EXPECT_LE(requests, 10);
    }
  }
}

TEST(DeviceIntake, ADeviceThatNeverAnswersInTimeTakesBoundedTime) {
  // Each request ends with the intake's patience; strings can be done without, descriptors not.
  const auto disk = simulated_disk();
  DeviceIntake intake({});
  Instant now = start;
  intake.device_arrived(device_id, announced(), now);
  const Bytes device = usb::encode(disk->description().device);
  const Bytes configuration = disk->description().configurations[0].raw;
  std::optional<bool> let_in;
  std::optional<usb::Transfer> running;
  for (int i = 0; i < 100 && !let_in; ++i) {
    while (auto output = intake.poll()) {
      if (auto* submit = std::get_if<DeviceIntake::Submit>(&*output)) running = submit->transfer;
      if (std::holds_alternative<DeviceIntake::Admitted>(*output)) let_in = true;
      if (std::holds_alternative<DeviceIntake::Refused>(*output)) let_in = false;
      if (const auto* cancel = std::get_if<DeviceIntake::Cancel>(&*output)) {
        EXPECT_EQ(cancel->transfer, running->id);
        usb::Completion ended;
        ended.id = running->id;
        ended.status = usb::TransferStatus::cancelled;
        intake.completed(device_id, ended, now);
      }
    }
    if (let_in || !intake.next_deadline()) continue;
    if (running->setup.value == 0x0100 || running->setup.value == 0x0200) {
      // A microsecond before it is too late.
      now = *intake.next_deadline() - Duration(1);
      intake.advance(now);
      usb::Completion slow;
      slow.id = running->id;
      slow.data = running->setup.value == 0x0100 ? device : configuration;
      slow.data.resize(std::min<std::size_t>(slow.data.size(), running->length));
      slow.actual_length = static_cast<std::uint32_t>(slow.data.size());
      intake.completed(device_id, slow, now);
      intake.completed(device_id, slow, now);  // a second time: nobody's
    } else {
      now = *intake.next_deadline();
      intake.advance(now);
    }
  }
  EXPECT_EQ(let_in, true);
  EXPECT_LE(now - start, 9 * DeviceIntake::request_patience);
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
