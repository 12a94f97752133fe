// The plugin as FreeRDP meets it: through DVCPluginEntry and the C tables, on several threads at
// once.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <winpr/wlog.h>

#include "channel/bytes/limits.hpp"
#include "plugin/freerdp/dvc_channel.hpp"
#include "plugin/freerdp/freerdp_log.hpp"
#include "plugin/worker.hpp"
#include "tests/unit/plugin/certificates.hpp"
#include "tests/unit/plugin/fake_freerdp.hpp"
#include "tests/unit/plugin/terminal_end.hpp"
#include "tests/unit/plugin/usb_server.hpp"

namespace tillbridge::plugin::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

/// What the plugin writes to FreeRDP's log, from whichever thread.
class LogCapture {
 public:
  LogCapture() {
    instance() = this;
    wLog* log = WLog_Get(FreeRdpLog::tag);
    WLog_SetLogLevel(log, WLOG_DEBUG);
    WLog_SetLogAppenderType(log, WLOG_APPENDER_CALLBACK);
    static wLogCallbacks callbacks{};
    callbacks.message = [](const wLogMessage* message) -> BOOL {
      const std::lock_guard guard(mutex());
      if (instance() != nullptr) instance()->lines_.emplace_back(message->TextString);
      return TRUE;
    };
    WLog_ConfigureAppender(WLog_GetLogAppender(log), "callbacks", &callbacks);
    WLog_OpenAppender(log);
  }
  ~LogCapture() {
    const std::lock_guard guard(mutex());
    instance() = nullptr;
  }
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  [[nodiscard]] long count(const std::string& part) const {
    const std::lock_guard guard(mutex());
    return std::count_if(lines_.begin(), lines_.end(), [&](const std::string& line) {
      return line.find(part) != std::string::npos;
    });
  }

 private:
  static LogCapture*& instance() {
    static LogCapture* current = nullptr;
    return current;
  }
  static std::mutex& mutex() {
    static std::mutex one;
    return one;
  }
  std::vector<std::string> lines_;
};

/// The USB server and the terminal server, on a thread of their own.
class World {
 public:
  World() : server_loop_(std::make_unique<transport::Loop>()) {
    server_ = std::make_unique<UsbServer>(*server_loop_);
    thread_ = std::thread([this] { server_loop_->run(); });
  }
  ~World() {
    ask([this] {
      terminal_.reset();
      server_.reset();
      return 0;
    });
    server_loop_->stop();
    thread_.join();
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// Runs on the world's thread and returns what it returns.
  template <typename Question>
  auto ask(Question question) -> decltype(question()) {
    std::promise<decltype(question())> answer;
    server_loop_->post([&] { answer.set_value(question()); });
    return answer.get_future().get();
  }
  void post(std::function<void()> task) { server_loop_->post(std::move(task)); }
  /// Asks again and again, for a minute of the real clock at most.
  template <typename Wanted>
  [[nodiscard]] bool until(Wanted wanted) {
    const auto end = std::chrono::steady_clock::now() + seconds(60);
    while (!ask(wanted)) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(milliseconds(1));  // leave the processor to those we wait for
    }
    return true;
  }

  [[nodiscard]] UsbServer& server() { return *server_; }
  [[nodiscard]] TerminalEnd& terminal() { return *terminal_; }
  [[nodiscard]] std::uint16_t port() {
    return ask([this] { return server_->port(); });
  }

  /// The terminal server's end of a new RDP connection.
  void session(FakeFreeRdp* freerdp) {
    ask([this, freerdp] {
      const int generation = ++generation_;
      terminal_ = std::make_unique<TerminalEnd>(
          *server_loop_,
          TerminalEnd::Wire{
              .open =
                  [this, freerdp, generation](std::uint32_t ticket) {
                    freerdp->create("URBDRC", [this, generation, ticket](std::uint32_t channel) {
                      for_session(generation, [this, ticket, channel] {
                        if (channel != 0) {
                          terminal_->opened(ticket, channel);
                        } else {
                          terminal_->refused(ticket);
                        }
                      });
                    });
                  },
              // Whole messages come behind their header, reassembled ones at position 0.
              .send =
                  [this, freerdp](rdpeusb::ChannelId channel, Bytes message) {
                    freerdp->data(channel, std::move(message), (++sent_ % 3) * 5);
                  },
              .close = [freerdp](rdpeusb::ChannelId channel) { freerdp->close(channel); }});
      return 0;
    });
  }
  void end_session() {
    ask([this] {
      ++generation_;
      terminal_.reset();
      return 0;
    });
  }
  FakeFreeRdp::Hooks hooks() {
    return {.written =
                [this](std::uint32_t channel, Bytes message) {
                  const int generation = generation_;
                  for_session(generation, [this, channel, message = std::move(message)] {
                    terminal_->receive(channel, message);
                  });
                },
            .closed =
                [this](std::uint32_t channel) {
                  const int generation = generation_;
                  for_session(generation, [this, channel] { terminal_->closed(channel); });
                },
            // The terminal end answers what it hears of the end, also after a test's last line.
            .gone = [this] { end_session(); }};
  }

 private:
  void for_session(int generation, std::function<void()> task) {
    post([this, generation, task = std::move(task)] {
      if (generation == generation_ && terminal_) task();
    });
  }

  std::unique_ptr<transport::Loop> server_loop_;
  std::unique_ptr<UsbServer> server_;
  std::unique_ptr<TerminalEnd> terminal_;
  std::atomic<int> generation_ = 0;
  std::size_t sent_ = 0;
  std::thread thread_;
};

class FreeRdpTest : public testing::Test {
 protected:
  ~FreeRdpTest() override { std::filesystem::remove(file_); }

  std::string configuration(std::uint16_t port) {
    const auto& files = Certificates::get();
    std::ofstream file(file_);
    file << "[server]\nhost = \"127.0.0.1\"\nname = \"localhost\"\nport = " << port
         << "\n[tls]\ncertificate = " << files.certificate("till")
         << "\nkey = " << files.key("till") << "\nauthority = " << files.authority() << "\n";
    return "config:" + file_;
  }

  [[nodiscard]] bool until_present(std::size_t count) {
    return world_.until([&] { return world_.terminal().present().size() == count; });
  }
  void start_terminal() {
    world_.ask([this] {
      world_.terminal().start();
      return 0;
    });
  }
  void configure() {
    const auto last = world_.ask(
        [&] { return world_.terminal().configure(world_.terminal().present().front()); });
    ASSERT_TRUE(world_.until([&] { return world_.terminal().completion(last).has_value(); }));
  }
  /// `count` reads that wait for data, as a smart card reader's interrupt pipe does.
  void reads_in_flight(std::size_t count) {
    configure();
    world_.ask([&] {
      const auto device = world_.terminal().present().front();
      for (std::size_t read = 0; read < count; ++read) (void)world_.terminal().read(device, 64);
      return 0;
    });
    ASSERT_TRUE(world_.until([&] { return world_.server().sticks.at(1)->running() == count; }));
  }

  LogCapture log_;
  World world_;
  std::string file_ =
      testing::TempDir() + "tillbridge_freerdp_test_" + std::to_string(getpid()) + ".toml";
};

TEST_F(FreeRdpTest, DeviceEchoesThroughTheCTables) {
  FakeFreeRdp freerdp({configuration(world_.port())}, world_.hooks());
  freerdp_settings_set_string(freerdp.settings(), FreeRDP_Username, "anna");
  freerdp_settings_set_string(freerdp.settings(), FreeRDP_ServerHostname, "ts.example");
  ASSERT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  world_.session(&freerdp);
  start_terminal();
  ASSERT_TRUE(until_present(1));
  configure();
  usb::TransferId in = 0;
  world_.ask([&] {
    EXPECT_EQ(world_.server().hello->user, "anna");
    EXPECT_EQ(world_.server().hello->terminal_server, "ts.example");
    const auto device = world_.terminal().present().front();
    (void)world_.terminal().write(device, Bytes(200, 0x5A));
    in = world_.terminal().read(device, 200);
    return 0;
  });
  ASSERT_TRUE(world_.until([&] { return world_.terminal().completion(in).has_value(); }));
  EXPECT_EQ(world_.ask([&] { return world_.terminal().completion(in)->data; }), Bytes(200, 0x5A));
  freerdp.disconnect();
  EXPECT_EQ(freerdp.misuses, 0);
  EXPECT_EQ(freerdp.closed_by_error, 0);
  EXPECT_TRUE(world_.until([&] { return world_.server().goodbye.has_value(); }));
}

TEST_F(FreeRdpTest, EmptyMessageHarmsNothing) {
  FakeFreeRdp freerdp({configuration(world_.port())}, world_.hooks());
  ASSERT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  world_.session(&freerdp);
  start_terminal();
  ASSERT_TRUE(until_present(1));
  for (std::uint32_t channel = 1; channel <= 2; ++channel) {
    freerdp.data(channel, {}, 0);
    freerdp.data(channel, {}, 7);
  }
  reads_in_flight(1);
  EXPECT_EQ(freerdp.open_channels(), 2U);
  EXPECT_EQ(freerdp.closed_by_error, 0);
}

TEST_F(FreeRdpTest, TooLargeAMessageClosesItsChannelOnly) {
  FakeFreeRdp freerdp({configuration(world_.port())}, world_.hooks());
  ASSERT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  world_.session(&freerdp);
  start_terminal();
  ASSERT_TRUE(until_present(1));
  freerdp.data(2, Bytes(limits::rdpeusb_message_bytes + 1));
  ASSERT_TRUE(until_present(0));
  freerdp.settle();  // the channel's end is told before it is taken out of the table
  EXPECT_EQ(freerdp.closed_by_error, 1);
  EXPECT_EQ(freerdp.open_channels(), 1U);
  EXPECT_EQ(log_.count("which no USB transfer needs"), 1);
}

TEST_F(FreeRdpTest, UnpluggedStickClosesASilentChannelFromOurThread) {
  FakeFreeRdp freerdp({configuration(world_.port())}, world_.hooks());
  ASSERT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  world_.session(&freerdp);
  start_terminal();
  ASSERT_TRUE(until_present(1));
  reads_in_flight(4);
  world_.ask([&] {
    world_.server().revoke(1, "", true);
    return 0;
  });
  ASSERT_TRUE(until_present(0));
  EXPECT_EQ(freerdp.closed_by_plugin, 1);
  EXPECT_EQ(freerdp.misuses, 0);
}

// FreeRDP is given time to close a channel; the stick may be plugged in again within it.
TEST_F(FreeRdpTest, StickPluggedInAgainIsNeverInTheSessionTwice) {
  FakeFreeRdp freerdp({configuration(world_.port())}, world_.hooks());
  ASSERT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  world_.session(&freerdp);
  start_terminal();
  ASSERT_TRUE(until_present(1));
  const auto before = world_.ask([&] { return world_.terminal().present().front(); });
  world_.ask([&] {
    world_.server().revoke(1, "", true);
    world_.server().grant(1);
    return 0;
  });
  bool twice = false;
  ASSERT_TRUE(world_.until([&] {
    const auto present = world_.terminal().present();
    twice = twice || present.size() > 1;
    return present.size() == 1 && present.front() != before;
  }));
  EXPECT_FALSE(twice);
  EXPECT_EQ(freerdp.misuses, 0);
}

TEST_F(FreeRdpTest, BusyChannelIsClosedByFreeRdpsOwnThread) {
  FakeFreeRdp freerdp({configuration(world_.port())}, world_.hooks());
  ASSERT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  world_.session(&freerdp);
  start_terminal();
  ASSERT_TRUE(until_present(1));
  world_.ask([&] {
    world_.server().revoke(1, "", true);
    return 0;
  });
  // Messages keep coming on the device's channel, which is the second one.
  ASSERT_TRUE(world_.until([&] {
    if (world_.terminal().present().empty()) return true;
    freerdp.data(2, {});
    return false;
  }));
  EXPECT_EQ(freerdp.closed_by_error, 1);
  EXPECT_EQ(freerdp.closed_by_plugin, 0);
}

TEST_F(FreeRdpTest, RetractedDeviceAndClosedChannelMeet) {
  FakeFreeRdp freerdp({configuration(world_.port())}, world_.hooks());
  ASSERT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  world_.session(&freerdp);
  start_terminal();
  ASSERT_TRUE(until_present(1));
  reads_in_flight(3);
  world_.ask(
      [&] {  // RETRACT_DEVICE and the close right behind it: the plugin wants to close as well
        world_.terminal().retract(world_.terminal().present().front());
        freerdp.close(2);
        return 0;
      });
  ASSERT_TRUE(until_present(0));
  ASSERT_TRUE(world_.until([&] { return world_.server().sticks.at(1)->running() == 0; }));
  freerdp.settle();
  EXPECT_EQ(freerdp.closed_by_plugin, 0) << "the terminal server's close came first";
}

// FreeRDP's thread frees the channel as soon as OnClose returns, while ours is on its way into it.
// In FreeRDP 2 each of them waits for the other then: ours for the table of channels.
TEST_F(FreeRdpTest, BothCloseAChannelInTheSameInstant) {
  auto hooks = world_.hooks();
  FakeFreeRdp* terminal_server = nullptr;
  hooks.plugin_closes = [&](std::uint32_t channel) {
    terminal_server->close(channel);
    while (terminal_server->closes_begun == 0) std::this_thread::yield();
  };
  FakeFreeRdp freerdp({configuration(world_.port())}, std::move(hooks));
  terminal_server = &freerdp;
  ASSERT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  world_.session(&freerdp);
  start_terminal();
  ASSERT_TRUE(until_present(1));
  reads_in_flight(1);  // all that opens a device is over: its channel is silent
  world_.ask([&] {
    world_.server().revoke(1, "", true);
    return 0;
  });
  ASSERT_TRUE(until_present(0));
  freerdp.settle();
  EXPECT_EQ(freerdp.closed_by_plugin, 1);
  EXPECT_EQ(freerdp.closes_begun, 1);
  EXPECT_EQ(freerdp.misuses, 0);
  EXPECT_EQ(freerdp.open_channels(), 1U);
  world_.ask([&] {
    world_.server().grant(1);
    return 0;
  });
  EXPECT_TRUE(until_present(1)) << "the session goes on";
}

// Every moment at which a connection may end, with the other two ends acting in the same instant.
// Seeded; what the threads make of it differs from run to run, and none of it may be wrong.
TEST_F(FreeRdpTest, ReconnectStorm) {
  constexpr int rounds = 100;
  std::mt19937 random(20260214);
  const auto pick = [&](unsigned choices) { return static_cast<unsigned>(random() % choices); };
  const std::string argument = configuration(world_.port());
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    FakeFreeRdp freerdp({argument}, world_.hooks());
    ASSERT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
    world_.session(&freerdp);
    const unsigned stage = pick(5);
    if (stage >= 1) start_terminal();
    if (stage == 2) {
      // Or more: the stick's own channel may open between two looks.
      ASSERT_TRUE(world_.until([&] { return freerdp.open_channels() >= 1; }));
    }
    if (stage >= 3) {
      ASSERT_TRUE(until_present(1));
    }
    if (stage == 4) reads_in_flight(1 + pick(8));
    switch (pick(5)) {
      case 0:
        break;
      case 1:
        freerdp.close(1);
        break;
      case 2:
        freerdp.close(2);
        break;
      case 3:
        world_.post([this] {
          if (!world_.server().sticks.empty()) world_.server().cut();
        });
        break;
      case 4:
        world_.post([this] {
          const auto present = world_.terminal().present();
          if (!present.empty()) world_.terminal().retract(present.front());
        });
        break;
      default:
        break;
    }
    // Sometimes the plugin gets as far as closing a channel by itself, sometimes Terminated comes
    // first.
    if (pick(4) == 0) std::this_thread::sleep_for(Worker::close_patience - milliseconds(pick(20)));
    freerdp.disconnect();
    world_.end_session();
    ASSERT_EQ(freerdp.misuses, 0);
    ASSERT_EQ(freerdp.open_channels(), 0U);
  }
}

// CVE-2026-121953 is a channel that overwrote its listener's single callback.
TEST_F(FreeRdpTest, ManyChannelsInOddOrder) {
  FakeFreeRdp freerdp({configuration(world_.port())}, world_.hooks());
  ASSERT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  world_.session(&freerdp);
  std::atomic<std::size_t> accepted = 0;
  std::atomic<std::size_t> refused = 0;
  for (std::size_t channel = 0; channel < limits::rdpeusb_channels + 5; ++channel) {
    freerdp.create("URBDRC", [&](std::uint32_t id) { ++(id != 0 ? accepted : refused); });
  }
  for (std::uint32_t channel = 130; channel > 2; channel -= 2) freerdp.close(channel);
  freerdp.create("URBDRC", [&](std::uint32_t id) { ++(id != 0 ? accepted : refused); });
  freerdp.settle();
  EXPECT_EQ(refused, 5U);
  EXPECT_EQ(accepted, limits::rdpeusb_channels + 1);
  freerdp.disconnect();
  EXPECT_EQ(freerdp.misuses, 0);
}

TEST_F(FreeRdpTest, LogSaysWhichVersionsMet) {
  FakeFreeRdp freerdp({configuration(world_.port())}, world_.hooks());
  ASSERT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  EXPECT_EQ(log_.count("tillbridge " TILLBRIDGE_VERSION " in FreeRDP " +
                       std::string(freerdp_get_version_string()) +
                       " (built with " FREERDP_VERSION_FULL ")"),
            1);
}

TEST_F(FreeRdpTest, WrongConfigurationLeavesTheRdpSessionAlone) {
  std::ofstream(file_) << "[server]\nhots = \"tse.example\"\n";
  FakeFreeRdp freerdp({"config:" + file_}, world_.hooks());
  EXPECT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  EXPECT_EQ(freerdp.plugins(), 0);
  EXPECT_FALSE(freerdp.has_listener("URBDRC"));
  EXPECT_EQ(
      log_.count(
          file_ +
          ":2: key 'hots' is not known in [server]; did you mean 'host'? (no stick will appear"),
      1);
}

TEST_F(FreeRdpTest, ErrorIsOnStderrWhereTheLogLevelWouldHideIt) {
  WLog_SetLogLevel(WLog_Get(FreeRdpLog::tag), WLOG_OFF);
  testing::internal::CaptureStderr();
  FakeFreeRdp freerdp({"config:/nonexistent/till.toml"}, world_.hooks());
  EXPECT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("tillbridge: /nonexistent/till.toml: there is no such file"));
}

TEST_F(FreeRdpTest, OwnUsbRedirectionOnTheCommandLineKeepsUsOut) {
  FakeFreeRdp freerdp({configuration(world_.port())}, world_.hooks());
  freerdp.add_dynamic_channel("urbdrc");
  EXPECT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  EXPECT_FALSE(freerdp.has_listener("URBDRC"));
  EXPECT_EQ(log_.count("FreeRDP's own USB redirection (option /usb) is on"), 1);
}

TEST_F(FreeRdpTest, OwnUsbRedirectionThatIsLoadedKeepsUsOut) {
  FakeFreeRdp freerdp({configuration(world_.port())}, world_.hooks());
  freerdp.pretend_loaded("urbdrc");
  EXPECT_EQ(freerdp.connect(), static_cast<UINT>(CHANNEL_RC_OK));
  EXPECT_FALSE(freerdp.has_listener("URBDRC"));
  EXPECT_EQ(log_.count("FreeRDP's own USB redirection (option /usb) is on"), 1);
}

/// Holds our thread in its first line, as a disk that hangs would.
struct StuckLog final : Log {
  void write(Level level, const std::string&) override {
    if (level == Level::error || std::this_thread::get_id() == ours) return;
    std::unique_lock lock(mutex);
    stuck = true;
    changed.notify_all();
    changed.wait(lock, [this] { return !hold; });
  }
  void wait_until_stuck() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return stuck; });
  }
  void let_go() {
    {
      const std::lock_guard guard(mutex);
      hold = false;
    }
    changed.notify_all();
  }
  std::mutex mutex;
  std::condition_variable changed;
  bool hold = true, stuck = false;
  const std::thread::id ours = std::this_thread::get_id();
};

TEST(WorkerTest, QueueIsBoundedAndNobodyWaitsForAStuckThread) {
  const auto log = std::make_shared<StuckLog>();
  Configuration configuration;
  configuration.source = UsbipSource{.host = "127.0.0.1", .port = 1, .busid = "1-1"};
  auto worker = Worker::start(configuration, {}, log);
  ASSERT_TRUE(worker.ok());
  log->wait_until_stuck();

  // From here on whoever waited for that thread would wait for ever.
  IWTSVirtualChannel table{};
  const auto channel = std::make_shared<DvcChannel>(&table);
  (*worker)->opened(1, channel);
  const Bytes message(std::size_t{1} << 20U);
  std::size_t taken = 0;
  while ((*worker)->received(1, message))
    ASSERT_LE(++taken, limits::plugin_queued_bytes / message.size());
  EXPECT_GT(taken, limits::plugin_queued_bytes / message.size() / 2);
  channel->closed();
  (*worker)->closed(1);
  (*worker)->stop();

  log->let_go();
  // The thread that was left behind keeps its worker until it ends.
  std::weak_ptr<Worker> left = *worker;
  worker = fail(ErrorCode::unavailable, "dropped");
  while (!left.expired()) std::this_thread::yield();
}

}  // namespace
}  // namespace tillbridge::plugin::test
