#include "server/simulator/factory.hpp"

#include <filesystem>

#include <gmock/gmock.h>

#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/device_driver.hpp"
#include "tests/unit/simulator/temporary_folder.hpp"

namespace tillbridge::simulator {
namespace {

Bytes read_block(Device& device, std::uint32_t block) {
  DeviceDriver driver(device);
  driver.configure();
  auto host = massstorage::BulkOnlyHost::create(device.description());
  EXPECT_TRUE(host.ok());
  EXPECT_TRUE(host->test_unit_ready().ok());
  driver.run(*host);
  EXPECT_TRUE(host->read(block, 1).ok());
  return driver.run(*host).data;
}

TEST(Factory, TheDefaultIsAFormattedStickInMemory) {
  auto device = make_device({});
  ASSERT_TRUE(device.ok()) << device.error().message;
  const usb::DeviceDescription& description = (*device)->description();
  EXPECT_EQ(description.device.vendor_id, 0x1209);
  EXPECT_EQ(description.device.product_id, 0x0001);
  EXPECT_THAT(description.serial, testing::MatchesRegex("[0-9A-F]{16}"));
  EXPECT_EQ(description.path, "simulated-1");
  EXPECT_EQ(description.speed, usb::Speed::high);
  const Bytes boot = read_block(**device, partition_first_block);
  EXPECT_EQ(std::string(boot.begin() + 43, boot.begin() + 54), "TSE        ");
}

TEST(Factory, SticksOfOtherPathsHaveOtherSerialsAndKeepThem) {
  DeviceOptions options;
  const std::string first = (*make_device(options))->description().serial;
  EXPECT_EQ((*make_device(options))->description().serial, first);
  options.path = "simulated-2";
  EXPECT_NE((*make_device(options))->description().serial, first);
  options.serial = "5A2F00112233";
  EXPECT_EQ((*make_device(options))->description().serial, "5A2F00112233");
}

TEST(Factory, AnImageIsMadeOnceAndThenKept) {
  const TemporaryFolder folder;
  DeviceOptions options;
  options.image = folder.file("stick.img");
  options.size_mib = 16;
  {
    auto device = make_device(options);
    ASSERT_TRUE(device.ok()) << device.error().message;
    EXPECT_EQ(std::filesystem::file_size(options.image), 16U << 20U);
    const auto twice = make_device(options);
    ASSERT_FALSE(twice.ok());
    EXPECT_EQ(twice.error().code, ErrorCode::refused);
  }
  options.label = "OTHER";
  options.size_mib = 32;
  auto device = make_device(options);
  ASSERT_TRUE(device.ok()) << device.error().message;
  EXPECT_EQ(std::filesystem::file_size(options.image), 16U << 20U);
  const Bytes boot = read_block(**device, partition_first_block);
  EXPECT_EQ(std::string(boot.begin() + 43, boot.begin() + 54), "TSE        ");
}

TEST(Factory, AnImageThatCannotBeFormattedIsNotLeftBehind) {
  const TemporaryFolder folder;
  DeviceOptions options;
  options.image = folder.file("stick.img");
  options.label = "wrong label";
  EXPECT_FALSE(make_device(options).ok());
  EXPECT_FALSE(std::filesystem::exists(options.image));
}

TEST(Factory, ASerialEcho) {
  DeviceOptions options;
  options.kind = "serial-echo";
  options.speed = "full";
  const auto device = make_device(options);
  ASSERT_TRUE(device.ok());
  EXPECT_EQ((*device)->description().device.product_id, 0x0002);
  EXPECT_EQ((*device)->description().speed, usb::Speed::full);
}

TEST(Factory, WrongOptionsAreNamed) {
  struct Case {
    const char* key;
    void (*spoil)(DeviceOptions&);
  };
  for (const Case& c : {
           Case{"kind", [](DeviceOptions& o) { o.kind = "mass storage"; }},
           Case{"speed", [](DeviceOptions& o) { o.speed = "super"; }},
           Case{"delay_us", [](DeviceOptions& o) { o.delay_us = 60'000'001; }},
           Case{"serial", [](DeviceOptions& o) { o.serial = "0123456789A"; }},
           Case{"serial", [](DeviceOptions& o) { o.serial = "0123456789ab"; }},
           Case{"serial", [](DeviceOptions& o) { o.serial = std::string(127, '0'); }},
           Case{"product", [](DeviceOptions& o) { o.product = std::string(127, 'x'); }},
           Case{"manufacturer", [](DeviceOptions& o) { o.manufacturer = std::string(127, 'x'); }},
           Case{"size_mib", [](DeviceOptions& o) { o.size_mib = 7; }},
           Case{"size_mib", [](DeviceOptions& o) { o.size_mib = 1048577; }},
           Case{"label", [](DeviceOptions& o) { o.label = "lower"; }},
           Case{"cluster_bytes", [](DeviceOptions& o) { o.cluster_bytes = 65536; }},
           Case{"cluster_bytes", [](DeviceOptions& o) { o.cluster_bytes = 32768; }},
           Case{"inquiry_vendor", [](DeviceOptions& o) { o.inquiry_vendor = "NINE CHAR"; }},
           Case{"inquiry_product", [](DeviceOptions& o) { o.inquiry_product = "Größe"; }},
           Case{"inquiry_revision", [](DeviceOptions& o) { o.inquiry_revision = "1.000"; }},
           Case{"image", [](DeviceOptions& o) { o.image = "/nonexistent/stick.img"; }},
       }) {
    DeviceOptions options;
    c.spoil(options);
    const auto device = make_device(options);
    ASSERT_FALSE(device.ok()) << c.key;
    EXPECT_THAT(device.error().message, testing::HasSubstr(c.key));
  }
}

TEST(Factory, ATseOfEachFamilyHasItsOwnIdAndKeepsItsState) {
  for (const auto& [kind, product_id] : std::vector<std::pair<const char*, std::uint16_t>>{
           {"cryptovision", 0x0003}, {"swissbit", 0x0004}, {"diebold", 0x0005}}) {
    const TemporaryFolder folder;
    DeviceOptions options;
    options.kind = kind;
    options.tse.curve = "P-256";
    options.tse.state = folder.file("tse");
    if (options.kind != "diebold") options.image = folder.file("stick.img");
    std::string state;
    for (int start = 0; start < 2; ++start) {
      auto device = make_device(options);
      ASSERT_TRUE(device.ok()) << kind << ": " << device.error().message;
      EXPECT_EQ((*device)->description().device.vendor_id, 0x1209);
      EXPECT_EQ((*device)->description().device.product_id, product_id) << kind;
      if (start == 0) state = folder.read("tse/state.json");
      EXPECT_EQ(folder.read("tse/state.json"), state) << "the second start makes no new key";
    }
    options.tse.curve = "P-384";
    const auto other = make_device(options);
    ASSERT_FALSE(other.ok()) << kind;
    EXPECT_THAT(other.error().message, testing::HasSubstr("A TSE keeps its key"));
  }
}

TEST(Factory, MistakesInTsesAndFaultsAreTold) {
  DeviceOptions options;
  options.kind = "swissbit";
  options.tse.curve = "P-521";
  EXPECT_THAT(make_device(options).error().message,
              testing::HasSubstr("curve = \"P-521\": must be P-256, P-384,"));
  options = {};
  options.faults = {"status stall", "status explode"};
  EXPECT_THAT(make_device(options).error().message,
              testing::HasSubstr("fault \"status explode\": the second word"));
}

}  // namespace
}  // namespace tillbridge::simulator
