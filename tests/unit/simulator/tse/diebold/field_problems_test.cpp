// The field problems of tse/FIELD_PROBLEMS.md that a serial stick can have.
#include "tests/unit/simulator/tse/diebold/diebold_host.hpp"

namespace tillbridge::simulator::tse {
namespace {

void expect_whole(DieboldHost& host) {
  const auto report = host.check_export();
  EXPECT_TRUE(report.good()) << (report.findings.empty() ? "" : report.findings[0].text);
  EXPECT_EQ(host.witness().counter_gaps(), 0U);
  EXPECT_EQ(report.last_counter, host.stick->core().signature_counter());
}

TEST(DieboldFieldProblem, FieldProblem03_TheSameIdentityComesBack) {
  DieboldHost host;
  host.set_up();
  const usb::DeviceDescription before = host.stick->description();
  const Bytes serial = host.fetch_binary(Command::export_serials, {slot});
  host.fault("after-command unplug ms=1000 code=0");
  EXPECT_FALSE(host.ask(Command::country_info));
  const auto departure = host.stick->poll_departure();
  ASSERT_TRUE(departure);
  EXPECT_EQ(departure->back_after, std::chrono::seconds(1));
  host.replug();
  const usb::DeviceDescription& after = host.stick->description();
  EXPECT_EQ(after.device.vendor_id, before.device.vendor_id);
  EXPECT_EQ(after.device.product_id, before.device.product_id);
  EXPECT_EQ(after.serial, before.serial);
  EXPECT_EQ(after.configurations.size(), before.configurations.size());
  EXPECT_EQ(host.fetch_binary(Command::export_serials, {slot}), serial);
}

TEST(DieboldFieldProblem, FieldProblem04_SelfTestAndTimeRunOutAndRecover) {
  DieboldOptions options;
  options.core.clock_rate = 360;  // an hour passes in ten seconds
  options.core.time_valid = std::chrono::hours(1);
  DieboldHost host(options);
  host.set_up();
  EXPECT_EQ(*dn::parse_single_number(host.done(Command::time_interval)), 3600U);
  host.finish(host.start().transaction);
  const auto start_is_refused = [&](DeviceError expected) {
    host.done(Command::set_client, {"till-01"});
    host.send_step(Command::start, {}, "");
    EXPECT_EQ(host.error_of(Command::start_end), expected);
    host.done(Command::abandon);
  };
  const auto set_time = [&](std::int64_t unix_s) {
    host.login("2");
    host.set_time(unix_s);
    host.logout("2");
  };

  // Half an hour of standby.
  host.pass(std::chrono::seconds(11));
  start_is_refused(DeviceError::time_not_set);
  set_time(some_day_s + 7200);
  host.finish(host.start().transaction);

  // A weekend.
  host.pass(std::chrono::seconds(48 * 10));
  EXPECT_EQ(*dn::parse_single_number(host.done(Command::seconds_to_self_test)), 0U);
  start_is_refused(DeviceError::self_test_required);
  host.self_test("till-01");
  start_is_refused(DeviceError::time_not_set);
  set_time(some_day_s + 3 * 86400);
  host.finish(host.start().transaction);
  expect_whole(host);
}

TEST(DieboldFieldProblem, FieldProblem06_PowerIsLostInMidCommand) {
  DieboldHost host;
  host.set_up();
  const std::uint64_t transaction = host.start().transaction;
  host.send_step(Command::finish, {std::to_string(transaction)}, "data");
  const std::uint64_t counter = host.stick->core().signature_counter();
  host.fault("before-command power-cycle code=205");
  EXPECT_FALSE(host.ask(Command::finish_end));
  EXPECT_EQ(host.error(), DeviceError::power_failed);
  EXPECT_EQ(host.status().state, dn::state_bit::fiscal_mode | dn::state_bit::transaction_started)
      << "the transaction is kept, the command is not";
  EXPECT_EQ(host.stick->core().signature_counter(), counter);
  EXPECT_EQ(host.error_of(Command::finish_end), DeviceError::wrong_order);
  host.done(Command::set_client, {"till-01"});
  host.done(Command::finish, {std::to_string(transaction), "0", "", "0"});
  EXPECT_EQ(host.error_of(Command::finish_end), DeviceError::self_test_required);
  host.done(Command::abandon);
  host.make_ready();
  host.finish(transaction);
  EXPECT_EQ(host.witness().power_cycles(), 1U);
  expect_whole(host);
}

class DieboldUnplugged : public testing::TestWithParam<int> {};

TEST_P(DieboldUnplugged, FieldProblem07_SurpriseRemovalWhileBusy) {
  DieboldHost host;
  host.set_up();
  const dn::Signature start = host.start();
  host.send_step(Command::finish, {std::to_string(start.transaction)}, "data");
  const auto read = host.driver->submit_in(DieboldStick::data_in_endpoint, 4096);
  host.fault("after-command unplug ms=" + std::to_string(GetParam() * 1000) + " code=205");
  host.send(dn::make_request(Command::finish_end, {}, host.new_id()));
  EXPECT_FALSE(host.driver->ended(read));
  const auto departure = host.stick->poll_departure();
  ASSERT_TRUE(departure);
  EXPECT_EQ(departure->back_after, std::chrono::seconds(GetParam()));
  // Whoever drives the device ends what runs.
  host.driver->now += std::chrono::seconds(GetParam());
  host.stick->power_cycle(host.driver->now);
  const auto ended = host.driver->ended(read);
  ASSERT_TRUE(ended);
  EXPECT_NE(ended->status, usb::TransferStatus::success);
  host.open();
  EXPECT_EQ(host.error(), DeviceError::power_failed);
  host.make_ready();
  EXPECT_EQ(host.done(Command::open_transactions).parameters, Parameters{})
      << "it was finished before the stick went";
  host.finish(host.start().transaction);
  expect_whole(host);
}
INSTANTIATE_TEST_SUITE_P(Seconds, DieboldUnplugged, testing::Values(1, 10, 60));

TEST(DieboldFieldProblem, FieldProblem09_TwoUsersOfOneStick) {
  DieboldHost host;
  host.set_up();
  // Two programs share the port: one's request begins in the middle of the other's.
  const Bytes first = *dn::encode(dn::make_request(Command::country_info, {}, host.new_id()));
  const Bytes second = *dn::encode(dn::make_request(Command::firmware_info, {}, host.new_id()));
  host.write(Bytes(first.begin(), first.begin() + 12));
  host.write(second);
  host.write(Bytes(first.begin() + 12, first.end()));
  const auto answer = host.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(std::get<dn::Response>(*answer).command, 2) << "the other one's is lost";
  EXPECT_FALSE(host.receive());

  // And their transactions: the one's command is open, so the other one's is refused.
  host.send_step(Command::start, {}, "one");
  EXPECT_EQ(host.error_of(Command::start, {"3", "", "0"}), DeviceError::wrong_order);
  EXPECT_EQ(host.signature(host.done(Command::start_end)).transaction, 1U);
  EXPECT_EQ(host.error_of(Command::start_end), DeviceError::wrong_order)
      << "whoever comes second does not get the first one's signature again";
  host.finish(1);
  expect_whole(host);
}

TEST(DieboldFieldProblem, FieldProblem12_TheAnswerIsLostAfterTheSignature) {
  DieboldHost host;
  host.set_up();
  const dn::Signature start = host.start();
  host.send_step(Command::finish, {std::to_string(start.transaction)}, "the receipt");
  host.fault("status lose-answer code=205");
  EXPECT_FALSE(host.ask(Command::finish_end));
  EXPECT_EQ(host.error(), DeviceError::none) << "no error: it worked";
  EXPECT_EQ(host.status().state, dn::state_bit::fiscal_mode) << "and is finished";

  const auto log = evidence::parse_log(host.fetch_binary(Command::export_last_log, {slot}));
  ASSERT_TRUE(log.ok()) << log.error().message;
  const auto& content = std::get<evidence::TransactionLog>(log->message.content);
  EXPECT_EQ(content.step, evidence::TransactionStep::finish);
  EXPECT_EQ(content.number, start.transaction);
  EXPECT_EQ(log->message.counter, start.counter + 1);
  EXPECT_TRUE(host.stick->core().public_key().verify(log->message.hash, log->signed_bytes,
                                                     log->message.signature));
  const Bytes archive = host.fetch_binary(Command::export_transactions,
                                          {slot, "0000000001", "0000000001", "till-01"});
  EXPECT_EQ(evidence::check_archive(archive).finished_transactions, 1U);

  const dn::Signature next = host.start();
  EXPECT_EQ(next.transaction, start.transaction + 1) << "no number twice";
  EXPECT_EQ(next.counter, start.counter + 2);
  host.finish(next.transaction);
  expect_whole(host);
}

/// How the known client reads: it takes what is there, waits 50 ms for the end and 50 ms more for
/// the id, and gives up. True: it had the whole answer.
bool impatient_client_reads_it(DieboldHost& host) {
  host.send(dn::make_request(Command::firmware_info, {}, host.new_id()));
  auto bytes = host.read(std::chrono::seconds(2));
  if (!bytes) return false;
  for (int patience = 0; patience < 2; ++patience) {
    const Instant until = host.driver->now + std::chrono::milliseconds(50);
    while (host.driver->now < until) {
      const auto more = host.read(until - host.driver->now);
      if (!more) break;
      bytes->insert(bytes->end(), more->begin(), more->end());
    }
  }
  return dn::parse_response(*bytes).ok();
}

TEST(DieboldFieldProblem, FieldProblem14_AnswersInFragments) {
  for (const int gap_ms : {0, 10, 60, 120}) {
    DieboldOptions options;
    options.packet_gap = std::chrono::milliseconds(gap_ms);
    options.gap_packet_bytes = 16;
    DieboldHost host(options);
    EXPECT_EQ(impatient_client_reads_it(host), gap_ms < 60) << gap_ms;
    while (host.receive()) {
    }
    host.parser.clear();
    // A client that waits for the end of the frame does not care.
    const Instant before = host.driver->now;
    host.done(Command::firmware_info);
    if (gap_ms > 0) {
      EXPECT_GE(host.driver->now - before, std::chrono::milliseconds(3 * gap_ms));
    }
  }
}

}  // namespace
}  // namespace tillbridge::simulator::tse
