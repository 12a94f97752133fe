// What Prometheus reads: the figures of real transfers, and counters that never fall.
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>

#include "server/operations/monitoring.hpp"
#include "server/operations/operations.hpp"
#include "tests/unit/admin/admin_bench.hpp"

namespace tillbridge::admin::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MetricsTest : public AdminTest {
 protected:
  void begin() {
    start("[[map]]\nstick = \"" + serial_a + "\"\ntill = \"kasse-01\"\n");
    operations_.emplace(bench_.loop, *admin_, "shop");
    operations_->start(*api_, usb_->config());
  }
  ~MetricsTest() override {
    if (operations_) operations_->stop([] {});
    stop();
  }
  std::string page() {
    const Reply reply = api_->handle({"GET", "/metrics", {}, "", {"prometheus", Role::viewer, ""}});
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.content_type, "text/plain; version=0.0.4; charset=utf-8");
    return reply.body;
  }
  bool use_stick(TestTill& kasse) {
    if (!until([&] { return !kasse.granted.empty(); })) return false;
    const auto& grant = kasse.granted.back();
    const auto& stick = kasse.import(grant.stream, grant.busid);
    return until([&] { return stick.imported; }) && kasse.inquiry(grant.stream);
  }
  /// The value of the series whose line begins so.
  static double value(const std::string& text, const std::string& series) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind(series + " ", 0) == 0) return std::stod(line.substr(series.size()));
    }
    ADD_FAILURE() << "no series " << series << " in\n" << text;
    return -1;
  }
  std::optional<operations::Operations> operations_;
};

TEST_F(MetricsTest, CountsWhatHappensAndNeverForgetsIt) {
  begin();
  const std::string stick = "{stick=\"" + stick_a + "\"";
  const std::string pair = "{stick=\"" + stick_a + "\",till=\"kasse-01\"";
  std::string text = page();
  EXPECT_THAT(text, HasSubstr("tillbridge_build_info{version=\""));
  EXPECT_EQ(value(text, "tillbridge_stick_state" + stick + ",state=\"free\"}"), 1);
  EXPECT_EQ(value(text, "tillbridge_stick_state" + stick + ",state=\"in_use\"}"), 0);

  auto kasse = connected("kasse-01");
  ASSERT_TRUE(use_stick(*kasse));
  text = page();
  EXPECT_EQ(value(text, "tillbridge_stick_state" + stick + ",state=\"in_use\"}"), 1);
  EXPECT_EQ(value(text, "tillbridge_till_state{till=\"kasse-01\",state=\"connected\"}"), 1);
  EXPECT_EQ(value(text, "tillbridge_till_sticks{till=\"kasse-01\"}"), 1);
  EXPECT_EQ(value(text, "tillbridge_leases_total" + pair + "}"), 1);
  const double transfers = value(text, "tillbridge_transfers_total" + pair + "}");
  EXPECT_GE(transfers, 4);
  EXPECT_GE(value(text, "tillbridge_received_bytes_total" + pair + "}"), 36 + 13);
  EXPECT_EQ(value(text, "tillbridge_sent_bytes_total" + pair + "}"), 31);
  const double count = value(text, "tillbridge_transfer_duration_seconds_count" + pair + "}");
  EXPECT_EQ(value(text, "tillbridge_transfer_duration_seconds_bucket" + pair + ",le=\"+Inf\"}"),
            count);
  EXPECT_EQ(count, transfers);

  // The lease is over; what it counted stays, and the next one adds to it.
  kasse->say(link::Goodbye{"done"});
  ASSERT_TRUE(until([&] { return kasse->closed; }));
  settle();
  text = page();
  EXPECT_EQ(value(text, "tillbridge_transfers_total" + pair + "}"), transfers);
  EXPECT_EQ(value(text, "tillbridge_till_state{till=\"kasse-01\",state=\"away\"}"), 1);
  EXPECT_EQ(value(text, "tillbridge_till_sticks{till=\"kasse-01\"}"), 0);
  kasse = connected("kasse-01");
  ASSERT_TRUE(use_stick(*kasse));
  text = page();
  EXPECT_GE(value(text, "tillbridge_transfers_total" + pair + "}"), transfers + 3);
  EXPECT_EQ(value(text, "tillbridge_leases_total" + pair + "}"), 2);

  kasse->cut();
  ASSERT_TRUE(until([&] { return find("tills", "kasse-01").at("state") == "resuming"; }));
  kasse->reconnect();
  ASSERT_TRUE(until([&] { return find("tills", "kasse-01").at("state") == "connected"; }));
  EXPECT_EQ(value(page(), "tillbridge_till_reconnects_total{till=\"kasse-01\"}"), 1);

  // Each moment is counted in one state.
  const auto spent = [&] {
    std::map<std::string, double> all;
    const std::string now = page();
    for (const char* word : {"connected", "resuming", "lost", "away", "never_seen", "revoked"}) {
      all[word] = value(now, "tillbridge_till_state_seconds_total{till=\"kasse-01\",state=\"" +
                                 std::string(word) + "\"}");
    }
    return all;
  };
  const auto first = spent();
  EXPECT_GT(first.at("connected"), 0);
  EXPECT_GT(first.at("resuming"), 0);
  EXPECT_GT(first.at("away"), 0);
  EXPECT_EQ(first.at("lost") + first.at("revoked") + first.at("never_seen"), 0);
  const Json shown = find("tills", "kasse-01");
  EXPECT_EQ(shown.at("seconds_in").size(), 6U);
  EXPECT_NEAR(shown.at("seconds_in").at("resuming").get<double>(), first.at("resuming"), 0.0011);
  const Instant from = bench_.loop.now();
  ASSERT_TRUE(until([&] { return bench_.loop.now() - from > std::chrono::milliseconds(30); }));
  const auto later = spent();
  EXPECT_GE(later.at("connected") - first.at("connected"), 0.03);
  for (const char* still : {"resuming", "away", "lost"}) {
    EXPECT_EQ(later.at(still), first.at(still)) << still;
  }

  // Bucket after bucket, none smaller than the one before.
  std::istringstream lines(page());
  double before = 0;
  std::size_t buckets = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("tillbridge_transfer_duration_seconds_bucket" + pair, 0) != 0) continue;
    const double now = std::stod(line.substr(line.rfind(' ')));
    EXPECT_GE(now, before) << line;
    before = now;
    buckets += 1;
  }
  EXPECT_EQ(buckets, 21U);
}

TEST_F(MetricsTest, NamesCannotBreakThePage) {
  begin();
  good("PATCH", "/sticks/" + stick_a, {{"label", "a\"b\\c\nd\xC3\xA4"}});
  const std::string text = page();
  EXPECT_THAT(text, HasSubstr("label=\"a\\\"b\\\\c\\nd\xC3\xA4\""));
  EXPECT_EQ(api_->handle({"POST", "/metrics", {}, "", {}}).status, 405);
}

TEST_F(MetricsTest, HealthIsTheServersOwn) {
  begin();
  const auto health = [&] { return api_->handle({"GET", "/healthz", {}, "", {}}); };
  EXPECT_EQ(health().status, 200);
  EXPECT_EQ(health().body, "{\"status\": \"ok\"}\n");
  // A stick that is gone is somebody's trouble, but not the server's illness.
  auto kasse = connected("kasse-01");
  ASSERT_TRUE(use_stick(*kasse));
  (void)usb_->simulated()->unplug(serial_a);
  ASSERT_TRUE(until([&] { return state().at("alarms").size() == 1; })) << state().dump(1);
  EXPECT_EQ(health().status, 200);
  EXPECT_THAT(page(), HasSubstr("tillbridge_alarms{kind=\"stick_gone\"} 1\n"));
}

// Found by looking through all of it, not by opening it: the change is in an old entry.
TEST_F(MetricsTest, ALogThatWasChangedIsAnAlarmUntilItIsInOrderAgain) {
  begin();
  const auto file = audit_->folder() / "audit.jsonl";
  const auto content = [&] {
    std::ifstream stream(file, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(stream)), {});
  };
  const auto alarm = [&]() -> Json { return find("alarms", "audit_damaged:"); };
  operations::AuditInspection inspection(bench_.loop, *admin_);
  const std::string changed_word = "\"kind\":\"server_started\"";
  // Only entries of before are touched: what the server appends meanwhile stays as it is.
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  const auto place = static_cast<std::streamoff>(content().find(changed_word));
  stream.seekp(place);
  stream << "\"kind\":\"server_stopped\"" << std::flush;
  inspection.start(std::chrono::milliseconds(5));
  ASSERT_TRUE(until([&] { return !alarm().is_null(); }));
  EXPECT_THAT(alarm().at("text").get<std::string>(), HasSubstr("audit.jsonl:3: The chain breaks"));
  EXPECT_THAT(page(), HasSubstr("tillbridge_alarms{kind=\"audit_damaged\"} 1\n"));

  stream.seekp(place);
  stream << changed_word << std::flush;
  ASSERT_TRUE(until([&] { return alarm().is_null(); }));

  // Who asks for a check hears of it, and so does the alarm.
  stream.seekp(place);
  stream << "\"kind\":\"server_stopped\"" << std::flush;
  ASSERT_FALSE(good("GET", "/audit/verify").at("intact").get<bool>());
  ASSERT_TRUE(until([&] { return !alarm().is_null(); }));
  stream.seekp(place);
  stream << changed_word << std::flush;
  ASSERT_TRUE(until([&] { return alarm().is_null(); }));
}

TEST_F(MetricsTest, ALogThatWasPutAsideIsAnAlarmThoughWhatGoesOnIsInOrder) {
  begin();
  audit::Report report;
  report.damaged_at = std::chrono::system_clock::now() - std::chrono::hours(24 * 6);
  admin_->audit_check_heard()(report);
  ASSERT_TRUE(until([&] { return !find("alarms", "audit_damaged:put_aside").is_null(); }));
  report.damaged_at = std::chrono::system_clock::now() - std::chrono::hours(24 * 8);
  admin_->audit_check_heard()(report);
  ASSERT_TRUE(until([&] { return find("alarms", "audit_damaged:put_aside").is_null(); }));
  // A check that could not be made says nothing.
  admin_->audit_check_heard()(fail(ErrorCode::io, "the disk is away"));
  settle();
  EXPECT_TRUE(find("alarms", "audit_damaged:put_aside").is_null());
}

TEST_F(MetricsTest, AlarmsReachTheHooks) {
  const server::test::TemporaryFolder folder;
  const std::string file = (folder / "told").string();
  start("[[map]]\nstick = \"" + serial_a + "\"\ntill = \"kasse-01\"\n[[alert]]\n" +
        "command = [\"/bin/sh\", \"-c\", \"echo $TILLBRIDGE_EVENT $TILLBRIDGE_STICK >> " + file +
        "\"]\nkinds = [\"stick_gone\"]\n");
  operations_.emplace(bench_.loop, *admin_, "shop");
  operations_->start(*api_, usb_->config());
  const auto told = [&] {
    std::ifstream stream(file);
    return std::string((std::istreambuf_iterator<char>(stream)), {});
  };
  settle();
  (void)usb_->simulated()->unplug(serial_a);
  ASSERT_TRUE(until([&] { return !told().empty(); })) << state().at("alarms").dump(1);
  EXPECT_EQ(told(), "raised " + stick_a + "\n");
  (void)usb_->simulated()->plug(serial_a);
  ASSERT_TRUE(until([&] { return told().find("cleared") != std::string::npos; }));
  EXPECT_EQ(told(), "raised " + stick_a + "\ncleared " + stick_a + "\n");
}

}  // namespace
}  // namespace tillbridge::admin::test
