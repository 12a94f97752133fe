// What goes wrong with Swissbit sticks in shops. The numbers are the rows of the list of field
// problems in the project's notes on TSEs.

#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/tse/swissbit/swissbit_host.hpp"

namespace tillbridge::simulator::tse {
namespace {

class SwissbitField : public SwissbitTest {};

TEST_F(SwissbitField, FieldProblem01_AfterIdlingTheFirstAnswerIsHalfAMinuteLate) {
  Setting setting;
  setting.timing.sleep_after = 10min;
  setting.timing.wake_up = 30s;
  plug(setting);
  set_up();
  driver_->now += 11min;
  const Instant begun = driver_->now;
  EXPECT_TRUE(info().time_valid);
  EXPECT_GE(driver_->now - begun, 30s);
  const Instant awake = driver_->now;
  receipt();
  EXPECT_LT(driver_->now - awake, 3s) << "only the first command waits";

  setting.timing.sleep_loses_answer = true;
  plug(setting);
  set_up();
  driver_->now += 11min;
  EXPECT_EQ(read_blocks(places_.comm, 1), Bytes(512));
  send(wire::ListClients{});
  EXPECT_EQ(wait().status, CommandStatus::ok) << "nothing else is lost";
  receipt();
  audit();
}

TEST_F(SwissbitField, FieldProblem02_VirusScannersReadEverythingMeanwhile) {
  set_up();
  const Bytes boot = read_blocks(partition_first_block, 1);
  const Bytes beginning = read_blocks(places_.store, 8);
  const auto scan = [&] {
    EXPECT_EQ(read_blocks(partition_first_block, 1), boot);
    EXPECT_EQ(read_blocks(places_.store, 8), beginning);
    EXPECT_EQ(info().clients, 1U);
    static_cast<void>(read_blocks(places_.comm, 1));
  };
  for (int i = 0; i < 5; ++i) {
    const Bytes data(700, 'd');
    const auto started = start();
    send(wire::OpenStep{wire::Step::finish, till, started.transaction, 700, "", false});
    scan();
    const auto opened = wire::parse_opened_step(wait().data);
    ASSERT_TRUE(opened.ok());
    scan();
    write_data(opened->block, data);
    scan();
    send(wire::CloseStep{});
    scan();
    driver_->now += 100ms;
    scan();
    const auto answer = wait();
    EXPECT_EQ(answer.status, CommandStatus::ok) << "the answer was not consumed by others";
    scan();
    EXPECT_EQ(wait().data, answer.data);
  }
  EXPECT_EQ(audit().finished_transactions, 5U);
}

TEST_F(SwissbitField, FieldProblem04_AfterTheWeekendTimeAndSelfTestHaveExpired) {
  set_up();
  driver_->now += 31min;
  EXPECT_EQ(sign(wire::Step::start, 0, {}).first, CommandStatus::no_time);
  expect_ok(wire::SetTime{today + 2000});
  receipt();
  driver_->now += 48h;
  EXPECT_EQ(info().seconds_to_self_test, 0U);
  EXPECT_EQ(info().seconds_to_time, 0U);
  EXPECT_EQ(sign(wire::Step::start, 0, {}).first, CommandStatus::self_test_required);
  EXPECT_EQ(status(wire::Login{wire::User::time_admin, time_pin}),
            CommandStatus::self_test_required);
  wake_up(today + 180000);
  receipt();
  audit();
}

TEST_F(SwissbitField, FieldProblem06_ThePowerFailsInTheMiddleOfACommand) {
  set_up();
  const auto started = start();
  const std::uint32_t before = answer().counter;
  const auto opened =
      wire::parse_opened_step(open_step(wire::Step::finish, till, started.transaction, 40).data);
  ASSERT_TRUE(opened.ok());
  write_data(opened->block, Bytes(40, 'd'));
  send(wire::CloseStep{});
  EXPECT_EQ(answer().state, AnswerState::busy);
  replug();
  const auto after = answer();
  EXPECT_EQ(after.state, AnswerState::none);
  EXPECT_LT(after.counter, before) << "how a host notices the power cycle (13)";
  EXPECT_EQ(sign(wire::Step::start, 0, {}).first, CommandStatus::self_test_required);
  wake_up();
  // It had been signed: the transaction is no longer open.
  EXPECT_EQ(info().open_transactions, 0U);
  EXPECT_EQ(sign(wire::Step::finish, started.transaction, {}).first, CommandStatus::not_started);
  audit();
}

TEST_F(SwissbitField, FieldProblem07_UnpluggedWhileBusyAndBackAfterASecondOrAMinute) {
  set_up();
  for (const Duration away : {Duration(1s), Duration(10s), Duration(60s)}) {
    const auto started = start();
    send(wire::SelfTest{till});
    EXPECT_EQ(answer().state, AnswerState::busy);
    driver_->now += away;
    replug();
    EXPECT_EQ(answer().state, AnswerState::none) << "the busy command is gone with the power";
    EXPECT_EQ(info().open_transactions, 1U) << "the started transaction is not";
    wake_up();
    finish(started.transaction);
  }
  EXPECT_EQ(audit().finished_transactions, 3U);
}

TEST_F(SwissbitField, FieldProblem08_ATornWriteOfTheTablesDoesNotHarmTheTse) {
  set_up();
  const std::uint64_t table = partition_first_block + 1;
  const Bytes old_table = read_blocks(table, 8);
  strike("data torn-write code=0x2a");
  send_command(massstorage::scsi::write_10(static_cast<std::uint32_t>(table), 8), 4096, false);
  const usb::TransferId data = driver_->submit_out(out_pipe, Bytes(4096, 0xAB));
  driver_->now += 1s;
  static_cast<void>(driver_->ended(data));
  EXPECT_TRUE(stick_->poll_departure().has_value());
  replug();
  const Bytes torn = read_blocks(table, 8);
  EXPECT_EQ(Bytes(torn.begin(), torn.begin() + 2048), Bytes(2048, 0xAB));
  EXPECT_EQ(Bytes(torn.begin() + 2048, torn.end()),
            Bytes(old_table.begin() + 2048, old_table.end()));
  write_blocks(table, old_table);
  wake_up();
  receipt();
  audit();
}

TEST_F(SwissbitField, FieldProblem09_OfTwoWritersOneFindsItsAnswerMissing) {
  set_up();
  send(wire::SelfTest{till});
  const auto before = answer();  // the second writer looks before it writes
  EXPECT_EQ(before.state, AnswerState::busy);
  const std::uint64_t commands = bench_->witness.commands();
  send(wire::ListClients{});
  EXPECT_EQ(bench_->witness.commands_while_busy(), 1U);
  EXPECT_EQ(bench_->witness.commands(), commands) << "ignored, not queued";
  const auto after = wait();
  EXPECT_EQ(after.counter, before.counter) << "answer missing (8)";
  EXPECT_EQ(after.state, AnswerState::waits_for_fetch) << "of the self test";
  EXPECT_EQ(status(wire::FetchAnswer{}), CommandStatus::ok);
  receipt();
  audit();
}

TEST_F(SwissbitField, FieldProblem12_TheAnswerIsLostAfterTheSignatureWasMade) {
  set_up();
  const auto started = start();
  const std::uint32_t signatures = info().signatures;
  strike("after-command lose-answer code=0x95");
  const auto opened =
      wire::parse_opened_step(open_step(wire::Step::finish, till, started.transaction, 10).data);
  ASSERT_TRUE(opened.ok());
  write_data(opened->block, Bytes(10, 'd'));
  const std::uint32_t counter = answer().counter;
  send(wire::CloseStep{});
  EXPECT_EQ(wait().counter, counter);
  replug();
  // INFO tells that something was signed, the end of the store what it was.
  EXPECT_EQ(info().signatures, signatures + 1);
  const auto entries = ::tillbridge::tse::read_tar(export_archive());
  ASSERT_TRUE(entries.ok());
  const auto last = ::tillbridge::tse::parse_log(entries->back().content);
  ASSERT_TRUE(last.ok());
  EXPECT_EQ(last->message.counter, signatures + 1);
  const auto& log = std::get<::tillbridge::tse::TransactionLog>(last->message.content);
  EXPECT_EQ(log.number, started.transaction);
  EXPECT_EQ(log.step, ::tillbridge::tse::TransactionStep::finish);
  wake_up();
  EXPECT_EQ(start().transaction, started.transaction + 1) << "numbers are not used twice";
  audit();
}

}  // namespace
}  // namespace tillbridge::simulator::tse
