#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/terminal/vhci/controller.hpp"

namespace tillbridge::terminal::vhci {
namespace {

using testing::HasSubstr;

// As Linux 6.1 prints it, shortened to two ports a hub.
constexpr const char* one_taken =
    "hub port sta spd dev      sockfd local_busid\n"
    "hs  0000 006 003 00010002 000003 1-1\n"
    "hs  0001 004 000 00000000 000000 0-0\n"
    "ss  0008 004 000 00000000 000000 0-0\n"
    "ss  0009 005 000 00000000 000000 0-0\n";

TEST(VhciStatus, Ports) {
  const auto ports = parse_status(one_taken);
  ASSERT_TRUE(ports.ok()) << ports.error().message;
  EXPECT_EQ(*ports, (std::vector<Port>{
                        {0, false, false}, {1, false, true}, {8, true, true}, {9, true, false}}));
}

TEST(VhciStatus, RefusesOtherFormats) {
  EXPECT_FALSE(parse_status("").ok());
  EXPECT_FALSE(parse_status("prt sta spd bus dev socket           local_busid\n000 004 000\n").ok())
      << "Linux 3.8";
  EXPECT_FALSE(parse_status("hub port sta spd dev      sockfd local_busid\nhs  abc\n").ok());
  EXPECT_FALSE(parse_status("hub port sta spd dev      sockfd local_busid\nxx  0000 004\n").ok());
  const auto no_ports = parse_status("hub port sta spd dev      sockfd local_busid\n");
  ASSERT_TRUE(no_ports.ok());
  EXPECT_TRUE(no_ports->empty());
}

class KernelControllerTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = std::filesystem::path(testing::TempDir()) / ("vhci-" + std::string(test->name()));
    std::filesystem::create_directories(directory_);
    write("status", one_taken);
    write("attach", "");
    write("detach", "");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
  }
  std::string read(const std::string& name) {
    std::ifstream file(directory_ / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::filesystem::path directory_;
};

TEST_F(KernelControllerTest, TakesTheFirstFreePortOfTheRightHub) {
  KernelController controller(directory_);
  EXPECT_TRUE(controller.usable().ok());
  const auto high = controller.attach(11, usb::Speed::high);
  ASSERT_TRUE(high.ok()) << high.error().message;
  EXPECT_EQ(*high, 1U);
  EXPECT_EQ(read("attach"), "1 11 65538 3");
  const auto full = controller.attach(12, usb::Speed::full);
  ASSERT_TRUE(full.ok());
  EXPECT_EQ(read("attach"), "1 12 65538 2");
  const auto super = controller.attach(13, usb::Speed::super);
  ASSERT_TRUE(super.ok());
  EXPECT_EQ(*super, 8U);
  EXPECT_EQ(read("attach"), "8 13 65545 5");
}

TEST_F(KernelControllerTest, UsesFurtherControllers) {
  write("status",
        "hub port sta spd dev      sockfd local_busid\nhs  0000 006 003 00010002 000003 1-1\n");
  write("status.1",
        "hub port sta spd dev      sockfd local_busid\nhs  0016 004 000 00000000 000000 0-0\n");
  const auto port = KernelController(directory_).attach(11, usb::Speed::high);
  ASSERT_TRUE(port.ok()) << port.error().message;
  EXPECT_EQ(*port, 16U);
}

TEST_F(KernelControllerTest, SaysWhenAllPortsAreTaken) {
  write("status",
        "hub port sta spd dev      sockfd local_busid\nhs  0000 006 003 00010002 000003 1-1\n");
  const auto port = KernelController(directory_).attach(11, usb::Speed::high);
  ASSERT_FALSE(port.ok());
  EXPECT_EQ(port.error().code, ErrorCode::unavailable);
  EXPECT_THAT(port.error().message, HasSubstr("all 1 high-speed ports"));
  EXPECT_EQ(read("attach"), "");
}

TEST_F(KernelControllerTest, Detaches) {
  EXPECT_TRUE(KernelController(directory_).detach(8).ok());
  EXPECT_EQ(read("detach"), "8");
}

TEST_F(KernelControllerTest, SaysWhatToDoWithoutTheModule) {
  const KernelController controller(directory_ / "nothing");
  const Status usable = controller.usable();
  ASSERT_FALSE(usable.ok());
  EXPECT_THAT(usable.error().message, HasSubstr("modprobe vhci-hcd"));
}

TEST_F(KernelControllerTest, ReportsWhatTheKernelRefuses) {
  std::filesystem::remove(directory_ / "detach");
  const Status detached = KernelController(directory_).detach(8);
  ASSERT_FALSE(detached.ok());
  EXPECT_THAT(detached.error().message, HasSubstr("vhci port 8"));
}

}  // namespace
}  // namespace tillbridge::terminal::vhci
