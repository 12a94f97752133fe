// The test bench's socket: a test pulls, plugs, breaks and questions simulated sticks.
#include "server/usb/simulation_control.hpp"

#include <cstring>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench.hpp"
#include "server/simulator/factory.hpp"

namespace tillbridge::server {
namespace {

class SimulationControlTest : public ::testing::Test {
 protected:
  SimulationControlTest() {
    simulator::DeviceOptions options;
    options.serial = "5A2F00000001";
    options.size_mib = 8;
    std::vector<std::unique_ptr<simulator::Device>> devices;
    devices.push_back(std::move(*simulator::make_device(options)));
    options.kind = "osr-fx2";
    options.path = "simulated-2";
    options.serial = "FX2";
    devices.push_back(std::move(*simulator::make_device(options)));
    source_ = std::make_unique<SimulatedSource>(bench_.loop, std::move(devices));
    source_->start({[this](const Arrival& arrival) { events_ += "+" + arrival.busid + " "; },
                    [this](const std::string& busid) { events_ += "-" + busid + " "; }});
    bench_.run_what_is_due();
  }

  /// Sends the lines from another thread, as another process would, and returns all answers.
  std::string say(const std::string& lines, std::size_t answers) {
    std::string answer;
    bool done = false;
    std::thread client([&] {
      const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      const std::string path = path_.string();
      std::memcpy(&address.sun_path, path.data(), path.size());
      if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
          ::send(fd, lines.data(), lines.size(), MSG_NOSIGNAL) > 0) {
        char byte = 0;
        while (answers > 0 && ::read(fd, &byte, 1) == 1) {
          answer += byte;
          if (byte == '\n') --answers;
        }
      }
      ::close(fd);
      bench_.loop.post([&] {
        done = true;
        bench_.poke();
      });
    });
    EXPECT_TRUE(bench_.run_until([&] { return done; }));
    client.join();
    return answer;
  }

  test::Bench bench_;
  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "control.sock";
  std::unique_ptr<SimulatedSource> source_;
  std::string events_;
};

TEST_F(SimulationControlTest, PullsPlugsAndLists) {
  const auto control = SimulationControl::listen(bench_.loop, *source_, path_);
  ASSERT_TRUE(control.ok()) << control.error().message;
  EXPECT_EQ(say("list\nunplug 5A2F00000001\nlist\nplug 5A2F00000001\n", 8),
            "5A2F00000001 simulated-1 plugged\nFX2 simulated-2 plugged\nok\nok\n"
            "5A2F00000001 simulated-1 unplugged\nFX2 simulated-2 plugged\nok\nok\n");
  EXPECT_EQ(events_, "+simulated-1 +simulated-2 -simulated-1 +simulated-1 ");
  EXPECT_EQ(say("unplug nothing\nplug 5A2F00000001\nreset x\n", 3),
            "error: no simulated stick 'nothing'\nerror: '5A2F00000001' is plugged in already\n"
            "error: unknown command; write list, or one of plug, unplug, power-cycle, heal, "
            "witness and a SERIAL, or switches SERIAL POSITIONS, or fault SERIAL POINT ACTION "
            "...\n");
}

TEST_F(SimulationControlTest, BreaksHealsAndQuestions) {
  const auto control = SimulationControl::listen(bench_.loop, *source_, path_);
  ASSERT_TRUE(control.ok()) << control.error().message;
  EXPECT_EQ(say("fault 5A2F00000001 status stall skip=2\npower-cycle 5A2F00000001\n"
                "heal 5A2F00000001\nfault nothing status stall\n",
                4),
            "ok\nok\nok\nerror: no simulated stick 'nothing'\n");
  EXPECT_THAT(
      say("fault 5A2F00000001 status explode\n", 1),
      ::testing::StartsWith("error: fault \"status explode\": the second word must be one"));
  EXPECT_THAT(say("unplug 5A2F00000001\nwitness 5A2F00000001\n", 3),
              ::testing::AllOf(::testing::StartsWith("ok\n{\"signatures\":0,"),
                               ::testing::HasSubstr("\"power_cycles\":2,"),
                               ::testing::HasSubstr("\"unplugs\":1,")));
}

TEST_F(SimulationControlTest, FlipsSwitches) {
  const auto control = SimulationControl::listen(bench_.loop, *source_, path_);
  ASSERT_TRUE(control.ok()) << control.error().message;
  EXPECT_EQ(say("switches FX2 0x5A\nswitches FX2 256\nswitches FX2 0x\nswitches FX2 1 2\n"
                "switches 5A2F00000001 1\n",
                5),
            "ok\n"
            "error: the positions are a number from 0 to 255 or 0x00 to 0xFF\n"
            "error: the positions are a number from 0 to 255 or 0x00 to 0xFF\n"
            "error: the positions are a number from 0 to 255 or 0x00 to 0xFF\n"
            "error: '5A2F00000001' has no switches; a stick of kind osr-fx2 has\n");
}

TEST_F(SimulationControlTest, IsForItsOwnUserAndGoesAway) {
  {
    const auto control = SimulationControl::listen(bench_.loop, *source_, path_);
    ASSERT_TRUE(control.ok());
    struct stat status {};
    ASSERT_EQ(::stat(path_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    const auto second = SimulationControl::listen(bench_.loop, *source_, path_);
    ASSERT_FALSE(second.ok());
    EXPECT_THAT(second.error().message, ::testing::HasSubstr("somebody else listens there"));
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(SimulationControlTest, ALineWithoutEndIsCutOff) {
  const auto control = SimulationControl::listen(bench_.loop, *source_, path_);
  ASSERT_TRUE(control.ok());
  EXPECT_EQ(say(std::string(10000, 'x'), 1), "");
}

}  // namespace
}  // namespace tillbridge::server
