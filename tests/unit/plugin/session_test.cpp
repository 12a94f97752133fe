// The plugin without FreeRDP: real TLS and TCP on the loopback, simulated sticks, the terminal
// server's real role.
#include "plugin/session.hpp"

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "plugin/configuration.hpp"
#include "tests/unit/plugin/certificates.hpp"
#include "tests/unit/plugin/terminal_end.hpp"
#include "tests/unit/plugin/usb_server.hpp"

namespace tillbridge::plugin::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct KeptLog final : Log {
  void write(Level level, const std::string& text) override {
    if (level == Level::debug) return;
    lines.push_back(text);
  }
  [[nodiscard]] auto count(const std::string& part) const {
    return std::count_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find(part) != std::string::npos;
    });
  }
  std::vector<std::string> lines;
};

/// Both ends on one loop; messages between them go through it, so that neither calls the other from
/// within.
class SessionTest : public testing::Test, protected Channels {
 protected:
  SessionTest()
      : terminal_(loop_, {.open =
                              [this](std::uint32_t ticket) {
                                const ChannelId channel = ++last_channel_;
                                later([this, ticket, channel] {
                                  terminal_.opened(ticket, channel);
                                  if (session_) session_->channel_opened(channel);
                                });
                              },
                          .send =
                              [this](ChannelId channel, Bytes message) {
                                later([this, channel, message] {
                                  if (session_) session_->receive(channel, message);
                                });
                              },
                          .close =
                              [this](ChannelId channel) {
                                later([this, channel] {
                                  if (session_) session_->channel_closed(channel);
                                });
                              }}) {}

  void send(ChannelId channel, Bytes message) override {
    later([this, channel, message = std::move(message)] { terminal_.receive(channel, message); });
  }
  void close(ChannelId channel) override {
    later([this, channel] {
      terminal_.closed(channel);
      if (session_) session_->channel_closed(channel);
    });
  }
  void later(std::function<void()> task) { loop_.post(std::move(task)); }

  [[nodiscard]] Configuration configuration(std::uint16_t port) const {
    const auto& files = Certificates::get();
    Configuration made;
    made.source = ServerSource{.host = "127.0.0.1",
                               .port = port,
                               .name = "localhost",
                               .certificate = files.certificate("till"),
                               .key = files.key("till"),
                               .authority = files.authority()};
    return made;
  }

  void start(const Configuration& made) {
    auto uplink = make_uplink(loop_, made,
                              {.client_name = "kasse-03",
                               .user = "anna",
                               .domain = "SHOP",
                               .terminal_server = "ts.example"},
                              log_);
    ASSERT_TRUE(uplink.ok()) << uplink.error().message;
    session_ = std::make_unique<Session>(loop_, std::move(uplink).value(),
                                         static_cast<Channels&>(*this), log_);
    session_->start();
  }

  /// Runs the loop until `wanted`; false after a minute of the real clock.
  template <typename Wanted>
  [[nodiscard]] bool until(Wanted wanted) {
    const Instant end = loop_.now() + seconds(60);
    transport::Timer tick(loop_);
    std::function<void()> look = [&] {
      if (wanted() || loop_.now() > end) return loop_.stop();
      tick.arm(loop_.now() + milliseconds(1), look);
    };
    look();
    loop_.run();
    return wanted();
  }

  [[nodiscard]] bool until_present(std::size_t count) {
    return until([&] { return terminal_.present().size() == count; });
  }

  void configure(rdpeusb::DeviceId device) {
    const auto last = terminal_.configure(device);
    ASSERT_TRUE(until([&] { return terminal_.completion(last).has_value(); }));
    ASSERT_EQ(terminal_.completion(last)->status, usb::TransferStatus::success);
  }

  void echo(rdpeusb::DeviceId device, const Bytes& data) {
    const auto out = terminal_.write(device, data);
    const auto in = terminal_.read(device, static_cast<std::uint32_t>(data.size()));
    ASSERT_TRUE(until([&] { return terminal_.completion(in).has_value(); }));
    EXPECT_EQ(terminal_.completion(out)->status, usb::TransferStatus::success);
    EXPECT_EQ(terminal_.completion(in)->status, usb::TransferStatus::success);
    EXPECT_EQ(terminal_.completion(in)->data, data);
  }

  transport::Loop loop_;
  KeptLog log_;
  TerminalEnd terminal_;
  std::unique_ptr<Session> session_;
  ChannelId last_channel_ = 0;
};

TEST_F(SessionTest, StickOfTheServerIsADeviceOfTheSession) {
  UsbServer server(loop_);
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));

  ASSERT_TRUE(server.hello);
  EXPECT_EQ(server.hello->client_name, "kasse-03");
  EXPECT_EQ(server.hello->user, "anna");
  EXPECT_EQ(server.hello->domain, "SHOP");
  EXPECT_EQ(server.hello->terminal_server, "ts.example");
  EXPECT_THAT(server.hello->software, HasSubstr("tillbridge "));

  const auto device = terminal_.present().front();
  configure(device);
  Bytes data(300);
  std::iota(data.begin(), data.end(), std::uint8_t{0});
  echo(device, data);
  EXPECT_EQ(log_.count("connected to USB server 127.0.0.1:"), 1);
  EXPECT_EQ(log_.count("is in the session"), 1);
}

TEST_F(SessionTest, SeveralSticksKeepApart) {
  UsbServer server(loop_, 0, 3);
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(3));
  std::uint8_t fill = 1;
  for (const auto device : terminal_.present()) {
    configure(device);
    terminal_.write(device, Bytes(64, fill++));
  }
  fill = 1;
  for (const auto device : terminal_.present()) {
    const auto in = terminal_.read(device, 64);
    ASSERT_TRUE(until([&] { return terminal_.completion(in).has_value(); }));
    EXPECT_EQ(terminal_.completion(in)->data, Bytes(64, fill++));
  }
}

TEST_F(SessionTest, SessionThatOpensItsChannelLateGetsTheStick) {
  UsbServer server(loop_);
  start(configuration(server.port()));
  ASSERT_TRUE(until([&] { return !server.sticks.empty() && server.sticks.at(1)->imported(); }));
  terminal_.start();
  EXPECT_TRUE(until_present(1));
}

TEST_F(SessionTest, UnpluggedStickIsGoneAtOnceAlsoWithTransfersInFlight) {
  UsbServer server(loop_);
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  configure(device);
  const auto waiting = terminal_.read(device, 64);
  ASSERT_TRUE(until([&] { return server.sticks.at(1)->running() == 1; }));

  const Instant unplugged = loop_.now();
  server.revoke(1, "", true);
  ASSERT_TRUE(until([&] { return terminal_.devices.at(device).gone; }));
  EXPECT_LT(loop_.now() - unplugged, seconds(5)) << "no timer of the link had to expire for it";
  EXPECT_NE(terminal_.completion(waiting)->status, usb::TransferStatus::success);
  EXPECT_EQ(log_.count("is gone: it was unplugged from the USB server"), 1);
}

TEST_F(SessionTest, RevokedStickLeavesAndAGrantedOneComes) {
  UsbServer server(loop_);
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  server.revoke(1, "the admin mapped it to till kasse-04", false);
  ASSERT_TRUE(until_present(0));
  EXPECT_EQ(log_.count("is gone: the admin mapped it to till kasse-04"), 1);
  server.grant(2);
  EXPECT_TRUE(until_present(1));
}

TEST_F(SessionTest, LostConnectionToAServerThatKeepsNothingTakesTheDeviceAwayAndBringsItBack) {
  UsbServer server(loop_);
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  configure(device);
  (void)terminal_.read(device, 64);
  ASSERT_TRUE(until([&] { return server.sticks.at(1)->running() == 1; }));

  const Instant cut = loop_.now();
  server.cut();
  ASSERT_TRUE(until([&] { return terminal_.devices.at(device).gone; }));
  EXPECT_LT(loop_.now() - cut, seconds(5)) << "no timer of the link had to expire for it";
  ASSERT_TRUE(until_present(1));
  EXPECT_EQ(server.connections, 2);
  EXPECT_EQ(log_.count("lost the connection to USB server"), 1);
  const auto again = terminal_.present().front();
  configure(again);
  echo(again, Bytes(64, 7));
}

TEST_F(SessionTest, LostConnectionIsASlowMoment) {
  UsbServer server(loop_);
  server.resume_grace_s = 60;
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  configure(device);
  const auto waiting = terminal_.read(device, 64);
  ASSERT_TRUE(until([&] { return server.sticks.at(1)->running() == 1; }));

  server.cut();
  ASSERT_TRUE(until([&] { return log_.count("its sticks wait for up to 60 s") == 1; }));
  const auto out = terminal_.write(device, Bytes(64, 7));  // while there is no connection
  ASSERT_TRUE(until([&] { return terminal_.completion(waiting).has_value(); }));
  EXPECT_EQ(terminal_.completion(waiting)->status, usb::TransferStatus::success);
  EXPECT_EQ(terminal_.completion(waiting)->data, Bytes(64, 7));
  EXPECT_EQ(terminal_.completion(out)->status, usb::TransferStatus::success);
  EXPECT_FALSE(terminal_.devices.at(device).gone);
  EXPECT_EQ(terminal_.present().size(), 1U);
  EXPECT_EQ(server.connections, 1) << "one hello: it is one session";
  EXPECT_EQ(server.resumed, 1);
  EXPECT_EQ(log_.count("the session goes on"), 1);
  EXPECT_EQ(log_.count("is gone"), 0);
}

TEST_F(SessionTest, ManyCutsLoseNothing) {
  UsbServer server(loop_);
  server.resume_grace_s = 60;
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  configure(device);
  for (std::uint8_t round = 1; round <= 15; ++round) {
    const auto in = terminal_.read(device, 64);
    const auto out = terminal_.write(device, Bytes(64, round));
    if (round % 2 == 0) server.cut();
    ASSERT_TRUE(until([&] { return terminal_.completion(in).has_value(); }));
    if (round % 2 == 1) server.cut();
    EXPECT_EQ(terminal_.completion(in)->data, Bytes(64, round));
    EXPECT_EQ(terminal_.completion(out)->status, usb::TransferStatus::success);
    ASSERT_TRUE(until([&] { return server.resumed == round; }));
  }
  EXPECT_FALSE(terminal_.devices.at(device).gone);
  EXPECT_EQ(server.connections, 1);
}

TEST_F(SessionTest, ServerThatForgotTheSessionTakesTheDeviceAwayAndBringsItBack) {
  UsbServer server(loop_);
  server.resume_grace_s = 60;
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  configure(device);
  const auto waiting = terminal_.read(device, 64);
  ASSERT_TRUE(until([&] { return server.sticks.at(1)->running() == 1; }));
  server.cut();
  server.forget();
  ASSERT_TRUE(until([&] { return terminal_.devices.at(device).gone; }));
  EXPECT_NE(terminal_.completion(waiting)->status, usb::TransferStatus::success);
  ASSERT_TRUE(until_present(1));
  EXPECT_EQ(server.connections, 2);
  EXPECT_EQ(log_.count("had another user, since the USB server was restarted"), 1);
  const auto again = terminal_.present().front();
  configure(again);
  echo(again, Bytes(64, 7));
}

TEST_F(SessionTest, ServerThatDiesIsAnErrorForWhatRanAndNoMore) {
  UsbServer server(loop_);
  server.resume_grace_s = 60;
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  configure(device);
  const auto lost = terminal_.read(device, 64);
  ASSERT_TRUE(until([&] { return server.sticks.at(1)->running() == 1; }));
  server.restart(true);
  ASSERT_TRUE(until([&] { return log_.count("its sticks wait for up to 60 s") == 1; }));
  const auto out = terminal_.write(device, Bytes(64, 7));
  ASSERT_TRUE(until([&] { return terminal_.completion(out).has_value(); }));
  ASSERT_TRUE(terminal_.completion(lost).has_value());
  EXPECT_NE(terminal_.completion(lost)->status, usb::TransferStatus::success);
  EXPECT_EQ(terminal_.completion(out)->status, usb::TransferStatus::success);
  const auto in = terminal_.read(device, 64);
  ASSERT_TRUE(until([&] { return terminal_.completion(in).has_value(); }));
  EXPECT_EQ(terminal_.completion(in)->data, Bytes(64, 7)) << "written once, DTR as it was";
  EXPECT_FALSE(terminal_.devices.at(device).gone);
  EXPECT_EQ(server.connections, 2) << "a session of its own";
  EXPECT_TRUE(server.hello->holds);
  EXPECT_EQ(log_.count("goes on after the restart"), 1);
  EXPECT_EQ(log_.count("is gone"), 0);
}

TEST_F(SessionTest, ServerThatRestartsInGoodOrderLosesNothing) {
  UsbServer server(loop_);
  server.resume_grace_s = 60;
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  configure(device);
  for (std::uint8_t round = 1; round <= 3; ++round) {
    const auto in = terminal_.read(device, 64);
    ASSERT_TRUE(until([&] { return server.sticks.at(1)->running() == 1; }));
    server.say(link::Restarting{10});
    ASSERT_TRUE(until([&] { return server.paused == round; }));
    EXPECT_EQ(server.sticks.at(1)->running(), 0U) << "taken back";
    const auto out = terminal_.write(device, Bytes(64, round));
    server.say(link::Goodbye{"the USB server restarts", true});
    server.close();
    ASSERT_TRUE(until([&] { return log_.count("restarts; connecting again") == round; }));
    EXPECT_FALSE(terminal_.completion(out).has_value());
    server.restart(true);
    ASSERT_TRUE(until([&] { return terminal_.completion(in).has_value(); }));
    EXPECT_EQ(terminal_.completion(in)->status, usb::TransferStatus::success);
    EXPECT_EQ(terminal_.completion(in)->data, Bytes(64, round));
    EXPECT_EQ(terminal_.completion(out)->status, usb::TransferStatus::success);
  }
  EXPECT_FALSE(terminal_.devices.at(device).gone);
}

TEST_F(SessionTest, StickThatHadAnotherUserSinceComesAnew) {
  UsbServer server(loop_);
  server.resume_grace_s = 60;
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  server.restart(false);
  ASSERT_TRUE(until([&] { return terminal_.devices.at(device).gone; }));
  ASSERT_TRUE(until_present(1));
  EXPECT_EQ(log_.count("goes on after the restart"), 0);
}

TEST_F(SessionTest, StickThatTheRestartedServerDoesNotGrantInTimeIsTakenAway) {
  UsbServer server(loop_);
  server.resume_grace_s = 1;
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  server.grant_at_hello = false;
  server.restart(true);
  ASSERT_TRUE(until([&] { return terminal_.devices.at(device).gone; }));
  EXPECT_EQ(log_.count("did not grant it again in time"), 1);
  EXPECT_THAT(server.released, IsEmpty()) << "it had none";
}

TEST_F(SessionTest, AfterTheGraceTimeTheSticksAreGivenUp) {
  auto server = std::make_unique<UsbServer>(loop_);
  server->resume_grace_s = 1;
  const std::uint16_t port = server->port();
  start(configuration(port));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  const Instant cut = loop_.now();
  server.reset();
  ASSERT_TRUE(until([&] { return terminal_.devices.at(device).gone; }));
  EXPECT_GE(loop_.now() - cut, seconds(1));
  EXPECT_EQ(log_.count("its sticks are given up"), 1);
  UsbServer next(loop_, port);
  ASSERT_TRUE(until_present(1));
  EXPECT_EQ(next.connections, 1);
}

TEST_F(SessionTest, StopWhileTheConnectionIsLostIsAtOnce) {
  UsbServer server(loop_);
  server.resume_grace_s = 60;
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  server.cut();
  ASSERT_TRUE(until([&] { return log_.count("its sticks wait") == 1; }));
  bool stopped = false;
  session_->stop([&] { stopped = true; });
  EXPECT_TRUE(stopped);
}

TEST_F(SessionTest, ServerThatIsDownIsOneLineAndIsFoundWhenItComes) {
  std::uint16_t port = 0;
  { port = UsbServer(loop_).port(); }
  start(configuration(port));
  terminal_.start();
  // Several attempts fit in here: waits are 100, 200, 400 ms and half of that at least.
  const Instant down = loop_.now() + milliseconds(600);
  ASSERT_TRUE(until([&] { return loop_.now() > down; }));
  EXPECT_EQ(log_.count("does not answer: connection refused"), 1)
      << testing::PrintToString(log_.lines);
  UsbServer server(loop_, port);
  EXPECT_TRUE(until_present(1));
}

TEST_F(SessionTest, CertificateThatTheServerDoesNotKnow) {
  UsbServer server(loop_);
  auto made = configuration(server.port());
  auto& source = std::get<ServerSource>(made.source);
  source.certificate = Certificates::get().stranger_certificate();
  source.key = Certificates::get().stranger_key();
  start(made);
  ASSERT_TRUE(until([&] { return server.refused >= 2; })) << "it tries again";
  EXPECT_EQ(log_.count("does not know this till's certificate"), 1)
      << testing::PrintToString(log_.lines);
  EXPECT_EQ(log_.count("stranger.crt"), 1);
  EXPECT_EQ(server.connections, 0);
}

TEST_F(SessionTest, ServerWhoseCertificateIsForAnotherName) {
  UsbServer server(loop_);
  auto made = configuration(server.port());
  std::get<ServerSource>(made.source).name = "tse.example";
  start(made);
  ASSERT_TRUE(until([&] { return log_.count("tse.example") >= 1; }));
  EXPECT_EQ(server.connections, 0);
}

TEST_F(SessionTest, NoStickForThisTillSaysWhyAndLaterOneComes) {
  UsbServer server(loop_);
  server.grant_at_hello = false;
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until([&] { return server.hello.has_value(); }));
  server.say(link::NothingForYou{"stick 5A2F is mapped to till kasse-04; unmap it or map another"});
  ASSERT_TRUE(
      until([&] { return log_.count("mapped to till kasse-04; unmap it or map another") == 1; }));
  server.grant(1);
  EXPECT_TRUE(until_present(1));
}

TEST_F(SessionTest, GrantOfAStreamInUseEndsTheLink) {
  UsbServer server(loop_);
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  server.grant(1);
  ASSERT_TRUE(until([&] { return server.connections == 2; }));
  EXPECT_EQ(log_.count("granted a stick on stream 1, which is in use"), 1);
}

TEST_F(SessionTest, ServersGoodbyeIsTheReasonGiven) {
  UsbServer server(loop_);
  start(configuration(server.port()));
  ASSERT_TRUE(until([&] { return server.hello.has_value(); }));
  server.say(link::Goodbye{"the USB server restarts"});
  server.close();
  EXPECT_TRUE(until([&] { return log_.count("ended the link: the USB server restarts") == 1; }));
}

TEST_F(SessionTest, TerminalServerThatRetractsTheDeviceCancelsItsTransfers) {
  UsbServer server(loop_);
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  configure(device);
  (void)terminal_.read(device, 64);
  ASSERT_TRUE(until([&] { return server.sticks.at(1)->running() == 1; }));
  terminal_.retract(device);
  ASSERT_TRUE(until([&] { return server.sticks.at(1)->running() == 0; }));
  EXPECT_EQ(server.sticks.at(1)->cancels(), 1);
  EXPECT_THAT(server.released, IsEmpty()) << "the lease stays: only the terminal server gave it up";
  EXPECT_EQ(log_.count("left the session"), 1);
}

TEST_F(SessionTest, LargeTransfersPassWhole) {
  UsbServer server(loop_);
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  configure(device);
  // More than one frame of the link and many packets; the echo device buffers at least this much.
  Bytes data(32U << 10U);
  std::iota(data.begin(), data.end(), std::uint8_t{0});
  const auto out = terminal_.write(device, data);
  Bytes received;
  while (received.size() < data.size()) {
    const auto in =
        terminal_.read(device, static_cast<std::uint32_t>(data.size() - received.size()));
    ASSERT_TRUE(until([&] { return terminal_.completion(in).has_value(); }));
    ASSERT_EQ(terminal_.completion(in)->status, usb::TransferStatus::success);
    const Bytes part = terminal_.completion(in)->data;
    received.insert(received.end(), part.begin(), part.end());
  }
  EXPECT_EQ(received, data);
  EXPECT_EQ(terminal_.completion(out)->status, usb::TransferStatus::success);
}

TEST_F(SessionTest, StopGivesTheSticksBackAndSaysGoodbye) {
  UsbServer server(loop_, 0, 2);
  start(configuration(server.port()));
  terminal_.start();
  ASSERT_TRUE(until_present(2));
  bool stopped = false;
  const Instant begin = loop_.now();
  session_->stop([&] { stopped = true; });
  ASSERT_TRUE(until([&] { return stopped && server.goodbye.has_value(); }));
  EXPECT_LT(loop_.now() - begin, seconds(5)) << "no timer of the link had to expire for it";
  EXPECT_THAT(server.released, ElementsAre(1, 2));
  EXPECT_EQ(*server.goodbye, "the RDP session ended");
}

TEST_F(SessionTest, StopWithoutAConnectionIsAtOnce) {
  start(configuration(1));  // nobody listens on port 1
  bool stopped = false;
  session_->stop([&] { stopped = true; });
  EXPECT_TRUE(stopped);
}

TEST_F(SessionTest, StickOfAStockUsbipd) {
  Usbipd usbipd(loop_);
  Configuration made;
  made.source = UsbipSource{.host = "127.0.0.1", .port = usbipd.port(), .busid = "1-1"};
  start(made);
  terminal_.start();
  ASSERT_TRUE(until_present(1));
  const auto device = terminal_.present().front();
  configure(device);
  echo(device, Bytes(64, 9));
  EXPECT_EQ(log_.count("neither encrypted nor authenticated"), 1);

  usbipd.cut();
  ASSERT_TRUE(until([&] { return terminal_.devices.at(device).gone; }));
  EXPECT_TRUE(until_present(1)) << "it connects again";
}

TEST_F(SessionTest, StockUsbipdThatDoesNotExportTheStickIsOneLineAndAskedAgain) {
  Usbipd usbipd(loop_);
  usbipd.busy = true;
  Configuration made;
  made.source = UsbipSource{.host = "127.0.0.1", .port = usbipd.port(), .busid = "1-1"};
  start(made);
  terminal_.start();
  ASSERT_TRUE(until([&] { return usbipd.connections >= 3; }));
  EXPECT_EQ(log_.count("cannot be used"), 1) << testing::PrintToString(log_.lines);
  usbipd.busy = false;
  EXPECT_TRUE(until_present(1));
}

TEST(UplinkTest, TlsFilesThatAreMissingAreNamed) {
  transport::Loop loop;
  KeptLog log;
  Configuration made;
  made.source = ServerSource{.host = "a",
                             .port = 1,
                             .name = "a",
                             .certificate = "/nonexistent/till.crt",
                             .key = "/nonexistent/till.key",
                             .authority = "/nonexistent/authority.crt"};
  const auto uplink = make_uplink(loop, made, {}, log);
  ASSERT_FALSE(uplink.ok());
  EXPECT_THAT(uplink.error().message, HasSubstr("/nonexistent/"));
}

}  // namespace
}  // namespace tillbridge::plugin::test
