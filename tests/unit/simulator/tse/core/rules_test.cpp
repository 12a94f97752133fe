// The rules of a TSE, one by one.

#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "core_bench.hpp"
#include "tse/evidence/log_message.hpp"

namespace tillbridge::simulator::tse {
namespace {

using What = LoginResult::What;

#define EXPECT_REFUSED(call, why)        \
  do {                                   \
    const auto answer_ = (call);         \
    ASSERT_FALSE(answer_.ok());          \
    EXPECT_EQ(answer_.refusal(), (why)); \
  } while (false)

/// The store did not change.
struct Unchanged {
  explicit Unchanged(CoreBench& with) : bench(with), before(with.archive()) {}
  Unchanged(const Unchanged&) = delete;
  Unchanged& operator=(const Unchanged&) = delete;
  ~Unchanged() { EXPECT_EQ(bench.archive(), before); }
  CoreBench& bench;
  Bytes before;
};

evidence::LogMessage last_message(CoreBench& bench) {
  const auto bytes = bench.core->last_log();
  EXPECT_TRUE(bytes);
  const auto parsed = evidence::parse_log(*bytes);
  EXPECT_TRUE(parsed);
  EXPECT_TRUE(bench.core->public_key().verify(parsed->message.hash, parsed->signed_bytes,
                                              parsed->message.signature));
  return parsed->message;
}

evidence::SystemLog last_system_log(CoreBench& bench) {
  const auto message = last_message(bench);
  EXPECT_TRUE(std::holds_alternative<evidence::SystemLog>(message.content));
  return std::get<evidence::SystemLog>(message.content);
}

// --- transactions

TEST(TseCoreRules, AReceiptIsStartedAndFinished) {
  CoreBench bench;
  bench.set_up();
  const std::uint64_t before = bench.core->signature_counter();
  bench.pass(10);
  const auto started = bench.start();
  ASSERT_TRUE(started);
  EXPECT_EQ(started->transaction, 1U);
  EXPECT_EQ(started->counter, before + 1);
  EXPECT_EQ(started->time_s, opening_time_s + 10);
  ASSERT_EQ(bench.core->open_transactions().size(), 1U);
  EXPECT_EQ(bench.core->open_transactions()[0].client, "till-1");
  EXPECT_EQ(bench.core->open_transactions()[0].start_time_s, opening_time_s + 10);

  const auto updated = bench.core->update(1, "till-1", bytes_of("x"), "Bestellung-V1", bench.now);
  ASSERT_TRUE(updated);
  bench.pass(5);
  const auto finished = bench.finish(1);
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->counter, before + 3);
  EXPECT_EQ(finished->time_s, opening_time_s + 15);
  EXPECT_TRUE(bench.core->open_transactions().empty());
  EXPECT_EQ(bench.core->transaction_counter(), 1U);

  const auto message = last_message(bench);
  EXPECT_EQ(message.counter, finished->counter);
  EXPECT_EQ(message.signature, finished->signature);
  const auto& log = std::get<evidence::TransactionLog>(message.content);
  EXPECT_EQ(log.step, evidence::TransactionStep::finish);
  EXPECT_EQ(log.client, "till-1");
  EXPECT_EQ(log.process_type, "Kassenbeleg-V1");
  bench.check_archive();
}

TEST(TseCoreRules, OnlyItsOwnClientContinuesATransactionAndOnlyOnceToItsEnd) {
  CoreBench bench;
  bench.set_up();
  ASSERT_TRUE(bench.start());
  {
    const Unchanged unchanged(bench);
    EXPECT_REFUSED(bench.finish(1, "till-2"), Refusal::not_clients_transaction);
    EXPECT_REFUSED(bench.finish(1, "till-3"), Refusal::unknown_client);
    EXPECT_REFUSED(bench.start("till-3"), Refusal::unknown_client);
    EXPECT_REFUSED(bench.finish(2), Refusal::no_such_transaction);
    EXPECT_REFUSED(bench.finish(0), Refusal::no_such_transaction);
  }
  ASSERT_TRUE(bench.finish(1));
  EXPECT_REFUSED(bench.finish(1), Refusal::no_such_transaction);
  const auto next = bench.start();
  ASSERT_TRUE(next);
  EXPECT_EQ(next->transaction, 2U);
}

TEST(TseCoreRules, LimitsOfWhatIsSigned) {
  CoreOptions options = quick_options();
  options.most_open_transactions = 2;
  options.most_clients = 3;
  CoreBench bench(options);
  bench.set_up();
  EXPECT_REFUSED(bench.core->register_client("", bench.now), Refusal::bad_parameter);
  EXPECT_REFUSED(bench.core->register_client(std::string(31, 'a'), bench.now),
                 Refusal::bad_parameter);
  EXPECT_REFUSED(bench.core->register_client("till\n", bench.now), Refusal::bad_parameter);
  const std::string longest(30, 'a');
  EXPECT_TRUE(bench.core->register_client(longest, bench.now));
  EXPECT_TRUE(bench.core->register_client(longest, bench.now)) << "again is no change";
  EXPECT_REFUSED(bench.core->register_client("till-4", bench.now), Refusal::too_many_clients);
  EXPECT_EQ(bench.core->clients().size(), 3U);

  const Bytes most(limits::tse_process_data_bytes, 0xff);
  ASSERT_TRUE(bench.core->start(longest, most, std::string(100, 't'), bench.now));
  Bytes more = most;
  more.push_back(0);
  EXPECT_REFUSED(bench.core->start("till-1", more, "", bench.now), Refusal::bad_parameter);
  EXPECT_REFUSED(bench.core->start("till-1", {}, std::string(101, 't'), bench.now),
                 Refusal::bad_parameter);
  EXPECT_REFUSED(bench.core->start("till-1", {}, "\xff", bench.now), Refusal::bad_parameter);
  ASSERT_TRUE(bench.start());
  EXPECT_REFUSED(bench.start(), Refusal::too_many_transactions);
  ASSERT_TRUE(bench.finish(2));
  EXPECT_TRUE(bench.start());
  bench.check_archive();
}

TEST(TseCoreRules, ProcessDataInPieces) {
  CoreOptions options = quick_options();
  options.process_data_piece_bytes = 64;
  CoreBench bench(options);
  bench.set_up();
  ASSERT_TRUE(
      bench.core->start("till-1", Bytes(limits::tse_process_data_bytes, 'x'), "t", bench.now));
  const auto large = std::get<evidence::TransactionLog>(last_message(bench).content);
  EXPECT_EQ(large.pieces.size(), limits::tse_process_data_bytes / 64);
  ASSERT_TRUE(bench.core->finish(1, "till-1", bytes_of("short"), "t", bench.now));
  const auto small = std::get<evidence::TransactionLog>(last_message(bench).content);
  EXPECT_EQ(small.pieces, std::vector<std::uint32_t>{5});
  bench.check_archive();
}

// --- time, self test, life cycle

TEST(TseCoreRules, WithoutTimeOrInitializationNothingIsSignedForATill) {
  CoreBench bench;
  EXPECT_EQ(bench.core->life_cycle(), LifeCycle::not_initialized);
  EXPECT_REFUSED(bench.start(), Refusal::not_initialized);
  bench.set_up();
  EXPECT_EQ(bench.core->life_cycle(), LifeCycle::active);
  EXPECT_REFUSED(bench.core->initialize(bench.now), Refusal::already_initialized);
  ASSERT_TRUE(bench.start());
  bench.core->power_cycle();
  EXPECT_FALSE(bench.core->has_time(bench.now));
  EXPECT_FALSE(bench.core->time_s(bench.now).has_value());
  EXPECT_EQ(bench.core->seconds_to_time(bench.now), 0U);
  EXPECT_REFUSED(bench.start(), Refusal::no_time);
  EXPECT_REFUSED(bench.finish(1), Refusal::no_time);
  EXPECT_EQ(bench.core->open_transactions().size(), 1U) << "survives power loss";
  EXPECT_REFUSED(bench.core->set_time(opening_time_s, bench.now), Refusal::not_logged_in);
  bench.login(User::time_admin);
  EXPECT_REFUSED(bench.core->set_time(0, bench.now), Refusal::bad_parameter);
  EXPECT_REFUSED(bench.core->set_time(1ULL << 32U, bench.now), Refusal::bad_parameter);
  EXPECT_TRUE(bench.core->set_time(opening_time_s + 100, bench.now));
  EXPECT_TRUE(bench.finish(1));
  EXPECT_EQ(bench.core->seconds_to_time(bench.now), UINT32_MAX);
}

TEST(TseCoreRules, TheClockRunsAtItsRateAndItsTimeBecomesTooOld) {
  CoreOptions options = quick_options();
  options.clock_rate = 60;
  options.time_valid = std::chrono::minutes(30);
  CoreBench bench(options);
  bench.set_up();
  bench.pass(10);
  EXPECT_EQ(bench.core->time_s(bench.now), opening_time_s + 600);
  EXPECT_EQ(bench.core->seconds_to_time(bench.now), 1200U);
  bench.pass(19.5);
  EXPECT_TRUE(bench.start());
  bench.pass(0.5);
  EXPECT_FALSE(bench.core->has_time(bench.now));
  EXPECT_REFUSED(bench.start(), Refusal::no_time);
  // Its clock still runs: the logs of a login then say so.
  bench.login();
  EXPECT_EQ(last_message(bench).time_s, opening_time_s + 1800);
  EXPECT_TRUE(bench.core->set_time(opening_time_s + 2000, bench.now));
  bench.core->set_clock_rate(1, bench.now);
  bench.pass(10);
  EXPECT_EQ(bench.core->time_s(bench.now), opening_time_s + 2010);
  EXPECT_EQ(bench.core->seconds_to_time(bench.now), 1790U);
}

TEST(TseCoreRules, ASelfTestIsNeededAfterPowerUpAndNowAndThen) {
  CoreOptions options = quick_options();
  options.needs_self_test = true;
  options.self_test_valid = std::chrono::hours(25);
  CoreBench bench(options);
  EXPECT_EQ(bench.core->seconds_to_self_test(bench.now), 0U);
  ASSERT_TRUE(bench.core->set_pins(User::admin, admin_puk, admin_pin, bench.now));
  bench.login();
  EXPECT_REFUSED(bench.core->initialize(bench.now), Refusal::self_test_required);
  EXPECT_REFUSED(bench.core->self_test(bench.now, true), Refusal::self_test_failed);
  EXPECT_REFUSED(bench.core->set_time(opening_time_s, bench.now), Refusal::self_test_failed);
  ASSERT_TRUE(bench.core->self_test(bench.now));
  EXPECT_EQ(bench.core->seconds_to_self_test(bench.now), 25U * 3600);
  ASSERT_TRUE(bench.core->initialize(bench.now));
  ASSERT_TRUE(bench.core->set_time(opening_time_s, bench.now));
  ASSERT_TRUE(bench.core->register_client("till-1", bench.now));
  ASSERT_TRUE(bench.start());
  bench.pass(25.0 * 3600);
  EXPECT_REFUSED(bench.finish(1), Refusal::self_test_required);
  ASSERT_TRUE(bench.core->self_test(bench.now));
  EXPECT_TRUE(bench.finish(1));
  bench.core->power_cycle();
  EXPECT_FALSE(bench.core->self_test_passed(bench.now));
  EXPECT_REFUSED(bench.start(), Refusal::self_test_required);
}

TEST(TseCoreRules, DeactivatedAndDisabled) {
  CoreBench bench;
  bench.set_up();
  ASSERT_TRUE(bench.start());
  ASSERT_TRUE(bench.core->deactivate(bench.now));
  EXPECT_REFUSED(bench.finish(1), Refusal::not_active);
  bench.core->power_cycle();
  EXPECT_EQ(bench.core->life_cycle(), LifeCycle::deactivated);
  bench.login();
  ASSERT_TRUE(bench.core->set_time(opening_time_s, bench.now));
  ASSERT_TRUE(bench.core->activate(bench.now));
  ASSERT_TRUE(bench.finish(1));
  ASSERT_TRUE(bench.core->disable(bench.now));
  EXPECT_FALSE(bench.core->logged_in(User::admin));
  const auto log = last_system_log(bench);
  EXPECT_EQ(log.operation, "DisableSecureElement");
  EXPECT_EQ(log.data, (Bytes{0x81, 4, 0x69, 0x55, 0xb9, 0x00}));  // opening_time_s
  EXPECT_REFUSED(bench.start(), Refusal::disabled);
  EXPECT_REFUSED(bench.core->activate(bench.now), Refusal::disabled);
  const auto login = bench.core->login(User::admin, admin_pin, bench.now);
  EXPECT_EQ(login.what, What::refused);
  EXPECT_EQ(login.refusal, Refusal::disabled);
  EXPECT_TRUE(bench.core->export_logs({}));
  bench.check_archive();
}

TEST(TseCoreRules, AnExpiredCertificateSignsNothing) {
  CoreOptions options = quick_options();
  options.certificate_end = static_cast<std::int64_t>(opening_time_s) + 100;
  CoreBench bench(options);
  bench.set_up();
  EXPECT_EQ(bench.core->certificate_end(), options.certificate_end);
  EXPECT_REFUSED(bench.core->set_time(opening_time_s + 101, bench.now),
                 Refusal::certificate_expired);
  bench.pass(100);
  EXPECT_TRUE(bench.start());
  bench.pass(1);
  EXPECT_REFUSED(bench.finish(1), Refusal::certificate_expired);
  EXPECT_REFUSED(bench.core->logout(User::admin, bench.now), Refusal::certificate_expired);
  EXPECT_TRUE(bench.core->export_logs({}));
  bench.check_archive();
}

TEST(TseCoreRules, SignaturesAreUsedUp) {
  CoreOptions options = quick_options();
  options.most_signatures = 5;
  CoreBench bench(options);
  bench.set_up();  // login, Initialize, UpdateTime
  EXPECT_EQ(bench.core->signatures_left(), 2U);
  ASSERT_TRUE(bench.start());
  ASSERT_TRUE(bench.finish(1));
  EXPECT_EQ(bench.core->signatures_left(), 0U);
  EXPECT_REFUSED(bench.start(), Refusal::signatures_used_up);
  EXPECT_EQ(bench.core->login(User::admin, admin_pin, bench.now).refusal,
            Refusal::signatures_used_up);
  bench.check_archive();
}

// --- users

TEST(TseCoreRules, ThreeWrongPinsBlockForGood) {
  CoreBench bench;
  bench.set_up();
  ASSERT_TRUE(bench.core->logout(User::admin, bench.now));
  for (std::uint8_t left = 2;; --left) {
    const auto wrong = bench.core->login(User::admin, "87654321", bench.now);
    EXPECT_EQ(wrong.what, What::wrong);
    EXPECT_EQ(wrong.tries_left, left);
    EXPECT_EQ(bench.core->tries_left(User::admin), left);
    EXPECT_FALSE(bench.core->logged_in(User::admin));
    if (left == 0) break;
    bench.core->power_cycle();
  }
  const auto blocked = bench.core->login(User::admin, admin_pin, bench.now);
  EXPECT_EQ(blocked.what, What::blocked);
  bench.core->power_cycle();
  EXPECT_EQ(bench.core->login(User::admin, admin_pin, bench.now).what, What::blocked);
  EXPECT_EQ(bench.core->change_pin(User::admin, admin_pin, "x", bench.now).what, What::blocked);
  EXPECT_EQ(bench.core->login(User::time_admin, time_pin, bench.now).what, What::ok);

  EXPECT_EQ(bench.core->unblock(User::admin, "wrong", "11111111", bench.now).tries_left, 2);
  EXPECT_EQ(last_system_log(bench).data, (Bytes{0x81, 5, 'A', 'd', 'm', 'i', 'n', 0x82, 1, 1}));
  const auto unblocked = bench.core->unblock(User::admin, admin_puk, "11111111", bench.now);
  EXPECT_EQ(unblocked.what, What::ok);
  EXPECT_EQ(bench.core->puk_tries_left(User::admin), 3);
  EXPECT_EQ(last_system_log(bench).operation, "UnblockUser");
  EXPECT_EQ(last_system_log(bench).data, (Bytes{0x81, 5, 'A', 'd', 'm', 'i', 'n', 0x82, 1, 0}));
  EXPECT_FALSE(bench.core->logged_in(User::admin)) << "unblocking does not log in";
  EXPECT_EQ(bench.core->login(User::admin, "11111111", bench.now).what, What::ok);
  bench.check_archive();
}

TEST(TseCoreRules, ThreeWrongPuksBlockThePuk) {
  CoreBench bench;
  bench.set_up();
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(bench.core->unblock(User::admin, "wrong", "1", bench.now).what, What::wrong);
  EXPECT_EQ(bench.core->unblock(User::admin, admin_puk, "1", bench.now).what, What::blocked);
  bench.core->power_cycle();
  EXPECT_EQ(bench.core->change_puk(User::admin, admin_puk, "1", bench.now).what, What::blocked);
  bench.login();
}

TEST(TseCoreRules, ARightPinGivesAllTriesBack) {
  CoreBench bench;
  bench.set_up();
  EXPECT_EQ(bench.core->change_pin(User::admin, "wrong", "1", bench.now).tries_left, 2);
  EXPECT_EQ(bench.core->login(User::admin, "wrong", bench.now).tries_left, 1);
  EXPECT_EQ(bench.core->login(User::admin, admin_pin, bench.now).tries_left, 3);
  EXPECT_EQ(bench.core->change_pin(User::admin, admin_pin, "", bench.now).refusal,
            Refusal::bad_parameter);
  EXPECT_EQ(bench.core->change_pin(User::admin, admin_pin, "new", bench.now).what, What::ok);
  EXPECT_EQ(bench.core->change_puk(User::admin, admin_puk, "new puk", bench.now).what, What::ok);
  EXPECT_EQ(bench.core->login(User::admin, "new", bench.now).what, What::ok);
  EXPECT_EQ(bench.core->unblock(User::admin, "new puk", "newer", bench.now).what, What::ok);
}

TEST(TseCoreRules, TransportStateWithoutPins) {
  CoreBench bench;
  EXPECT_TRUE(bench.core->in_transport_state(User::admin));
  EXPECT_EQ(bench.core->login(User::admin, "", bench.now).refusal, Refusal::pins_not_set);
  EXPECT_EQ(bench.core->unblock(User::admin, "", "1", bench.now).refusal, Refusal::pins_not_set);
  // Newer cryptovision firmware sets the PUK alone, and the PIN with it.
  EXPECT_TRUE(bench.core->set_pins(User::admin, admin_puk, "", bench.now));
  EXPECT_FALSE(bench.core->puk_in_transport_state(User::admin));
  EXPECT_TRUE(bench.core->in_transport_state(User::admin));
  EXPECT_REFUSED(bench.core->set_pins(User::admin, "1", "1", bench.now),
                 Refusal::already_initialized);
  EXPECT_EQ(bench.core->unblock(User::admin, admin_puk, admin_pin, bench.now).what, What::ok);
  EXPECT_FALSE(bench.core->in_transport_state(User::admin));
  bench.login();
}

TEST(TseCoreRules, TransportStateWithFactoryCredentialsOfItsSerialNumber) {
  CoreOptions options = quick_options();
  options.transport_credentials = [](const evidence::SerialNumber& serial) {
    TransportCredentials credentials;
    credentials.pin[0] = std::to_string(serial[0]);
    credentials.puk[0] = std::to_string(serial[1]);
    return credentials;
  };
  CoreBench bench(options);
  const std::string pin = std::to_string(bench.core->serial()[0]);
  EXPECT_TRUE(bench.core->in_transport_state(User::admin));
  EXPECT_EQ(bench.core->login(User::admin, pin, bench.now).what, What::ok);
  EXPECT_EQ(bench.core->change_pin(User::admin, pin, admin_pin, bench.now).what, What::ok);
  EXPECT_FALSE(bench.core->in_transport_state(User::admin));
  EXPECT_TRUE(bench.core->puk_in_transport_state(User::admin));
  bench.login();
}

TEST(TseCoreRules, OnlyTheAdminAdministrates) {
  CoreBench bench;
  bench.set_up();
  ASSERT_TRUE(bench.core->logout(User::admin, bench.now));
  EXPECT_REFUSED(bench.core->logout(User::admin, bench.now), Refusal::not_logged_in);
  EXPECT_REFUSED(bench.core->register_client("a", bench.now), Refusal::not_logged_in);
  bench.login(User::time_admin);
  EXPECT_REFUSED(bench.core->register_client("a", bench.now), Refusal::not_authorised);
  EXPECT_REFUSED(bench.core->deregister_client("till-1", bench.now), Refusal::not_authorised);
  EXPECT_REFUSED(bench.core->deactivate(bench.now), Refusal::not_authorised);
  EXPECT_REFUSED(bench.core->disable(bench.now), Refusal::not_authorised);
  EXPECT_REFUSED(bench.core->delete_up_to(1, bench.now), Refusal::not_authorised);
  EXPECT_TRUE(bench.core->set_time(opening_time_s, bench.now));
  bench.core->power_cycle();
  EXPECT_FALSE(bench.core->logged_in(User::time_admin));
}

TEST(TseCoreRules, IdleUsersAreLoggedOut) {
  CoreOptions options = quick_options();
  options.idle_logout = std::chrono::minutes(15);
  CoreBench bench(options);
  bench.set_up();
  bench.pass(14 * 60);
  ASSERT_TRUE(bench.start());
  bench.pass(15 * 60);
  EXPECT_REFUSED(bench.core->register_client("a", bench.now), Refusal::not_logged_in);
  const auto log = last_system_log(bench);
  EXPECT_EQ(log.operation, "LogOut");
  EXPECT_EQ(log.data, (Bytes{0x81, 5, 'A', 'd', 'm', 'i', 'n', 0x82, 1, 1}));
  bench.check_archive();
}

TEST(TseCoreRules, AClientWithAnOpenTransactionStays) {
  CoreBench bench;
  bench.set_up();
  ASSERT_TRUE(bench.start());
  EXPECT_REFUSED(bench.core->deregister_client("till-1", bench.now),
                 Refusal::client_has_open_transactions);
  EXPECT_REFUSED(bench.core->deregister_client("till-3", bench.now), Refusal::unknown_client);
  EXPECT_TRUE(bench.core->deregister_client("till-2", bench.now));
  ASSERT_TRUE(bench.finish(1));
  EXPECT_TRUE(bench.core->deregister_client("till-1", bench.now));
  EXPECT_REFUSED(bench.start(), Refusal::unknown_client);
}

// --- system logs: TR-03151 appendix A, and what the recorded card shows

TEST(TseCoreRules, SystemLogsHoldWhatTheGuidelineSays) {
  CoreBench bench;
  ASSERT_TRUE(bench.core->set_pins(User::admin, admin_puk, admin_pin, bench.now));
  ASSERT_TRUE(bench.core->set_pins(User::time_admin, time_puk, time_pin, bench.now));
  EXPECT_EQ(bench.core->signature_counter(), 0U);
  const auto begin = static_cast<std::uint64_t>(bench.core->options().certificate_begin);
  bench.login();
  EXPECT_EQ(last_message(bench).time_s, begin) << "no time is known yet";
  EXPECT_EQ(last_system_log(bench).operation, "AuthenticateUser");
  EXPECT_EQ(last_system_log(bench).data,
            (Bytes{0x81, 5, 'A', 'd', 'm', 'i', 'n', 0x82, 1, 0, 0x83, 1, 0xff}));
  ASSERT_TRUE(bench.core->initialize(bench.now));
  EXPECT_EQ(last_system_log(bench).operation, "Initialize");
  Bytes description{0x81, 24};
  for (const char c : std::string_view("tillbridge simulated TSE"))
    description.push_back(static_cast<std::uint8_t>(c));
  EXPECT_EQ(last_system_log(bench).data, description);

  EXPECT_EQ(bench.core->login(User::time_admin, "wrong", bench.now).what, What::wrong);
  Bytes failed{0x81, 9, 'T', 'i', 'm', 'e', 'A', 'd', 'm', 'i', 'n', 0x82, 1, 1, 0x83, 1, 0};
  EXPECT_EQ(last_system_log(bench).data, failed);

  ASSERT_TRUE(bench.core->set_time(opening_time_s, bench.now));
  EXPECT_EQ(last_system_log(bench).operation, "UpdateTime");
  EXPECT_EQ(last_system_log(bench).data, (Bytes{0x81, 4, 0x67, 0x74, 0x85, 0x80,  // 2025-01-01
                                                0x82, 4, 0x69, 0x55, 0xb9, 0x00}));
  EXPECT_EQ(last_message(bench).time_s, opening_time_s) << "signed at the new time";
  bench.pass(7);
  ASSERT_TRUE(bench.core->logout(User::admin, bench.now));
  EXPECT_EQ(last_system_log(bench).operation, "LogOut");
  EXPECT_EQ(last_system_log(bench).data, (Bytes{0x81, 5, 'A', 'd', 'm', 'i', 'n', 0x82, 1, 0}));
  bench.core->power_cycle();
  bench.login();
  EXPECT_EQ(last_message(bench).time_s, opening_time_s + 7) << "the last one known";
  bench.check_archive();
}

TEST(TseCoreRules, ExtendedSystemLogsAndTheAuditLog) {
  CoreOptions options = quick_options();
  options.extended_system_logs = true;
  options.audit_log_at_start = true;
  CoreBench bench(options);
  bench.set_up();
  EXPECT_EQ(last_system_log(bench).operation, "registerClient");
  EXPECT_EQ(last_system_log(bench).data, (Bytes{0x81, 6, 't', 'i', 'l', 'l', '-', '2'}));
  ASSERT_TRUE(bench.core->deregister_client("till-2", bench.now));
  EXPECT_EQ(last_system_log(bench).operation, "deregisterClient");
  EXPECT_EQ(bench.core->change_puk(User::admin, admin_puk, "new", bench.now).what, What::ok);
  EXPECT_EQ(last_system_log(bench).operation, "changePuk");
  bench.core->power_cycle();
  const std::uint64_t before = bench.core->signature_counter();
  ASSERT_TRUE(bench.core->self_test(bench.now));
  EXPECT_EQ(bench.core->signature_counter(), before + 2) << "audit log, selfTest";
  EXPECT_EQ(last_system_log(bench).operation, "selfTest");
  ASSERT_TRUE(bench.core->self_test(bench.now));
  EXPECT_EQ(bench.core->signature_counter(), before + 3) << "one audit log for each power-up";
  bench.check_archive();
}

}  // namespace
}  // namespace tillbridge::simulator::tse
