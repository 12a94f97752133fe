// Who gets in, how long he stays, and how often he may guess, with a clock that the test moves.
#include "server/http/logins.hpp"

#include <gmock/gmock.h>
#include <sqlite3.h>

#include "server/http/limits.hpp"
#include "server/http/tries.hpp"
#include "tests/unit/admin/admin_bench.hpp"

namespace tillbridge::http::test {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::Not;

const std::string password = "four quiet words", address = "192.0.2.7";

class LoginsTest : public admin::test::AdminTest {
 protected:
  ~LoginsTest() override { stop(); }

  admin::Accounts& accounts() override {
    logins_ = std::make_unique<Logins>(*store_, [this] { return now_; });
    return *logins_;
  }
  void begin() {
    start();
    ASSERT_TRUE(logins_->start(*admin_).ok());
  }
  /// anna, an administrator, by a link.
  Logins::Opened first() {
    auto token = logins_->make_link("system", "", limits::first_link_valid);
    EXPECT_TRUE(token.ok());
    auto opened = logins_->open_link(*token, "anna", password, address);
    EXPECT_TRUE(opened.ok());
    return *opened;
  }
  admin::Outcome<Logins::Opened> log_in(const std::string& user, const std::string& with,
                                        const std::string& from = address) {
    auto kept = logins_->begin(user, from);
    if (!kept) return kept.problem();
    return logins_->finish(user, *kept, password_fits(with, *kept), from);
  }

  Time now_ = std::chrono::system_clock::now();
  std::unique_ptr<Logins> logins_;
};

TEST(Passwords, AreKeptAsScryptWithASaltOfTheirOwn) {
  const auto one = hash_password(password);
  const auto other = hash_password(password);
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_EQ(one->rfind("scrypt$32768$8$3$", 0), 0U) << *one;
  EXPECT_NE(*one, *other);
  EXPECT_TRUE(password_fits(password, *one));
  EXPECT_FALSE(password_fits(password + " ", *one));
  for (const char* broken : {"", "none", "scrypt$32768$8$3$salt$", "scrypt$x$8$3$s$h",
                             "scrypt$99999999999$8$3$s$h", "scrypt$0$0$0$s$h", "plain$1$1$1$s$h"}) {
    EXPECT_FALSE(password_fits(password, broken)) << broken;
  }
  EXPECT_EQ(hash_password("ninechars").error().code, ErrorCode::refused);
  EXPECT_EQ(hash_password("äöüäöüäöü").error().code, ErrorCode::refused);  // characters, not bytes
  EXPECT_EQ(hash_password("abcabcabcabcabc").error().code, ErrorCode::refused);
  EXPECT_EQ(hash_password(std::string(2000, 'a') + "bcdef").error().code, ErrorCode::refused);
}

TEST_F(LoginsTest, ASessionEndsWhenNobodyUsesItAndWhenItIsOld) {
  begin();
  const auto opened = first();
  ASSERT_TRUE(logins_->who(opened.cookie));
  EXPECT_EQ(logins_->who(opened.cookie)->role, admin::Role::admin);
  EXPECT_FALSE(logins_->who(""));
  EXPECT_FALSE(logins_->who(opened.cookie + "A"));
  EXPECT_FALSE(logins_->who(opened.known.csrf));

  now_ += limits::session_idle - seconds(1);
  EXPECT_TRUE(logins_->who(opened.cookie));
  now_ += limits::session_idle;
  EXPECT_FALSE(logins_->who(opened.cookie));
  EXPECT_TRUE(store_->web_sessions()->empty());

  const auto again = log_in("anna", password);
  ASSERT_TRUE(again.ok());
  for (const Time end = now_ + limits::session_whole; now_ < end; now_ += hours(3)) {
    ASSERT_TRUE(logins_->who(again->cookie));
  }
  EXPECT_FALSE(logins_->who(again->cookie));
}

TEST_F(LoginsTest, ASessionOutlivesTheProgramButNotItsUser) {
  begin();
  const auto opened = first();
  now_ += limits::session_noted;
  ASSERT_TRUE(logins_->who(opened.cookie));
  stop();
  begin();
  ASSERT_TRUE(logins_->who(opened.cookie));
  EXPECT_EQ(logins_->who(opened.cookie)->csrf, opened.known.csrf);

  const auto other = log_in("anna", password);
  ASSERT_TRUE(other.ok());
  logins_->logout(other->known, address);
  EXPECT_FALSE(logins_->who(other->cookie));
  ASSERT_TRUE(logins_->who(opened.cookie));
  // A new password ends all of his logins.
  EXPECT_EQ(call("PATCH", "/users/anna", {{"password", "five other quiet words"}}).status, 200);
  EXPECT_FALSE(logins_->who(opened.cookie));
  EXPECT_FALSE(log_in("anna", password).ok());
  EXPECT_TRUE(log_in("anna", "five other quiet words").ok());
  EXPECT_THAT(audit_kinds(), Contains("logout"));
}

TEST_F(LoginsTest, AUserHasABoundedNumberOfSessions) {
  begin();
  const auto opened = first();
  const std::string kept = (*store_->user("anna"))->password;
  for (std::size_t count = 0; count < limits::sessions_per_user; ++count) {
    now_ += seconds(1);
    ASSERT_TRUE(logins_->begin("anna", address).ok());
    ASSERT_TRUE(logins_->finish("anna", kept, true, address).ok());
  }
  EXPECT_FALSE(logins_->who(opened.cookie));  // the oldest went
  EXPECT_EQ(store_->web_sessions()->size(), limits::sessions_per_user);
}

TEST_F(LoginsTest, ALinkIsGoodOnceAndNotForever) {
  begin();
  EXPECT_TRUE(logins_->nobody_yet());
  const auto token = logins_->make_link("system", "", minutes(15));
  now_ += minutes(15);
  EXPECT_EQ(logins_->open_link(*token, "anna", password, address).problem().status, 401);
  const auto fresh = logins_->make_link("system", "", minutes(15));
  EXPECT_EQ(logins_->open_link(*token, "anna", password, address).problem().status, 401);
  EXPECT_TRUE(logins_->nobody_yet());
  ASSERT_TRUE(logins_->open_link(*fresh, "anna", password, address).ok());
  EXPECT_EQ(logins_->open_link(*fresh, "eve", password, address).problem().status, 401);
  EXPECT_FALSE(logins_->nobody_yet());

  // Somebody who forgot his password gets in again, as what he was.
  EXPECT_EQ(
      call("POST", "/users", {{"name", "ben"}, {"role", "viewer"}, {"password", password}}).status,
      200);
  const auto forgot = logins_->make_link("system", "", minutes(15));
  const auto ben = logins_->open_link(*forgot, "ben", "a password of his own", address);
  ASSERT_TRUE(ben.ok());
  EXPECT_EQ(ben->known.role, admin::Role::viewer);
  EXPECT_TRUE(log_in("ben", "a password of his own").ok());
  for (const auto& entry : audit()) {
    EXPECT_EQ(entry.dump().find(password), std::string::npos) << entry;
    EXPECT_EQ(entry.dump().find(*forgot), std::string::npos) << entry;
  }
}

TEST_F(LoginsTest, ALinkIsUsedUpWithWhatItMakesOrNotAtAll) {
  begin();
  const auto token = logins_->make_link("system", "", minutes(15));
  const auto in_database = [&](const char* sql) {
    stop();
    sqlite3* database = nullptr;
    ASSERT_EQ(sqlite3_open((state_ / "tillbridge.db").c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(database, sql, nullptr, nullptr, nullptr), SQLITE_OK);
    EXPECT_EQ(sqlite3_close(database), SQLITE_OK);
    begin();
  };
  for (const char* row : {"DELETE ON settings", "INSERT ON users"}) {
    in_database(("CREATE TRIGGER broken BEFORE " + std::string(row) +
                 " BEGIN SELECT RAISE(ABORT, 'broken'); END")
                    .c_str());
    EXPECT_FALSE(logins_->open_link(*token, "anna", password, address).ok()) << row;
    EXPECT_TRUE(logins_->nobody_yet()) << row;
    EXPECT_THAT(audit_kinds(), Not(Contains("user_added")));
    in_database("DROP TRIGGER broken");
    EXPECT_FALSE(logins_->check_link(*token, address)) << row;
  }
  ASSERT_TRUE(logins_->open_link(*token, "anna", password, address).ok());
  EXPECT_TRUE(logins_->check_link(*token, address));
}

TEST_F(LoginsTest, WhatChangesWhileAPasswordIsLookedAtCounts) {
  begin();
  (void)first();
  const auto kept = logins_->begin("anna", address);
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(call("PATCH", "/users/anna", {{"password", "five other quiet words"}}).status, 200);
  EXPECT_EQ(logins_->finish("anna", *kept, true, address).problem().status, 401);
}

TEST_F(LoginsTest, WhoIsWrongTooOftenWaits) {
  begin();
  (void)first();
  const std::string guesser = "198.51.100.9";
  for (std::size_t count = 0; count < limits::wrong_passwords; ++count) {
    const auto kept = logins_->begin(count % 2 == 0 ? "anna" : "nobody", guesser);
    ASSERT_TRUE(kept.ok());
    EXPECT_EQ(logins_->finish("anna", *kept, false, guesser).problem().status, 401);
  }
  EXPECT_EQ(logins_->begin("anna", guesser).problem().status, 429);
  EXPECT_EQ(logins_->check_link("guess", guesser)->status, 429);
  EXPECT_TRUE(logins_->begin("anna", address).ok());  // others do not
  const std::string other = "198.51.100.10";
  for (std::size_t count = 0; count < limits::wrong_passwords; ++count) {
    EXPECT_EQ(logins_->check_link("guess", other)->status, 401);
  }
  EXPECT_EQ(logins_->check_link("guess", other)->status, 429);
  EXPECT_EQ(logins_->begin("anna", other).problem().status, 429);
  now_ += limits::lockout;
  EXPECT_TRUE(log_in("anna", password, guesser).ok());
  EXPECT_THAT(audit_kinds(), Contains("login_refused"));
}

TEST(Tries, AreCountedForAWholeNetworkAndInTotal) {
  Tries tries;
  const Time now = std::chrono::system_clock::now();
  for (std::size_t count = 0; count < limits::wrong_passwords; ++count) {
    tries.tried("2001:db8::" + std::to_string(count), now);
  }
  EXPECT_TRUE(tries.wait("2001:db8::ffff", now));
  EXPECT_FALSE(tries.wait("2001:db8:0:1::1", now));
  tries.tried("192.0.2.1", now);
  tries.right("192.0.2.1", now);
  for (std::size_t count = 0; count < limits::wrong_passwords_all; ++count) {
    tries.tried("10.1." + std::to_string(count / 200) + "." + std::to_string(count % 200), now);
  }
  EXPECT_TRUE(tries.wait("203.0.113.1", now));  // nobody new
  EXPECT_FALSE(tries.wait("192.0.2.1", now));   // who was right before goes on
  EXPECT_FALSE(tries.wait("203.0.113.1", now + limits::lockout));
  // However many come: what is known of them is bounded.
  for (unsigned count = 0; count < 3 * limits::addresses_known; ++count) {
    tries.tried("a" + std::to_string(count), now);
  }
  EXPECT_TRUE(tries.wait("203.0.113.1", now));
  EXPECT_LE(tries.known(), limits::addresses_known);
}

}  // namespace
}  // namespace tillbridge::http::test
