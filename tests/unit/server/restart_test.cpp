// What a restart of the USB server leaves of a till's lease: with sticks that outlive the server,
// as real ones do.
#include <map>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench.hpp"
#include "lent_source.hpp"
#include "server/simulator/factory.hpp"
#include "server/usb/usb_server.hpp"
#include "test_till.hpp"

namespace tillbridge::server {
namespace {

using test::TestTill;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string serial = "5A2F00000001", identity = "1209:0001:" + serial;

/// Remembers leases as the store does.
class Memory final : public Observer {
 public:
  void lease_begun(const PresentStick& stick) override {
    const LeaseRecord& record = stick.lease->record();
    continued.push_back(record.continues);
    open[record.stick] = {record.stick, record.till, record.session, record.continuity};
  }
  void lease_ended(const LeaseRecord& record) override {
    if (dead) return;
    ends.push_back(record.end);
    if (record.end != LeaseEnd::server_restarts) open.erase(record.stick);
  }
  void kept_ended(const KeptLease& lease, LeaseEnd how) override {
    kept_ends.push_back(how);
    open.erase(lease.stick);
  }
  bool dead = false;
  std::map<std::string, KeptLease> open;
  std::vector<bool> continued;
  std::vector<LeaseEnd> ends, kept_ends;
};

class RestartTest : public ::testing::Test {
 protected:
  RestartTest() {
    simulator::DeviceOptions options;
    options.serial = serial;
    options.size_mib = 8;
    std::vector<std::unique_ptr<simulator::Device>> devices;
    devices.push_back(std::move(*simulator::make_device(options)));
    sticks_ = std::make_shared<SimulatedSource>(bench_.loop, std::move(devices));
  }

  void start(bool draining = false) {
    const test::Certificates& pki = test::Certificates::get();
    Config config;
    config.link.listen = {"127.0.0.1", 0};
    config.link.certificate = pki.certificate("server");
    config.link.key = pki.key("server");
    config.link.authority = pki.authority();
    config.link.resume_grace = std::chrono::seconds(grace_s_);
    config.libusb = false;
    config.rules.file = "t.toml";
    config.rules.draining = draining;
    for (const char* till : {"kasse-02", "kasse-01"}) {
      Mapping mapping;
      mapping.id = till;
      mapping.stick = *StickPattern::parse(identity);
      mapping.till = till;
      config.rules.mappings.push_back(std::move(mapping));
    }
    server_ = std::make_unique<UsbServer>(bench_.loop, std::move(config));
    memory_.dead = false;
    server_->observe(memory_);
    server_->registry().add(std::make_unique<test::LentSource>(sticks_));
    std::vector<KeptLease> kept;
    for (const auto& [stick, lease] : memory_.open) kept.push_back(lease);
    server_->keep(kept);
    const auto failure = server_->start();
    ASSERT_FALSE(failure) << failure->error.message;
    bench_.run_what_is_due();
  }

  std::unique_ptr<TestTill> till(const std::string& name) {
    auto made = std::make_unique<TestTill>(bench_, server_->link_port(), name);
    made->holds = true;
    return made;
  }
  void crash() {
    memory_.dead = true;
    server_.reset();
  }
  /// Goes on with its session, as far as there is one.
  [[nodiscard]] bool come_back(TestTill& kasse) {
    kasse.cut();
    kasse.closed = false;
    kasse.reconnect(server_->link_port());
    const std::size_t before = kasse.resumed.size();
    if (!until([&] { return kasse.resumed.size() > before; })) return false;
    return kasse.connect_and_import();
  }
  bool until(const std::function<bool()>& condition) { return bench_.run_until(condition); }
  std::string witness() { return *sticks_->witness(serial); }

  int grace_s_ = 60;
  test::Bench bench_;
  std::shared_ptr<SimulatedSource> sticks_;
  Memory memory_;
  std::unique_ptr<UsbServer> server_;
};

TEST_F(RestartTest, ACrashedServersStickIsForItsTillAlone) {
  start();
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  EXPECT_FALSE(kasse->granted[0].continues);
  crash();
  ASSERT_TRUE(until([&] { return kasse->closed; }));
  start();
  EXPECT_EQ(bench_.logged("is kept for till kasse-01"), 1U);
  const auto other = till("kasse-02");  // whose mapping comes first
  other->hello();
  ASSERT_TRUE(until([&] { return !other->nothing.empty(); })) << bench_.log_text();
  EXPECT_THAT(other->nothing[0], HasSubstr("is kept for till kasse-01"));
  ASSERT_TRUE(come_back(*kasse)) << bench_.log_text();
  EXPECT_FALSE(kasse->resumed[1]);
  EXPECT_TRUE(kasse->granted[1].continues);
  EXPECT_THAT(memory_.continued, ElementsAre(false, true));
  EXPECT_EQ(bench_.logged("lease goes on"), 1U);
  EXPECT_TRUE(kasse->inquiry(kasse->granted[1].stream));
  EXPECT_THAT(witness(), HasSubstr("\"bus_resets\":0"));
  EXPECT_THAT(witness(), HasSubstr("\"power_cycles\":0"));
  EXPECT_TRUE(memory_.kept_ends.empty());
}

TEST_F(RestartTest, AStickThatLeftTheBusMeanwhileIsNotGoneOnWith) {
  start();
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  crash();
  ASSERT_TRUE(until([&] { return kasse->closed; }));
  ASSERT_TRUE(sticks_->unplug(serial).ok());
  ASSERT_TRUE(sticks_->plug(serial).ok());
  start();
  ASSERT_TRUE(come_back(*kasse));
  EXPECT_FALSE(kasse->granted[1].continues);
  EXPECT_THAT(memory_.kept_ends, ElementsAre(LeaseEnd::taken_over));
}

TEST_F(RestartTest, AnotherSessionOfTheTillBeginsAnew) {
  start();
  {
    const auto kasse = till("kasse-01");
    ASSERT_TRUE(kasse->connect_and_import());
    crash();
    ASSERT_TRUE(until([&] { return kasse->closed; }));
  }
  start();
  const auto again = till("kasse-01");
  ASSERT_TRUE(again->connect_and_import());
  EXPECT_FALSE(again->granted[0].continues);
  EXPECT_THAT(memory_.continued, ElementsAre(false, false));
  EXPECT_THAT(memory_.kept_ends, ElementsAre(LeaseEnd::taken_over));
}

TEST_F(RestartTest, ATillThatDoesNotComeBackLosesItsStick) {
  grace_s_ = 1;
  start();
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  crash();
  ASSERT_TRUE(until([&] { return kasse->closed; }));
  start();
  const auto other = till("kasse-02");
  ASSERT_TRUE(other->connect_and_import()) << "after the grace time";
  EXPECT_THAT(memory_.kept_ends, ElementsAre(LeaseEnd::lost));
  EXPECT_EQ(bench_.logged("which did not come back after the restart"), 1U);
}

TEST_F(RestartTest, MaintenanceDoesNotTakeAStickFromATillThatGoesOn) {
  start();
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  crash();
  ASSERT_TRUE(until([&] { return kasse->closed; }));
  start(true);
  ASSERT_TRUE(come_back(*kasse)) << bench_.log_text();
  EXPECT_TRUE(kasse->granted[1].continues);
  const auto other = till("kasse-02");
  other->hello();
  ASSERT_TRUE(until([&] { return !other->nothing.empty(); }));
}

TEST_F(RestartTest, AServerThatStopsWaitsUntilItsTillHasPaused) {
  start();
  const auto kasse = till("kasse-01");
  const auto old = till("kasse-02");
  old->holds = false;
  old->hello();
  ASSERT_TRUE(until([&] { return !old->welcome.empty(); }));
  ASSERT_TRUE(until([&] { return old->granted.size() == 1; })) << "it comes first";
  old->say(link::Released{old->granted[0].stream});
  ASSERT_TRUE(kasse->connect_and_import());
  bool stopped = false;
  server_->stop([&] {
    stopped = true;
    bench_.poke();
  });
  ASSERT_TRUE(until([&] { return kasse->restarting && old->goodbye; }));
  EXPECT_EQ(kasse->restarting->within_s, 10);
  EXPECT_FALSE(old->goodbye_for_restart) << "it would not understand";
  EXPECT_FALSE(stopped);
  EXPECT_TRUE(kasse->inquiry(kasse->granted[0].stream)) << "what has begun goes on to its end";
  EXPECT_FALSE(stopped);
  kasse->say(link::Paused{});
  ASSERT_TRUE(until([&] { return stopped && kasse->goodbye; }));
  EXPECT_TRUE(kasse->goodbye_for_restart);
  EXPECT_THAT(memory_.ends, ElementsAre(LeaseEnd::server_restarts));
  server_.reset();
  ASSERT_TRUE(until([&] { return kasse->closed; }));
  start();
  ASSERT_TRUE(come_back(*kasse));
  EXPECT_TRUE(kasse->granted[1].continues);
}

TEST_F(RestartTest, ATillWhoseConnectionIsLostIsNotWaitedForByAServerThatStops) {
  start();
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  kasse->cut();
  ASSERT_TRUE(until([&] { return bench_.logged("connection lost") == 1; }));
  bool stopped = false;
  server_->stop([&] {
    stopped = true;
    bench_.poke();
  });
  ASSERT_TRUE(until([&] { return stopped; }));
  server_.reset();
  start();
  ASSERT_TRUE(come_back(*kasse));
  EXPECT_TRUE(kasse->granted[1].continues) << "it is kept for it all the same";
}

}  // namespace
}  // namespace tillbridge::server
