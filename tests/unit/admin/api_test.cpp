// The API at its boundary: who may, what is refused and how, that everything may be said twice, and
// that the events tell the same story as the state.
#include <gmock/gmock.h>

#include "admin_bench.hpp"
#include "server/admin/api_body.hpp"
#include "server/usb/latency.hpp"

namespace tillbridge::admin::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ApiTest : public AdminTest {
 protected:
  struct Verb {
    std::string method, path;
    Json body;
  };
  /// One of each kind, all of which work when they are said in this order.
  std::vector<Verb> every_verb() {
    return {
        {"POST", "/tills", {{"name", "kasse-07"}, {"label", "Kasse 7"}, {"stick", serial_b}}},
        {"POST", "/tills/kasse-07/token", {{"reason", "lost the line"}}},
        {"PATCH", "/tills/kasse-07", {{"label", "Kasse sieben"}}},
        {"POST", "/mappings", {{"stick", serial_a}, {"till", "kasse-07"}}},
        {"POST",
         "/mappings",
         {{"stick", serial_a}, {"till", "kasse-07"}, {"user", "anna"}, {"also", true}}},
        {"PATCH", "/mappings/2", {{"position", 1}}},
        {"DELETE", "/mappings/1", {}},
        {"PATCH", "/sticks/" + stick_a, {{"label", "TSE"}}},
        {"POST", "/sticks/" + stick_a + "/block", {{"minutes", 5}}},
        {"POST", "/sticks/" + stick_a + "/unblock", {}},
        {"POST", "/sticks/" + stick_a + "/accept", {}},
        {"DELETE", "/sticks/1209:0001:5A2F00000009", {}},
        {"POST", "/drain", {{"on", true}}},
        {"POST", "/drain", {{"on", false}}},
        {"POST", "/pending/k1/approve", {{"name", "kasse-08"}}},
        {"POST", "/pending/k2/ignore", {}},
        {"POST", "/users", {{"name", "carl"}, {"role", "viewer"}, {"password", "long enough"}}},
        {"PATCH", "/users/carl", {{"role", "admin"}}},
        {"POST", "/users", {{"name", "dora"}, {"role", "admin"}, {"password", "long enough"}}},
        {"DELETE", "/users/carl", {}},
        {"POST", "/tills/kasse-07/revoke", {}},
        {"DELETE", "/tills/kasse-07", {}},
    };
  }
  void add_pending() {
    const auto now = std::chrono::system_clock::now();
    for (const std::string key : {"k1", "k2"}) {
      store::Pending row;
      row.key_fingerprint = key;
      row.name = "till-" + key;
      row.address = "192.0.2.9:1";
      row.request = {1};
      row.first_seen = row.last_seen = now;
      ASSERT_TRUE(store_->put_pending(row).ok());
    }
    admin_->changed();
  }
  /// All that the store holds of what an administrator decides.
  std::string decisions() {
    Json now = state();
    for (const char* key : {"version", "server"}) now.erase(key);
    Json users = good("GET", "/users").at("users");
    return now.dump() + users.dump();
  }
};

TEST_F(ApiTest, EveryVerbMayBeSaidTwice) {
  start();
  add_pending();
  settle();
  EXPECT_EQ(state().at("pending").size(), 2U);
  EXPECT_EQ(state().at("pending").at(0).at("words"), "w x y z");
  for (const Verb& verb : every_verb()) {
    const Answer first = call(verb.method, verb.path, verb.body);
    EXPECT_EQ(first.status, 200) << verb.method << " " << verb.path << first.body.dump();
    settle();
    const std::string after_first = decisions();
    const std::size_t entries = audit_kinds().size();
    const Answer second = call(verb.method, verb.path, verb.body);
    EXPECT_EQ(second.status, 200) << verb.method << " " << verb.path << second.body.dump();
    settle();
    EXPECT_EQ(decisions(), after_first) << verb.method << " " << verb.path;
    // A new token is a new secret, and a password cannot be compared: both are done again.
    if (verb.path.rfind("/tills", 0) == 0 && verb.method == "POST" &&
        verb.path.find("revoke") == std::string::npos) {
      continue;
    }
    if (verb.path == "/users") continue;
    EXPECT_EQ(audit_kinds().size(), entries) << verb.method << " " << verb.path;
  }
  EXPECT_THAT(enrolment_->approvals, ElementsAre("kasse-08"));
  EXPECT_EQ(enrolment_->ignorals, 1);
  EXPECT_THAT(accounts_.ended, Contains("carl"));
  const auto report = audit::verify(audit_->folder(), audit_->public_key());
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_TRUE(report->intact());
  EXPECT_EQ(call("GET", "/audit/verify").body.at("intact"), true);
}

TEST_F(ApiTest, AViewerChangesNothing) {
  start();
  add_pending();
  connected("kasse-01").reset();
  good("POST", "/mappings", {{"stick", serial_a}, {"till", "kasse-01"}});
  settle();
  const std::string before = decisions();
  std::size_t refused = 0;
  for (const Verb& verb : every_verb()) {
    const Answer answer = call(verb.method, verb.path, verb.body, Role::viewer);
    EXPECT_EQ(answer.status, 403) << verb.method << " " << verb.path;
    EXPECT_EQ(answer.body.at("error").at("code"), "not_allowed");
    ++refused;
  }
  for (const char* path : {"/leases/1/end", "/sticks/x/identify"}) {
    EXPECT_EQ(call("POST", path, {}, Role::viewer).status, 403) << path;
    ++refused;
  }
  settle();
  EXPECT_EQ(decisions(), before);
  const auto kinds = audit_kinds();
  EXPECT_EQ(static_cast<std::size_t>(std::count(kinds.begin(), kinds.end(), "action_refused")),
            refused);
  EXPECT_EQ(audit().at(0).at("who"), "viewer bob");
  EXPECT_EQ(call("GET", "/state", {}, Role::viewer).status, 200);
  EXPECT_EQ(call("GET", "/audit", {}, Role::viewer).status, 200);
}

TEST_F(ApiTest, WhoAndWhyAreInTheAudit) {
  start();
  connected("kasse-01").reset();
  good("POST", "/mappings", {{"stick", serial_a}, {"till", "kasse-01"}, {"reason", "new till"}});
  const Json entry = audit("&stick=" + serial_a).at(0);
  EXPECT_EQ(entry.at("kind"), "mapping_added");
  EXPECT_EQ(entry.at("who"), "admin anna");
  EXPECT_EQ(entry.at("reason"), "new till");
  EXPECT_EQ(entry.at("till"), "kasse-01");
  EXPECT_EQ(entry.at("stick"), stick_a);
  EXPECT_EQ(entry.at("details").at("address"), "local");
  EXPECT_EQ(audit("&stick=" + serial_a + "&from=2090-01-01").size(), 0U);
  EXPECT_EQ(audit("&till=kasse-01&to=2026-01-01").size(), 0U);
  const Answer file = call("GET", "/audit/export?stick=" + serial_a);
  ASSERT_EQ(file.status, 200);
  EXPECT_THAT(file.body.dump(), HasSubstr("new till"));
  EXPECT_EQ(call("GET", "/audit?from=yesterday").status, 422);
  EXPECT_EQ(call("GET", "/audit?limit=-1").status, 422);
}

TEST_F(ApiTest, MistakesAreToldAndChangeNothing) {
  start("[[map]]\nstick = \"" + stick_b + "\"\ntill = \"kasse-01\"\n");
  connected("kasse-01").reset();
  settle();
  const std::string before = decisions();
  struct Mistake {
    std::string method, path;
    Json body;
    int status;
    std::string message;
  };
  const std::string deep(200, '[');
  const std::vector<Mistake> mistakes = {
      {"GET", "/nothing", {}, 404, "no such address"},
      {"GET", "/sticks/%zz", {}, 404, "no such address"},
      {"GET", "/sticks/..%2f..%2fetc%2fpasswd", {}, 404, "no stick"},
      {"DELETE", "/state", {}, 405, "takes GET"},
      {"POST", "/mappings", "{", 400, "no JSON"},
      {"POST", "/mappings", "[]", 400, "no JSON object"},
      {"POST", "/mappings", deep, 422, "nested too deeply"},
      {"POST", "/mappings", std::string(70000, ' '), 413, "more than"},
      {"POST", "/mappings", {{"till", "kasse-01"}}, 422, "'stick' is missing"},
      {"POST", "/mappings", {{"stick", 7}, {"till", "kasse-01"}}, 422, "must be a text"},
      {"POST", "/mappings", {{"stick", "nope"}, {"till", "kasse-01"}}, 404, "no stick 'nope'"},
      {"POST", "/mappings", {{"stick", serial_a}, {"till", "nope"}}, 404, "no till 'nope'"},
      {"POST",
       "/mappings",
       {{"stick", serial_a}, {"till", "kasse-01"}, {"resett", "x"}},
       422,
       "'resett' is not a field"},
      {"POST",
       "/mappings",
       {{"stick", serial_a}, {"till", "kasse-01"}, {"reset", "x"}},
       422,
       "reset is 'x'"},
      {"POST",
       "/mappings",
       {{"stick", serial_a}, {"till", "kasse-01"}, {"position", 0}},
       422,
       "whole number"},
      {"POST",
       "/mappings",
       {{"stick", serial_a}, {"till", "kasse-01"}, {"position", 1e30}},
       422,
       "whole number"},
      {"POST", "/mappings", {{"stick", serial_a}, {"till", "usbip:*"}}, 422, "not switched on"},
      {"POST",
       "/mappings",
       {{"stick", serial_a}, {"till", "kasse-01"}, {"reason", "a\x01"}},
       422,
       "control characters"},
      {"POST",
       "/mappings",
       {{"stick", serial_a}, {"till", "kasse-01"}, {"reason", std::string(2000, 'x')}},
       422,
       "longer than"},
      {"PATCH", "/mappings/file-1", {{"position", 1}}, 409, "is written in"},
      {"DELETE", "/mappings/file-1", {}, 409, "is written in"},
      {"PATCH", "/mappings/99", {{"position", 1}}, 404, "no mapping"},
      {"POST", "/sticks/" + stick_a + "/block", {{"minutes", -5}}, 422, "whole number"},
      {"POST", "/sticks/" + stick_a + "/dance", {}, 404, "no such address"},
      {"POST", "/sticks/" + stick_a + "/identify", {}, 409, "at port simulated-1"},
      {"DELETE", "/sticks/" + stick_a, {}, 409, "plugged in"},
      {"POST", "/tills", {{"name", "../etc"}}, 422, "cannot be the name"},
      {"POST", "/tills/nope/revoke", {}, 404, "no till"},
      {"POST", "/leases/7/end", {}, 404, "no lease"},
      {"POST", "/drain", {}, 422, "'on' is missing"},
      {"POST", "/pending/k9/approve", {{"name", "x"}}, 404, "no till asks"},
      {"POST",
       "/users",
       {{"name", "x"}, {"role", "king"}, {"password", "long enough"}},
       422,
       "neither admin nor viewer"},
      {"POST", "/users", {{"name", "x"}, {"password", "short"}}, 422, "too short"},
  };
  for (const Mistake& mistake : mistakes) {
    const Answer answer = call(mistake.method, mistake.path, mistake.body);
    const std::string what = mistake.method + " " + mistake.path + " " + answer.body.dump();
    EXPECT_EQ(answer.status, mistake.status) << what;
    ASSERT_TRUE(answer.body.contains("error")) << what;
    EXPECT_THAT(answer.body.at("error").at("message").get<std::string>(),
                HasSubstr(mistake.message))
        << what;
    EXPECT_FALSE(answer.body.at("error").at("remedy").get<std::string>().empty()) << what;
    EXPECT_FALSE(answer.body.at("error").at("code").get<std::string>().empty()) << what;
  }
  settle();
  EXPECT_EQ(decisions(), before);
}

TEST_F(ApiTest, EventsTellTheSameStoryAsTheState) {
  start();
  std::map<std::string, std::map<std::string, Json>> seen;
  std::uint64_t version = 0;
  std::vector<std::string> kinds;
  const auto key = [](const std::string& list) { return list == "tills" ? "name" : "id"; };
  const Json first = state();
  for (const char* list : {"sticks", "tills", "mappings", "leases", "pending", "alarms"}) {
    for (const Json& item : first.at(list)) seen[list][item.at(key(list))] = item;
  }
  auto subscription = admin_->events().subscribe([&](const Event& event) {
    const Json data = Json::parse(event.data);
    if (event.type == "log") kinds.push_back(data.at("kind"));
    if (event.type != "state") return;
    EXPECT_GT(data.at("version").get<std::uint64_t>(), version);
    version = data.at("version");
    for (const auto& [list, items] : data.at("changed").items()) {
      if (list == "server") continue;
      for (const Json& item : items) seen[list][item.at(key(list))] = item;
    }
    for (const auto& [list, ids] : data.at("removed").items()) {
      for (const Json& id : ids) EXPECT_EQ(seen[list].erase(id), 1U) << list << id;
    }
  });
  const std::uint64_t since = admin_->events().last();
  add_pending();
  auto kasse = connected("kasse-01");
  good("POST", "/mappings", {{"stick", serial_a}, {"till", "kasse-01"}});
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 1; }));
  const auto& stick = kasse->import(kasse->granted[0].stream, kasse->granted[0].busid);
  ASSERT_TRUE(until([&] { return stick.imported; }));
  good("POST", "/sticks/" + stick_b + "/block", {});
  good("POST", "/pending/k1/approve", {{"name", "kasse-08"}});
  ASSERT_TRUE(usb_->simulated()->unplug(serial_a).ok());
  settle();
  good("DELETE", "/mappings/1");
  settle();
  const Json last = state();
  EXPECT_EQ(last.at("version"), version);
  for (const char* list : {"sticks", "tills", "mappings", "leases", "pending", "alarms"}) {
    std::map<std::string, Json> wanted;
    for (const Json& item : last.at(list)) wanted[item.at(key(list))] = item;
    for (auto* side : {&wanted, &seen[list]}) {
      for (auto& [id, item] : *side) item.erase("rtt_us");
    }
    EXPECT_EQ(seen[list], wanted) << list;
  }
  EXPECT_THAT(kinds, Contains("mapping_added"));
  EXPECT_THAT(kinds, Contains("alarm_raised"));
  const auto missed = admin_->events().since(since);
  ASSERT_TRUE(missed);
  EXPECT_EQ(missed->back().id, admin_->events().last());
  EXPECT_FALSE(admin_->events().since(admin_->events().last() + 5)) << "of another run";
  subscription = {};
  kinds.clear();
  good("POST", "/drain", {{"on", true}});
  EXPECT_TRUE(kinds.empty());
}

TEST_F(ApiTest, TheLastAdministratorStays) {
  start();
  good("POST", "/users", {{"name", "carl"}, {"role", "admin"}, {"password", "long enough"}});
  EXPECT_EQ(call("DELETE", "/users/carl").status, 409);
  EXPECT_EQ(call("PATCH", "/users/carl", {{"role", "viewer"}}).status, 409);
  EXPECT_EQ(call("GET", "/users", {}, Role::viewer).status, 403);
}

TEST_F(ApiTest, ATillCannotBeApprovedUnderANameThatIsInUse) {
  start();
  add_pending();
  connected("kasse-01").reset();
  const Answer answer = call("POST", "/pending/k1/approve", {{"name", "kasse-01"}});
  EXPECT_EQ(answer.status, 409);
  EXPECT_THAT(answer.body.dump(), HasSubstr("may pretend to be it"));
  EXPECT_TRUE(enrolment_->approvals.empty());
}

// --- parts --------------------------------------------------------------------------------------

TEST(Times, AreReadAsPeopleAndProgramsWriteThem) {
  using std::chrono::system_clock;
  const auto noon = system_clock::from_time_t(1795435200);  // 2026-11-23T12:00:00Z
  EXPECT_EQ(time_of("2026-11-23T12:00:00Z", false), noon);
  EXPECT_EQ(time_of("2026-11-23T13:00:00+01:00", false), noon);
  EXPECT_EQ(time_of("2026-11-23T12:00:00.5Z", false), noon + std::chrono::milliseconds(500));
  EXPECT_EQ(time_of("2026-11-23", false), noon - std::chrono::hours(12));
  EXPECT_EQ(time_of("2026-11-23", true),
            noon + std::chrono::hours(12) - std::chrono::microseconds(1));
  for (const char* bad : {"", "x", "2026-13-01", "2026-11-23T25:00:00Z", "2026-11-23T12:00:00",
                          "2026-11-23T12:00:00Zx", "2026-11-23x"}) {
    EXPECT_FALSE(time_of(bad, false)) << bad;
  }
}

TEST(Latency, PercentilesAreRightToAQuarter) {
  server::LatencyHistogram histogram;
  EXPECT_FALSE(histogram.percentile(50));
  for (int us = 1; us <= 100000; ++us) histogram.add(Duration(us));
  EXPECT_NEAR(*histogram.percentile(50), 50000, 12500);
  EXPECT_NEAR(*histogram.percentile(99), 99000, 25000);
  EXPECT_GE(*histogram.percentile(50), 50000U) << "never better than it was";
  for (std::uint64_t us = 0; us < 200000; us += 7) {
    const std::size_t bucket = server::LatencyHistogram::bucket_of(us);
    ASSERT_LE(us, server::LatencyHistogram::upper_us(bucket));
    if (bucket > 0) {
      ASSERT_GT(us, server::LatencyHistogram::upper_us(bucket - 1));
    }
  }
  EXPECT_EQ(server::LatencyHistogram::bucket_of(UINT64_MAX), server::LatencyHistogram::buckets - 1);
}

TEST(Latency, TheLastMinuteForgets) {
  server::RecentLatency recent;
  Instant now = std::chrono::hours(5);
  recent.add(std::chrono::milliseconds(900), now);
  for (int second = 1; second <= 40; ++second) {
    recent.add(std::chrono::milliseconds(1), now += std::chrono::seconds(1));
  }
  EXPECT_EQ(recent.minute(now).count(), 41U);
  EXPECT_GT(*recent.minute(now).percentile(99), 800000U);
  now += std::chrono::seconds(25);
  EXPECT_LT(*recent.minute(now).percentile(99), 2000U) << "the slow one is a minute old";
  EXPECT_EQ(recent.minute(now + std::chrono::hours(1)).count(), 0U);
}

}  // namespace
}  // namespace tillbridge::admin::test
