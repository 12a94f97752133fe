#include "channel/usb/device_reader.hpp"

#include <map>

#include <gtest/gtest.h>

#include "channel/usb/requests.hpp"

namespace tillbridge::usb {
namespace {

/// Answers requests from a table; everything else stalls.
struct Device {
  std::map<std::pair<std::uint8_t, std::uint16_t>, Bytes> answers;  // by bRequest and wValue
  std::vector<SetupPacket> asked;

  Completion answer(const Transfer& transfer) {
    asked.push_back(transfer.setup);
    Completion completion;
    completion.id = transfer.id;
    const auto found = answers.find({transfer.setup.request, transfer.setup.value});
    if (found == answers.end()) {
      completion.status = TransferStatus::stall;
      return completion;
    }
    completion.data = found->second;
    if (completion.data.size() > transfer.length) completion.data.resize(transfer.length);
    completion.actual_length = static_cast<std::uint32_t>(completion.data.size());
    return completion;
  }
};

const Bytes configuration_1{9, 2, 25, 0,    1, 1, 0, 0x80, 50, 9, 4, 0, 0,
                            1, 8, 6,  0x50, 0, 7, 5, 0x81, 2,  0, 2, 0};
const Bytes configuration_2{9, 2, 18, 0, 1, 5, 0, 0x80, 50, 9, 4, 0, 0, 0, 0xFF, 0, 0, 0};

Device stick() {
  Device device;
  device.answers[{6, 0x0100}] = {18, 1, 0, 2, 0, 0, 0, 64, 0x09, 0x12, 1, 0, 0, 1, 1, 2, 3, 2};
  device.answers[{6, 0x0200}] = configuration_1;
  device.answers[{6, 0x0201}] = configuration_2;
  device.answers[{8, 0}] = {5};
  device.answers[{6, 0x0300}] = {4, 3, 0x07, 0x04};  // German
  device.answers[{6, 0x0301}] = encode_string_descriptor("Maker");
  device.answers[{6, 0x0302}] = encode_string_descriptor("Stick");
  device.answers[{6, 0x0303}] = encode_string_descriptor("5A2F");
  return device;
}

Result<DeviceDescription> read(Device& device) {
  DeviceReader reader(Speed::high, "1-1.4");
  TransferId id = 100;
  while (auto transfer = reader.next(id++)) {
    EXPECT_TRUE(transfer->in()) << "reading changes nothing";
    EXPECT_FALSE(reader.next(id)) << "one at a time";
    EXPECT_LT(device.asked.size(), 50U);
    reader.complete(device.answer(*transfer));
  }
  EXPECT_TRUE(reader.done());
  return reader.result();
}

TEST(DeviceReader, ReadsAWholeDevice) {
  Device device = stick();
  const auto result = read(device);
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->speed, Speed::high);
  EXPECT_EQ(result->path, "1-1.4");
  EXPECT_EQ(result->device.vendor_id, 0x1209);
  ASSERT_EQ(result->configurations.size(), 2U);
  EXPECT_EQ(result->configurations[0].raw, configuration_1);
  EXPECT_EQ(result->configurations[1].raw, configuration_2);
  EXPECT_EQ(result->active_configuration, 5);
  EXPECT_EQ(result->manufacturer, "Maker");
  EXPECT_EQ(result->product, "Stick");
  EXPECT_EQ(result->serial, "5A2F");
}

TEST(DeviceReader, AsksForStringsInTheDevicesLanguage) {
  Device device = stick();
  ASSERT_TRUE(read(device).ok());
  EXPECT_EQ(device.asked.back(), get_descriptor(3, 3, 0x0407, 255));
}

TEST(DeviceReader, AbsentStringsAreNotAskedFor) {
  Device device = stick();
  auto& descriptor = device.answers[{6, 0x0100}];
  descriptor[14] = descriptor[15] = 0;  // only a serial
  const auto result = read(device);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->manufacturer, "");
  EXPECT_EQ(result->serial, "5A2F");
  for (const auto& setup : device.asked) EXPECT_NE(setup.value, 0x0301);

  descriptor[16] = 0;  // none at all
  device.asked.clear();
  ASSERT_TRUE(read(device).ok());
  for (const auto& setup : device.asked) EXPECT_NE(setup.value >> 8U, 3) << "not even the language";
}

TEST(DeviceReader, StringsThatStallOrLieAreEmpty) {
  Device device = stick();
  device.answers.erase({6, 0x0301});
  device.answers[{6, 0x0302}] = {200, 3, 'x', 0};
  const auto result = read(device);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->manufacturer, "");
  EXPECT_EQ(result->product, "");
  EXPECT_EQ(result->serial, "5A2F");

  device.answers.erase({6, 0x0300});
  const auto without_language = read(device);
  ASSERT_TRUE(without_language.ok());
  EXPECT_EQ(without_language->serial, "");
}

TEST(DeviceReader, AStalledGetConfigurationMeansUnconfigured) {
  Device device = stick();
  device.answers.erase({8, 0});
  EXPECT_EQ(read(device)->active_configuration, 0);
  device.answers[{8, 0}] = {77};  // a configuration it does not have
  EXPECT_EQ(read(device)->active_configuration, 0);
}

TEST(DeviceReader, FailsWithoutDescriptors) {
  Device no_device = stick();
  no_device.answers.erase({6, 0x0100});
  EXPECT_EQ(read(no_device).error().code, ErrorCode::unavailable);

  Device no_configuration = stick();
  no_configuration.answers.erase({6, 0x0201});
  EXPECT_FALSE(read(no_configuration).ok());

  Device short_configuration = stick();
  short_configuration.answers[{6, 0x0200}].pop_back();
  EXPECT_EQ(read(short_configuration).error().code, ErrorCode::malformed);
}

TEST(DeviceReader, CountsAreBounded) {
  Device device = stick();
  device.answers[{6, 0x0100}][17] = 255;
  EXPECT_EQ(read(device).error().code, ErrorCode::limit);
  device.answers[{6, 0x0100}][17] = 0;
  EXPECT_EQ(read(device).error().code, ErrorCode::limit);

  Device twice = stick();
  twice.answers[{6, 0x0201}] = configuration_1;
  EXPECT_EQ(read(twice).error().code, ErrorCode::malformed);
}

TEST(DeviceReader, EndsWhenTheDeviceGoesWhileAnyStringIsRead) {
  const std::size_t requests = [] {
    Device device = stick();
    EXPECT_TRUE(read(device).ok());
    return device.asked.size();
  }();
  for (std::size_t at = 0; at < requests; ++at) {
    Device device = stick();
    DeviceReader reader(Speed::high, "1-1");
    while (auto transfer = reader.next(1)) {
      Completion completion = device.answer(*transfer);
      if (device.asked.size() == at + 1) completion = {1, TransferStatus::device_gone, 0, {}, {}};
      reader.complete(completion);
    }
    EXPECT_EQ(device.asked.size(), at + 1) << "nothing is asked of a device that is gone";
    EXPECT_FALSE(reader.result().ok());
  }
}

TEST(DeviceReader, CompletionsOfOthersAreIgnored) {
  DeviceReader reader(Speed::full, "");
  reader.complete({1, TransferStatus::stall, 0, {}, {}});
  EXPECT_FALSE(reader.done());
  ASSERT_TRUE(reader.next(5));
  reader.complete({6, TransferStatus::stall, 0, {}, {}});
  EXPECT_FALSE(reader.done());
  EXPECT_FALSE(reader.result().ok()) << "not yet read";
}

}  // namespace
}  // namespace tillbridge::usb
