// Rows in and out, and what a transaction promises.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/store/limits.hpp"
#include "tests/unit/store/example_rows.hpp"

namespace tillbridge::store::testing {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Rows : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  Store store_ = must(Store::open(folder_.path() / "state", now));

  void reopen() {
    // The first must let go of the folder before the second can have it.
    { const Store over = std::move(store_); }
    store_ = must(Store::open(folder_.path() / "state", now));
  }
  void know_stick_and_till() {
    must(store_.put_stick(example_stick()));
    must(store_.put_till(example_till()));
  }
  std::vector<std::int64_t> ids(const Store::LeaseQuery& query) {
    std::vector<std::int64_t> found;
    for (const Lease& lease : must(store_.leases(query))) found.push_back(lease.id);
    return found;
  }
};

TEST_F(Rows, ComeBackAsTheyWerePutAlsoAfterARestart) {
  know_stick_and_till();
  must(store_.put_certificate(example_certificate()));
  must(store_.put_token(example_token()));
  must(store_.put_pending(example_pending()));
  must(store_.put_user(example_user()));
  must(store_.put_web_session(example_session()));
  must(store_.put_setting("site", std::string("K\0öln", 6)));
  Mapping mapping = example_mapping();
  mapping.id = must(store_.add_mapping(mapping));
  Lease lease = example_lease();
  lease.id = must(store_.add_lease(lease));

  reopen();
  EXPECT_EQ(must(store_.stick("1209:0001:5A2F")), example_stick());
  EXPECT_EQ(must(store_.till("kasse-07")), example_till());
  EXPECT_EQ(must(store_.certificate("f1")), example_certificate());
  EXPECT_EQ(must(store_.token(digest(1))), example_token());
  EXPECT_EQ(must(store_.pending("k3")), example_pending());
  EXPECT_EQ(must(store_.user("anna")), example_user());
  EXPECT_EQ(must(store_.web_session(digest(9))), example_session());
  EXPECT_EQ(must(store_.setting("site")), std::string("K\0öln", 6));
  EXPECT_EQ(must(store_.mapping(mapping.id)), mapping);
  EXPECT_EQ(must(store_.lease(lease.id)), lease);
}

TEST_F(Rows, EmptyOnesComeBackEmpty) {
  const Stick stick{.id = "x", .blocked_until = Time::max()};
  must(store_.put_stick(stick));
  const Till till{.name = "t", .added = Time(std::chrono::seconds(-1))};
  must(store_.put_till(till));
  const Pending pending{.key_fingerprint = "k"};
  must(store_.put_pending(pending));
  Lease lease;
  lease.id = must(store_.add_lease(lease));
  EXPECT_EQ(must(store_.stick("x")), stick);
  EXPECT_EQ(must(store_.till("t")), till);
  EXPECT_EQ(must(store_.pending("k")), pending);
  EXPECT_EQ(must(store_.lease(lease.id)), lease);
  EXPECT_EQ(must(store_.stick("y")), std::nullopt);
  EXPECT_EQ(must(store_.setting("y")), std::nullopt);
}

TEST_F(Rows, AFinerTimeThanMicrosecondsIsRoundedDown) {
  must(store_.put_till({.name = "t", .added = Time(std::chrono::nanoseconds(-1))}));
  EXPECT_EQ(must(store_.till("t"))->added, Time(std::chrono::microseconds(-1)));
}

TEST_F(Rows, PuttingAgainReplacesTheRowAndKeepsWhatRefersToIt) {
  know_stick_and_till();
  must(store_.put_user(example_user()));
  must(store_.put_token(example_token()));
  must(store_.put_web_session(example_session()));
  Till changed = example_till();
  changed.note = "right";
  changed.last_seen.reset();
  must(store_.put_till(changed));
  must(store_.put_user(example_user()));
  EXPECT_THAT(must(store_.tills()), ElementsAre(changed));
  EXPECT_THAT(must(store_.tokens()), ElementsAre(example_token()));
  EXPECT_THAT(must(store_.web_sessions()), ElementsAre(example_session()));
}

TEST_F(Rows, GoWithWhatTheyBelongTo) {
  know_stick_and_till();
  must(store_.put_user(example_user()));
  must(store_.put_token(example_token()));
  must(store_.put_certificate(example_certificate()));
  must(store_.put_web_session(example_session()));
  must(store_.remove_till("kasse-07"));
  must(store_.remove_user("anna"));
  EXPECT_THAT(must(store_.tokens()), IsEmpty());
  EXPECT_THAT(must(store_.web_sessions()), IsEmpty());
  // What was revoked stays known.
  EXPECT_THAT(must(store_.certificates_of("kasse-07")), ElementsAre(example_certificate()));
}

TEST_F(Rows, RemovingWhatIsNotThereIsASuccess) {
  EXPECT_TRUE(store_.remove_stick("x"));
  EXPECT_TRUE(store_.remove_till("x"));
  EXPECT_TRUE(store_.remove_mapping(7));
  EXPECT_TRUE(store_.remove_token(digest(1)));
  EXPECT_TRUE(store_.remove_pending("x"));
  EXPECT_TRUE(store_.remove_user("x"));
  EXPECT_TRUE(store_.remove_web_session(digest(1)));
  EXPECT_TRUE(store_.remove_setting("x"));
}

TEST_F(Rows, AMappingNeedsItsStickAndItsTill) {
  must(store_.put_stick(example_stick()));
  const auto added = store_.add_mapping(example_mapping());
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ErrorCode::refused);
  EXPECT_THAT(added.error().message, HasSubstr("not known"));

  must(store_.put_till(example_till()));
  Mapping mapping = example_mapping();
  mapping.id = must(store_.add_mapping(mapping));
  EXPECT_EQ(store_.remove_stick(mapping.stick).error().code, ErrorCode::refused);
  EXPECT_EQ(store_.remove_till(mapping.till).error().code, ErrorCode::refused);
  Mapping misfit = mapping;
  misfit.stick = "elsewhere";
  EXPECT_EQ(store_.change_mapping(misfit).error().code, ErrorCode::refused);
  misfit = mapping;
  misfit.id = mapping.id + 1;
  EXPECT_EQ(store_.change_mapping(misfit).error().code, ErrorCode::refused);
  EXPECT_THAT(must(store_.mappings()), ElementsAre(mapping));
}

TEST_F(Rows, MappingsComeInTheOrderTheyAreLookedAt) {
  know_stick_and_till();
  must(store_.put_stick(example_stick("a")));
  must(store_.put_till(example_till("kasse-08")));
  const auto second = must(store_.add_mapping(example_mapping("a", "kasse-07", 2)));
  const auto other = must(store_.add_mapping(example_mapping("1209:0001:5A2F", "kasse-07", 1)));
  const auto first = must(store_.add_mapping(example_mapping("a", "kasse-08", 1)));
  const auto numbers = [](const std::vector<Mapping>& mappings) {
    std::vector<std::int64_t> found;
    for (const Mapping& mapping : mappings) found.push_back(mapping.id);
    return found;
  };
  EXPECT_THAT(numbers(must(store_.mappings())), ElementsAre(other, first, second));
  EXPECT_THAT(numbers(must(store_.mappings_of_stick("a"))), ElementsAre(first, second));
  EXPECT_THAT(numbers(must(store_.mappings_of_till("kasse-07"))), ElementsAre(other, second));

  must(store_.remove_mapping(first));
  EXPECT_GT(must(store_.add_mapping(example_mapping("a"))), first) << "an id is never used twice";
}

TEST_F(Rows, LeasesAreFoundByWhatOneAsksFor) {
  const auto add = [&](const std::string& stick, const std::string& till, std::int64_t since,
                       std::optional<std::int64_t> ended) {
    Lease lease = example_lease();
    lease.stick = stick;
    lease.till = till;
    lease.since = at(since);
    lease.ended.reset();
    if (ended) lease.ended = at(*ended);
    return must(store_.add_lease(lease));
  };
  const auto a = add("s1", "t1", 100, 200);
  const auto b = add("s2", "t1", 150, 250);
  const auto c = add("s1", "t2", 300, {});
  const auto d = add("s2", "t2", 400, {});
  EXPECT_THAT(ids({}), ElementsAre(d, c, b, a));
  EXPECT_THAT(ids({.stick = "s1"}), ElementsAre(c, a));
  EXPECT_THAT(ids({.till = "t1"}), ElementsAre(b, a));
  EXPECT_THAT(ids({.stick = "s2", .till = "t1"}), ElementsAre(b));
  EXPECT_THAT(ids({.from = at(200), .to = at(300)}), ElementsAre(c, b, a));
  EXPECT_THAT(ids({.from = at(201), .to = at(299)}), ElementsAre(b));
  EXPECT_THAT(ids({.limit = 2}), ElementsAre(d, c));
  EXPECT_THAT(ids({.before_id = c}), ElementsAre(b, a));

  Lease over = *must(store_.lease(c));
  over.ended = at(500);
  over.transfers = 5;
  must(store_.change_lease(over));
  EXPECT_EQ(must(store_.lease(c)), over);
  EXPECT_THAT(must(store_.open_leases()), ElementsAre(*must(store_.lease(d))));
  must(store_.remove_leases_ended_before(at(250)));
  EXPECT_THAT(ids({}), ElementsAre(d, c, b));
}

TEST_F(Rows, WhatRanOutIsRemovedAndNothingElse) {
  know_stick_and_till();
  must(store_.put_user(example_user()));
  for (std::uint8_t i = 1; i <= 3; ++i) {
    Token token = example_token(i);
    token.expires = at(i);
    must(store_.put_token(token));
    WebSession session = example_session(i);
    session.expires = at(i);
    must(store_.put_web_session(session));
    Certificate certificate = example_certificate(std::to_string(i));
    certificate.not_after = at(i);
    must(store_.put_certificate(certificate));
    Pending pending = example_pending(std::to_string(i));
    pending.last_seen = at(i);
    must(store_.put_pending(pending));
  }
  must(store_.remove_tokens_expired_before(at(2)));
  must(store_.remove_web_sessions_expired_before(at(2)));
  must(store_.remove_certificates_ended_before(at(2)));
  must(store_.remove_pending_last_seen_before(at(2)));
  EXPECT_EQ(must(store_.tokens()).size(), 2U);
  EXPECT_EQ(must(store_.web_sessions()).size(), 2U);
  EXPECT_EQ(must(store_.certificates()).size(), 2U);
  EXPECT_EQ(must(store_.pending()).size(), 2U);
  must(store_.remove_tokens_of("kasse-08"));
  must(store_.remove_web_sessions_of("berta"));
  EXPECT_EQ(must(store_.tokens()).size() + must(store_.web_sessions()).size(), 4U);
  must(store_.remove_tokens_of("kasse-07"));
  must(store_.remove_web_sessions_of("anna"));
  EXPECT_EQ(must(store_.tokens()).size() + must(store_.web_sessions()).size(), 0U);
}

TEST_F(Rows, WhatIsTooLongIsRefusedAndNothingIsCut) {
  EXPECT_TRUE(store_.put_setting("a", std::string(limits::text_bytes, 'x')));
  const Status text = store_.put_setting("a", std::string(limits::text_bytes + 1, 'x'));
  EXPECT_EQ(text.error().code, ErrorCode::limit);
  EXPECT_EQ(must(store_.setting("a"))->size(), limits::text_bytes);
  Pending pending = example_pending();
  pending.request.resize(limits::request_bytes + 1);
  EXPECT_EQ(store_.put_pending(pending).error().code, ErrorCode::limit);
  EXPECT_THAT(must(store_.pending()), IsEmpty());
}

TEST_F(Rows, ATransactionIsWholeOrAbsent) {
  {
    auto change = must(store_.begin());
    know_stick_and_till();
    EXPECT_EQ(must(store_.sticks()).size(), 1U) << "a change sees itself";
  }
  EXPECT_THAT(must(store_.sticks()), IsEmpty());
  EXPECT_THAT(must(store_.tills()), IsEmpty());
  {
    auto change = must(store_.begin());
    know_stick_and_till();
    auto moved = std::move(change);
    EXPECT_TRUE(moved.commit());
    EXPECT_EQ(moved.commit().error().code, ErrorCode::refused);
  }
  EXPECT_EQ(must(store_.sticks()).size(), 1U);
  EXPECT_EQ(must(store_.tills()).size(), 1U);
}

TEST_F(Rows, OneFailureSpoilsTheWholeTransaction) {
  {
    auto change = must(store_.begin());
    must(store_.put_setting("before", "1"));
    EXPECT_FALSE(store_.add_mapping(example_mapping()));
    EXPECT_EQ(must(store_.setting("before")), std::nullopt) << "it is taken back at once";
    // As SQLite would have it, this one alone would be kept.
    const Status after = store_.put_setting("after", "1");
    ASSERT_FALSE(after);
    EXPECT_THAT(after.error().message, HasSubstr("not known"));
    EXPECT_FALSE(change.commit());
  }
  EXPECT_EQ(must(store_.setting("before")), std::nullopt);
  EXPECT_EQ(must(store_.setting("after")), std::nullopt);
  EXPECT_TRUE(store_.put_setting("after", "2")) << "the next change is a new one";
}

TEST_F(Rows, OneTransactionAtATime) {
  auto first = must(store_.begin());
  EXPECT_EQ(store_.begin().error().code, ErrorCode::refused);
  must(store_.put_setting("a", "1"));
  EXPECT_TRUE(first.commit());
  EXPECT_TRUE(store_.begin());
  EXPECT_EQ(must(store_.setting("a")), "1");
}

}  // namespace

}  // namespace tillbridge::store::testing
