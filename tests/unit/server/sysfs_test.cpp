#include "server/usb/sysfs.hpp"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench.hpp"
#include "server/simulator/factory.hpp"

namespace tillbridge::server {
namespace {

/// A folder that looks like /sys/bus/usb/devices with the simulated stick at 1-1.4.
class SysfsTest : public ::testing::Test {
 protected:
  SysfsTest() {
    simulator::DeviceOptions options;
    options.serial = "5A2F00000001";
    auto made = simulator::make_device(options);
    EXPECT_TRUE(made.ok());
    description_ = (*made)->description();
    const Bytes device = usb::encode(description_.device);
    raw_.assign(device.begin(), device.end());
    for (const usb::Configuration& configuration : description_.configurations) {
      raw_.append(configuration.raw.begin(), configuration.raw.end());
    }
    std::filesystem::create_directories(folder_ / "1-1.4/power");
    write("descriptors", raw_);
    write("speed", "480\n");
    write("bConfigurationValue", "1\n");
    write("devnum", "7\n");
    write("serial", "5A2F00000001\n");
    write("product", description_.product + "  \n");
    write("power/control", "auto\n");
  }
  void write(const std::string& name, const std::string& text) {
    test::write_file(folder_ / ("1-1.4/" + name), text);
  }

  test::TemporaryFolder folder_;
  usb::DeviceDescription description_;
  std::string raw_;
  Sysfs sysfs_{folder_.path()};
};

TEST_F(SysfsTest, DescribesADevice) {
  const auto described = sysfs_.describe("1-1.4");
  ASSERT_TRUE(described.ok()) << described.error().message;
  EXPECT_EQ(described->device, description_.device);
  EXPECT_EQ(described->configurations, description_.configurations);
  EXPECT_EQ(described->speed, usb::Speed::high);
  EXPECT_EQ(described->active_configuration, 1);
  EXPECT_EQ(described->serial, "5A2F00000001");
  EXPECT_EQ(described->product, description_.product) << "no blanks at the end";
  EXPECT_EQ(described->manufacturer, "") << "a device without that string";
  EXPECT_EQ(described->path, "1-1.4");
}

TEST_F(SysfsTest, ADeviceThatIsNotThere) {
  EXPECT_FALSE(sysfs_.describe("9-9").ok());
  EXPECT_EQ(sysfs_.active_configuration("9-9"), std::nullopt);
  EXPECT_FALSE(sysfs_.present("9-9", 7));
}

TEST_F(SysfsTest, EveryCutOfTheDescriptorsIsAnErrorAndNoCrash) {
  for (std::size_t size = 0; size < raw_.size(); ++size) {
    if (size == usb::DeviceDescriptor::size) continue;  // a device without configurations is whole
    write("descriptors", raw_.substr(0, size));
    EXPECT_FALSE(sysfs_.describe("1-1.4").ok()) << size;
  }
}

TEST_F(SysfsTest, NotConfiguredYet) {
  write("bConfigurationValue", "\n");
  EXPECT_EQ(sysfs_.active_configuration("1-1.4"), std::nullopt);
  EXPECT_EQ(sysfs_.describe("1-1.4")->active_configuration, 0);
}

TEST_F(SysfsTest, PresenceGoesByTheDeviceNumber) {
  EXPECT_TRUE(sysfs_.present("1-1.4", 7));
  EXPECT_FALSE(sysfs_.present("1-1.4", 8)) << "plugged in anew";
}

TEST_F(SysfsTest, KnowsWhatCameOverTheNetwork) {
  std::filesystem::create_directories(folder_ / "platform/vhci_hcd.0/usb3/3-1");
  std::filesystem::create_directory_symlink(folder_ / "platform/vhci_hcd.0/usb3/3-1",
                                            folder_ / "3-1");
  EXPECT_TRUE(sysfs_.imported("3-1"));
  EXPECT_FALSE(sysfs_.imported("1-1.4"));
  EXPECT_FALSE(sysfs_.imported("9-9"));
}

TEST_F(SysfsTest, KeepsTheStickAwake) {
  EXPECT_TRUE(sysfs_.keep_awake("1-1.4").ok());
  std::ifstream stream(folder_ / "1-1.4/power/control");
  std::string text;
  stream >> text;
  EXPECT_EQ(text, "on");
  const Status none = sysfs_.keep_awake("9-9");
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.error().message, ::testing::HasSubstr("udev rules"));
}

}  // namespace
}  // namespace tillbridge::server
