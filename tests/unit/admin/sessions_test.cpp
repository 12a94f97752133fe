// What the administrator says, and what becomes of it in the sessions that run.
#include <random>

#include <gmock/gmock.h>

#include "admin_bench.hpp"
#include "server/admin/state_clock.hpp"
#include "server/simulator/factory.hpp"
#include "tests/unit/server/lent_source.hpp"

namespace tillbridge::admin::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;

class SessionsTest : public AdminTest {
 protected:
  std::string map(const std::string& stick, const std::string& name, Json more = Json::object()) {
    more["stick"] = stick;
    more["till"] = name;
    return good("POST", "/mappings", more).at("mapping").at("id");
  }
  std::string state_of(const std::string& stick) { return find("sticks", stick).at("state"); }
  bool import(TestTill& kasse) {
    const auto& grant = kasse.granted.back();
    const auto& stick = kasse.import(grant.stream, grant.busid);
    return until([&] { return stick.imported; });
  }
};

TEST_F(SessionsTest, AMappingThatChangesInARunningSession) {
  start();
  const auto kasse = connected("kasse-01");
  EXPECT_TRUE(kasse->granted.empty());
  EXPECT_EQ(state_of(stick_a), "unmapped");
  const std::string id = map(serial_a, "kasse-01");
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 1; }));
  EXPECT_EQ(state_of(stick_a), "offered");
  ASSERT_TRUE(import(*kasse));
  EXPECT_EQ(state_of(stick_a), "in_use");
  const Json lease = state().at("leases").at(0);
  EXPECT_EQ(lease.at("till"), "kasse-01");
  EXPECT_EQ(lease.at("session").at("user"), "anna");
  EXPECT_TRUE(find("mappings", id).at("active").get<bool>());
  EXPECT_TRUE(kasse->inquiry(kasse->granted[0].stream));
  EXPECT_GE(state().at("leases").at(0).at("transfers").get<int>(), 4);
  EXPECT_GT(state().at("leases").at(0).at("p99_us").get<int>(), 0);

  good("DELETE", "/mappings/" + id, {{"reason", "tidy"}});
  ASSERT_TRUE(until([&] { return kasse->revoked.size() == 1; }));
  EXPECT_THAT(kasse->revoked[0].reason, HasSubstr("not mapped to this till any more"));
  settle();
  EXPECT_EQ(state_of(stick_a), "unmapped");
  EXPECT_EQ(state().at("leases").size(), 0U);
  EXPECT_THAT(audit_kinds(), IsSupersetOf({"till_connected", "mapping_added", "lease_begun",
                                           "mapping_removed", "lease_ended"}));
  const Json ended = audit().at(0);
  EXPECT_EQ(ended.at("kind"), "lease_ended");
  EXPECT_EQ(ended.at("reason"), "mapping_changed");
  EXPECT_EQ(store_->leases({})->at(0).why, "mapping_changed");
}

TEST_F(SessionsTest, TheFirstMappingWhoseTillIsThereGetsTheStickAndKeepsIt) {
  start();
  auto second = connected("kasse-02");
  auto first = connected("kasse-01");
  map(stick_a, "kasse-01");
  const std::string spare = map(stick_a, "kasse-02", {{"also", true}});
  EXPECT_EQ(find("mappings", spare).at("position"), 2);
  ASSERT_TRUE(until([&] { return first->granted.size() == 1; }));
  ASSERT_TRUE(import(*first));
  good("PATCH", "/mappings/" + spare, {{"position", 1}});
  settle();
  EXPECT_EQ(find("mappings", spare).at("position"), 1);
  EXPECT_TRUE(first->revoked.empty()) << "nobody is pushed out by order alone";
  EXPECT_TRUE(second->granted.empty());
  first->say(link::Goodbye{"the session has ended"});
  ASSERT_TRUE(until([&] { return second->granted.size() == 1; })) << bench_.log_text();
  first = connected("kasse-01");
  EXPECT_TRUE(first->granted.empty());
  EXPECT_THAT(first->nothing.back(), HasSubstr("is offered to till kasse-02"));
}

TEST_F(SessionsTest, AnOfferThatNobodyTakesIsForTheNextAfterAWhile) {
  start();
  usb_->offers_lie(std::chrono::hours(1));
  auto first = connected("kasse-01");
  auto second = connected("kasse-02");
  map(stick_a, "kasse-01");
  map(stick_a, "kasse-02", {{"also", true}});
  ASSERT_TRUE(until([&] { return first->granted.size() == 1; }));
  settle();
  EXPECT_TRUE(second->granted.empty()) << "the first has its time";
  usb_->offers_lie(std::chrono::milliseconds(1));
  good("PATCH", "/mappings/2", {{"pipeline", false}});  // all are looked at
  ASSERT_TRUE(until([&] { return second->granted.size() == 1; }));
  ASSERT_EQ(first->revoked.size(), 1U);
  EXPECT_THAT(first->revoked[0].reason, HasSubstr("offered and not taken"));
  settle();
  EXPECT_EQ(first->granted.size(), 1U) << "not round in circles";
  ASSERT_TRUE(import(*second));
}

TEST_F(SessionsTest, ConditionsOnTheSession) {
  start();
  auto kasse = connected("kasse-01", "Bert");
  map(stick_a, "kasse-01", {{"user", "anna"}});
  map(stick_b, "kasse-01", {{"user", "SHOP\\bert"}, {"terminal_server", "TS1"}});
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 1; }));
  EXPECT_EQ(kasse->granted[0].serial, serial_b) << "case does not matter";
  kasse.reset();
  kasse = connected("kasse-01", "carl");
  ASSERT_TRUE(until([&] { return !kasse->nothing.empty(); }));
  EXPECT_THAT(kasse->nothing.back(), HasSubstr("only for user anna"));
  EXPECT_THAT(kasse->nothing.back(), HasSubstr("carl"));
  EXPECT_TRUE(kasse->granted.empty());
}

TEST_F(SessionsTest, ReleasedStaysAwayAndLostComesBack) {
  start();
  const auto kasse = connected("kasse-01");
  map(stick_a, "kasse-01");
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 1; }));
  ASSERT_TRUE(import(*kasse));
  // Lost: it comes back by itself.
  kasse->cut();
  ASSERT_TRUE(until([&] { return state_of(stick_a) == "waiting"; }));
  EXPECT_EQ(find("tills", "kasse-01").at("state"), "resuming");
  kasse->reconnect();
  ASSERT_TRUE(until([&] { return state_of(stick_a) == "in_use"; }));
  EXPECT_EQ(state().at("leases").at(0).at("times_away"), 1);

  // Released: not to this session, whatever happens to the stick, until the admin says so.
  const std::string lease = state().at("leases").at(0).at("id");
  good("POST", "/leases/" + lease + "/end", {{"reason", "wrong stick"}});
  ASSERT_TRUE(until([&] { return kasse->revoked.size() == 1; }));
  EXPECT_THAT(kasse->revoked[0].reason, HasSubstr("the administrator ended"));
  settle();
  EXPECT_EQ(store_->leases({})->at(0).why, "released");
  ASSERT_TRUE(usb_->simulated()->unplug(serial_a).ok());
  ASSERT_TRUE(usb_->simulated()->plug(serial_a).ok());
  kasse->hello();
  settle();
  ASSERT_TRUE(until([&] { return !kasse->nothing.empty(); }));
  EXPECT_THAT(kasse->nothing.back(), HasSubstr("was taken from this session"));
  EXPECT_EQ(kasse->granted.size(), 1U);
  good("POST", "/sticks/" + stick_a + "/unblock");
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 2; }));
}

TEST_F(SessionsTest, ATillThatDoesNotComeBackIsLostAndAlarmed) {
  grace_s_ = 1;
  start();
  std::vector<std::string> heard;
  admin_->on_alarm([&](const Alarm& alarm, bool raised) {
    heard.push_back((raised ? "+" : "-") + alarm.kind);
    bench_.poke();
  });
  auto kasse = connected("kasse-01");
  map(stick_a, "kasse-01");
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 1; }));
  kasse->cut();
  ASSERT_TRUE(until([&] { return !heard.empty(); }));
  EXPECT_EQ(heard.back(), "+till_lost");
  EXPECT_EQ(find("tills", "kasse-01").at("state"), "lost");
  EXPECT_EQ(state_of(stick_a), "free");
  kasse = connected("kasse-01");
  ASSERT_TRUE(until([&] { return heard.size() == 2; }));
  EXPECT_EQ(heard.back(), "-till_lost");
}

TEST_F(SessionsTest, BlocksEndWhatRunsAndDrainDoesNot) {
  start();
  const auto one = connected("kasse-01"), two = connected("kasse-02");
  map(stick_a, "kasse-01");
  map(stick_b, "kasse-02");
  ASSERT_TRUE(until([&] { return one->granted.size() == 1 && two->granted.size() == 1; }));
  ASSERT_TRUE(import(*one));
  good("POST", "/drain", {{"on", true}});
  ASSERT_TRUE(until([&] { return two->revoked.size() == 1; })) << "only offered, not in use";
  EXPECT_TRUE(one->revoked.empty()) << "what is in use goes on";
  EXPECT_TRUE(one->inquiry(one->granted[0].stream));
  EXPECT_TRUE(state().at("server").at("draining").get<bool>());
  good("POST", "/sticks/" + stick_a + "/block", {{"minutes", 15}});
  ASSERT_TRUE(until([&] { return one->revoked.size() == 1; }));
  EXPECT_THAT(one->revoked[0].reason, HasSubstr("blocked the stick until 20"));
  good("POST", "/drain", {{"on", false}});
  ASSERT_TRUE(until([&] { return two->granted.size() == 2; }));
  EXPECT_EQ(one->granted.size(), 1U);
  EXPECT_EQ(state_of(stick_a), "blocked");
  EXPECT_NE(find("sticks", stick_a).at("blocked_until"), Json());
  stop();
  start();
  EXPECT_EQ(state_of(stick_a), "blocked") << "also after a restart";
  good("POST", "/sticks/" + stick_a + "/unblock");
  EXPECT_EQ(state_of(stick_a), "free");
}

TEST_F(SessionsTest, AStickWhoseDescriptorsChangedIsRefusedUntilItIsAccepted) {
  start("[[map]]\nstick = \"" + stick_b + "\"\ntill = \"kasse-02\"\n");
  auto kasse = connected("kasse-01");
  map(stick_a, "kasse-01");
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 1; }));
  for (const std::string& id : {stick_a, stick_b}) {
    EXPECT_EQ(find("sticks", id).at("fingerprint_accepted"), find("sticks", id).at("fingerprint"));
    // As if it had been another one when it was mapped.
    store::Stick row = **store_->stick(id);
    row.fingerprint_accepted = std::string(64, 'a');
    ASSERT_TRUE(store_->put_stick(row).ok());
  }
  kasse.reset();
  stop();
  start("[[map]]\nstick = \"" + stick_b + "\"\ntill = \"kasse-02\"\n");
  kasse = connected("kasse-01");
  ASSERT_TRUE(until([&] { return !kasse->nothing.empty(); }));
  EXPECT_THAT(kasse->nothing[0], HasSubstr("descriptors are not those"));
  EXPECT_EQ(state_of(stick_a), "refused");
  EXPECT_EQ(state_of(stick_b), "refused");
  EXPECT_EQ(find("alarms", "descriptors_changed:" + stick_a).at("kind"), "descriptors_changed");
  map(stick_a, "kasse-01", {{"user", "x"}});
  EXPECT_EQ(state_of(stick_a), "refused") << "mapping it again does not accept it";
  map(stick_a, "kasse-01");
  good("POST", "/sticks/" + stick_a + "/accept", {{"reason", "new firmware"}});
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 1; }));
  settle();
  EXPECT_TRUE(find("alarms", "descriptors_changed:" + stick_a).is_null());
}

TEST_F(SessionsTest, AnotherStickInAMappedPortIsRefused) {
  start("[[map]]\nstick = \"1209:0001@simulated-1\"\ntill = \"kasse-01\"\n");
  EXPECT_EQ(state_of(stick_a), "refused");
  EXPECT_THAT(find("sticks", stick_a).at("problem").get<std::string>(),
              HasSubstr("mapped for another stick"));
  EXPECT_EQ(find("alarms", "wrong_stick:" + stick_a).at("kind"), "wrong_stick");
  EXPECT_EQ(state_of(stick_b), "unmapped");
}

TEST_F(SessionsTest, SticksAreKnownWhenTheyAreGone) {
  start();
  connected("kasse-01").reset();
  map(stick_a, "kasse-01");
  good("PATCH", "/sticks/" + stick_a, {{"label", "TSE 1"}});
  ASSERT_TRUE(usb_->simulated()->unplug(serial_a).ok());
  settle();
  EXPECT_EQ(state_of(stick_a), "absent");
  EXPECT_THAT(find("alarms", "stick_gone:" + stick_a).at("text").get<std::string>(),
              HasSubstr("TSE 1"));
  ASSERT_TRUE(usb_->simulated()->plug(serial_a).ok());
  settle();
  EXPECT_TRUE(find("alarms", "stick_gone:" + stick_a).is_null());
  stop();
  start("", "[[simulated]]\nserial = \"" + serial_b + "\"\nsize_mib = 8\n");
  const Json gone = find("sticks", stick_a);
  EXPECT_EQ(gone.at("state"), "absent");
  EXPECT_EQ(gone.at("label"), "TSE 1");
  EXPECT_FALSE(gone.at("present").get<bool>());
  EXPECT_NE(gone.at("last_seen"), Json());
  EXPECT_EQ(gone.at("mappings").size(), 1U);
}

TEST(StateClock, CountsEachMomentOnce) {
  StateClock clock;
  const Instant begin{std::chrono::hours(5)};
  const Time wall = std::chrono::system_clock::now();
  const auto at = [&](int seconds) { return begin + std::chrono::seconds(seconds); };
  const auto in = [](const TillTimes& times, TillState state) {
    return times.before.at(static_cast<std::size_t>(state)) / std::chrono::seconds(1);
  };
  EXPECT_EQ(clock.times(begin).now, Duration(0));
  clock.enter(TillState::away, begin, wall);
  clock.enter(TillState::connected, at(10), wall + std::chrono::seconds(10));
  clock.enter(TillState::connected, at(12), wall + std::chrono::seconds(12));
  EXPECT_EQ(clock.times(at(15)).now, std::chrono::seconds(5));
  EXPECT_EQ(clock.times(at(15)).since, wall + std::chrono::seconds(10));
  clock.enter(TillState::resuming, at(40), wall);
  clock.enter(TillState::connected, at(43), wall);
  clock.enter(TillState::resuming, at(50), wall);
  clock.enter(TillState::lost, at(110), wall);
  const TillTimes times = clock.times(at(120));
  EXPECT_EQ(in(times, TillState::away), 10);
  EXPECT_EQ(in(times, TillState::connected), 30 + 7);
  EXPECT_EQ(in(times, TillState::resuming), 3 + 60);
  EXPECT_EQ(in(times, TillState::lost), 0);
  EXPECT_EQ(times.now, std::chrono::seconds(10));
}

TEST_F(SessionsTest, ACertificateThatEndsTakesItsSessionWithIt) {
  start();
  const auto end = server::test::Certificates::get().end("kasse-01");
  auto time = end - std::chrono::milliseconds(1);
  int looks = 0;
  usb_->tell_time_by([&] {
    ++looks;
    return time;
  });
  auto kasse = connected("kasse-01");
  map(stick_a, "kasse-01");
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 1; }));
  ASSERT_TRUE(import(*kasse));
  ASSERT_TRUE(until([&] { return looks > 1; }));  // by itself, at the end and not a minute later
  EXPECT_FALSE(kasse->goodbye);
  time = end;
  ASSERT_TRUE(until([&] { return kasse->goodbye.has_value(); }));
  EXPECT_THAT(*kasse->goodbye, HasSubstr("certificate of this till has ended; pair it anew"));
  EXPECT_EQ(bench_.logged("is cut off: its certificate has ended"), 1U);
  settle();
  EXPECT_EQ(find("tills", "kasse-01").at("state"), "away");
  EXPECT_EQ(find("sticks", stick_a).at("state"), "free");
  EXPECT_EQ(store_->leases({})->at(0).why, "expired");
  const Json left = audit("&kind=till_left").at(0);
  EXPECT_EQ(left.at("till"), "kasse-01");
  EXPECT_THAT(left.dump(), HasSubstr("expired"));
  EXPECT_THAT(left.dump(), HasSubstr("has ended"));
}

TEST_F(SessionsTest, ARevokedTillIsCutAtOnceAndNotLetInAgain) {
  start();
  auto kasse = connected("kasse-01");
  map(stick_a, "kasse-01");
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 1; }));
  ASSERT_TRUE(import(*kasse));
  good("POST", "/tills/kasse-01/revoke", {{"reason", "stolen"}});
  ASSERT_TRUE(until([&] { return kasse->goodbye.has_value(); }));
  EXPECT_THAT(*kasse->goodbye, HasSubstr("revoked"));
  settle();
  EXPECT_EQ(find("tills", "kasse-01").at("state"), "revoked");
  EXPECT_EQ(store_->leases({})->at(0).why, "revoked");
  for (int restart = 0; restart < 2; ++restart) {
    TestTill again(bench_, usb_->link_port(), "kasse-01");
    ASSERT_TRUE(until([&] { return again.failed.has_value() || again.refused.has_value(); }));
    EXPECT_TRUE(again.welcome.empty());
    EXPECT_THAT(audit_kinds(), Contains("till_refused"));
    stop();
    start();
  }
}

// --- one stick, one till ------------------------------------------------------------------------

/// A thousand races, in four tests that may run side by side.
class RaceTest : public SessionsTest, public ::testing::WithParamInterface<unsigned> {};

TEST_P(RaceTest, OfTwoTillsExactlyOneWins) {
  start();
  const auto one = connected("kasse-01"), two = connected("kasse-02");
  map(stick_a, "kasse-01");
  map(stick_a, "kasse-02", {{"also", true}});
  std::mt19937 random(GetParam());
  unsigned won_by_second = 0;
  TestTill* const tills[2] = {one.get(), two.get()};
  ASSERT_TRUE(until([&] { return one->granted.size() == 1; }));
  one->say(link::Released{one->granted.back().stream});
  ASSERT_TRUE(until([&] { return two->granted.size() == 1; }));
  two->say(link::Released{two->granted.back().stream});
  settle();
  for (int round = 0; round < 250; ++round) {
    const std::size_t before[2] = {one->granted.size(), two->granted.size()};
    // Both ask at the same moment, in either order, and sometimes one of them twice.
    const std::size_t first = random() % 2;
    tills[first]->hello();
    if (random() % 3 == 0) bench_.run_what_is_due();
    tills[1 - first]->hello();
    if (random() % 4 == 0) tills[first]->hello();
    ASSERT_TRUE(until([&] {
      return one->granted.size() + two->granted.size() == before[0] + before[1] + 1;
    })) << "round "
        << round;
    settle();
    ASSERT_EQ(one->granted.size() + two->granted.size(), before[0] + before[1] + 1)
        << "two were offered one stick in round " << round;
    const std::size_t winner = one->granted.size() > before[0] ? 0 : 1;
    won_by_second += winner == 1 ? 1U : 0U;
    const link::Granted grant = tills[winner]->granted.back();
    const auto& stick = tills[winner]->import(grant.stream, grant.busid);
    ASSERT_TRUE(until([&] { return stick.imported || stick.failed; }));
    ASSERT_TRUE(stick.imported) << *stick.failed;
    ASSERT_EQ(usb_->registry().leases(), 1U);
    tills[winner]->say(link::Released{grant.stream});
    // The other one is next, and lets go as well.
    TestTill& other = *tills[1 - winner];
    const std::size_t had = before[1 - winner];
    ASSERT_TRUE(until([&] { return other.granted.size() == had + 1; })) << "round " << round;
    other.say(link::Released{other.granted.back().stream});
    ASSERT_TRUE(until([&] { return !usb_->registry().sticks().at(0)->offer.has_value(); }));
  }
  EXPECT_GT(won_by_second, 25U) << "whoever asks first must be able to win";
}

INSTANTIATE_TEST_SUITE_P(Seeds, RaceTest, ::testing::Range(1U, 5U));

// --- a restart of the server

class RestartedTest : public SessionsTest {
 protected:
  /// A server whose one stick outlives it, with a lease of kasse-01 that runs.
  void begin() {
    simulator::DeviceOptions options;
    options.serial = serial_a;
    options.size_mib = 8;
    std::vector<std::unique_ptr<simulator::Device>> devices;
    devices.push_back(std::move(*simulator::make_device(options)));
    sticks_ = std::make_shared<server::SimulatedSource>(bench_.loop, std::move(devices));
    before_usb_starts_ = [this](server::UsbServer& usb) {
      usb.registry().add(std::make_unique<server::test::LentSource>(sticks_));
    };
    start("", "\n");
    kasse_ = connected("kasse-01");
    map(stick_a, "kasse-01");
    ASSERT_TRUE(until([&] { return kasse_->granted.size() == 1; }));
    ASSERT_TRUE(import(*kasse_));
    EXPECT_TRUE(kasse_->inquiry(kasse_->granted[0].stream));
  }
  void die_and_start() {
    usb_->observe(nobody_);  // who is dead writes nothing any more
    stop();
    start("", "\n");
  }
  void come_back() {
    kasse_->cut();
    kasse_->reconnect(usb_->link_port());
    ASSERT_TRUE(until([&] { return kasse_->resumed.size() == 2; }));
    kasse_->hello();
    ASSERT_TRUE(until([&] { return kasse_->granted.size() == 2; })) << bench_.log_text();
    ASSERT_TRUE(import(*kasse_));
    settle();
  }

  server::Observer nobody_;
  std::shared_ptr<server::SimulatedSource> sticks_;
  std::unique_ptr<TestTill> kasse_;
};

TEST_F(RestartedTest, ALeaseGoesOnAfterTheServerDied) {
  begin();
  const auto before = store_->leases({})->at(0);
  EXPECT_FALSE(before.session.empty());
  EXPECT_FALSE(before.continuity.empty());
  die_and_start();
  EXPECT_EQ(state_of(stick_a), "waiting");
  EXPECT_EQ(store_->open_leases()->size(), 1U);
  come_back();
  EXPECT_TRUE(kasse_->granted[1].continues);
  EXPECT_EQ(state_of(stick_a), "in_use");
  EXPECT_EQ(state().at("leases").at(0).at("id"), std::to_string(before.id)) << "the same one";
  kasse_->say(link::Goodbye{"the session has ended"});
  ASSERT_TRUE(until([&] { return store_->open_leases()->empty(); }));
  const auto rows = store_->leases({});
  ASSERT_EQ(rows->size(), 1U);
  EXPECT_EQ(rows->at(0).why, "till_left");
  EXPECT_EQ(rows->at(0).times_away, 1U);
  settle();
  EXPECT_THAT(audit_kinds(),
              IsSupersetOf({"lease_begun", "lease_away", "lease_back", "lease_ended"}));
}

TEST_F(RestartedTest, ALeaseGoesOnAfterARestartInGoodOrderAndKeepsItsCounts) {
  begin();
  kasse_.reset();
  auto made = till("kasse-01");
  made->holds = true;
  kasse_ = std::move(made);
  ASSERT_TRUE(kasse_->connect_and_import());
  EXPECT_TRUE(kasse_->inquiry(kasse_->granted[0].stream));
  bool stopped = false;
  usb_->stop([&] { stopped = true; });
  ASSERT_TRUE(until([&] { return kasse_->restarting.has_value(); }));
  kasse_->say(link::Paused{});
  ASSERT_TRUE(until([&] { return stopped; }));
  ASSERT_EQ(store_->open_leases()->size(), 1U);
  const auto before = store_->open_leases()->at(0);
  EXPECT_GT(before.transfers, 0U);
  stop();
  start("", "\n");
  come_back();
  EXPECT_TRUE(kasse_->granted[1].continues);
  kasse_->say(link::Goodbye{"the session has ended"});
  ASSERT_TRUE(until([&] { return store_->open_leases()->empty(); }));
  EXPECT_GE(store_->lease(before.id)->value().transfers, before.transfers);
}

TEST_F(RestartedTest, ALeaseOfATillThatDoesNotComeBackEnds) {
  grace_s_ = 1;
  begin();
  die_and_start();
  ASSERT_TRUE(until([&] { return store_->open_leases()->empty(); }));
  EXPECT_EQ(store_->leases({})->at(0).why, "lost");
  settle();
  EXPECT_NE(state_of(stick_a), "waiting");
}

}  // namespace
}  // namespace tillbridge::admin::test
