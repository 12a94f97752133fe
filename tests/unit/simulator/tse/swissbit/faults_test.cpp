// Faults on purpose in a Swissbit TSE, one by one.

#include "tests/unit/simulator/tse/swissbit/swissbit_host.hpp"

namespace tillbridge::simulator::tse {
namespace {

class SwissbitFaults : public SwissbitTest {
 protected:
  void SetUp() override {
    SwissbitTest::SetUp();
    set_up();
    signatures_ = info().signatures;
  }
  /// A WRITE of the command block that gets no status any more; the stick is gone or silent.
  void send_into_the_void(const wire::Command& command) {
    const Bytes block = wire::encode(command);
    send_command(massstorage::scsi::write_10(places_.comm, 1), 512, false);
    const usb::TransferId data = driver_->submit_out(out_pipe, block);
    const usb::TransferId status = driver_->submit_in(in_pipe, 13);
    driver_->now += 1s;
    static_cast<void>(driver_->ended(data));
    EXPECT_FALSE(driver_->ended(status).has_value());
  }
  std::uint32_t new_signatures() { return info().signatures - signatures_; }

  std::uint32_t signatures_ = 0;
};

TEST_F(SwissbitFaults, DelayAddsToTheBusyTime) {
  strike("after-command delay ms=5000 code=0x43");
  const Instant begun = driver_->now;
  EXPECT_EQ(status(wire::ListClients{}), CommandStatus::ok);
  EXPECT_GE(driver_->now - begun, 5s);
  strike("before-command delay ms=3000 code=0x43");
  const Instant again = driver_->now;
  send(wire::ListClients{});
  EXPECT_EQ(wait().state, AnswerState::waits_for_fetch) << "so long, it has to be fetched";
  EXPECT_GE(driver_->now - again, 3s);
}

TEST_F(SwissbitFaults, UnpluggedBeforeTheCommandNothingHappened) {
  ASSERT_EQ(open_step(wire::Step::start, till, 0, 0).status, CommandStatus::ok);
  strike("before-command unplug ms=1000 code=0x95");
  send_into_the_void(wire::CloseStep{});
  const auto departure = stick_->poll_departure();
  ASSERT_TRUE(departure.has_value());
  EXPECT_EQ(departure->back_after, Duration(1s));
  replug();
  EXPECT_EQ(new_signatures(), 0U);
  EXPECT_EQ(status(wire::CloseStep{}), CommandStatus::no_step_open);
  wake_up();
  receipt();
  audit();
}

TEST_F(SwissbitFaults, UnpluggedAfterTheCommandTheSignatureIsThere) {
  ASSERT_EQ(open_step(wire::Step::start, till, 0, 0).status, CommandStatus::ok);
  strike("after-command unplug code=0x95");
  send_into_the_void(wire::CloseStep{});
  EXPECT_TRUE(stick_->poll_departure().has_value());
  replug();
  EXPECT_EQ(new_signatures(), 1U);
  EXPECT_EQ(info().open_transactions, 1U);
  EXPECT_EQ(answer().state, AnswerState::none) << "the answer is lost";
  wake_up();
  const auto numbers = wire::parse_transactions(ask(wire::ListTransactions{0, till}).data);
  ASSERT_TRUE(numbers.ok());
  ASSERT_EQ(numbers->size(), 1U);
  finish(numbers->front());
  audit();
}

TEST_F(SwissbitFaults, UnpluggedBetweenTheStepsTheHalfStepIsLost) {
  const auto started = start();
  signatures_ = info().signatures;
  strike("between-steps unplug ms=1000");
  const auto opened =
      wire::parse_opened_step(open_step(wire::Step::finish, till, started.transaction, 600).data);
  ASSERT_TRUE(opened.ok());
  send_command(
      massstorage::scsi::write_10(static_cast<std::uint32_t>(places_.store + opened->block), 2),
      1024, false);
  const usb::TransferId data = driver_->submit_out(out_pipe, Bytes(1024, 'd'));
  driver_->now += 1s;
  EXPECT_FALSE(driver_->ended(data).has_value());
  EXPECT_TRUE(stick_->poll_departure().has_value());
  replug();
  EXPECT_EQ(new_signatures(), 0U);
  EXPECT_FALSE(info().import_running);
  EXPECT_EQ(status(wire::CloseStep{}), CommandStatus::no_step_open);
  wake_up();
  finish(started.transaction);
  audit();
}

TEST_F(SwissbitFaults, BetweenTheStepsWithoutDataTheCloseIsWhatIsLost) {
  strike("between-steps power-cycle");
  ASSERT_EQ(open_step(wire::Step::start, till, 0, 0).status, CommandStatus::ok);
  send(wire::CloseStep{});
  EXPECT_EQ(answer().state, AnswerState::none);
  EXPECT_EQ(new_signatures(), 0U);
  EXPECT_EQ(bench_->witness.power_cycles(), 1U);
}

TEST_F(SwissbitFaults, APowerCycleTheBusDoesNotNoticeLosesLoginTimeAndSelfTest) {
  strike("before-command power-cycle code=0x43");
  send(wire::ListClients{});
  EXPECT_EQ(answer().state, AnswerState::none);
  EXPECT_EQ(answer().counter, 0U) << "the counter fell: how a host notices";
  EXPECT_FALSE(info().time_valid || info().self_test_passed);
  EXPECT_EQ(sign(wire::Step::start, 0, {}).first, CommandStatus::self_test_required);
  EXPECT_EQ(status(wire::SelfTest{till}), CommandStatus::ok);
  EXPECT_EQ(sign(wire::Step::start, 0, {}).first, CommandStatus::no_time);
  EXPECT_EQ(status(wire::SetTime{today}), CommandStatus::not_authorised);
  expect_ok(wire::Login{wire::User::time_admin, time_pin});
  expect_ok(wire::SetTime{today});
  receipt();
  audit();
}

TEST_F(SwissbitFaults, TheDeviceStallsOrDiesWhenTheTseDemandsIt) {
  strike("after-command stall code=0x43");
  const auto stalled = try_write(places_.comm, wire::encode(wire::ListClients{}));
  EXPECT_TRUE(stalled.good()) << "a stalled status is read again: " << stalled.message;
  EXPECT_EQ(wait().status, CommandStatus::ok);
  strike("after-command dead code=0x43");
  send_into_the_void(wire::ListClients{});
  replug();
  wake_up();
  receipt();
}

TEST_F(SwissbitFaults, TheElementFails) {
  strike("before-command element-timeout code=0x95");
  ASSERT_EQ(open_step(wire::Step::start, till, 0, 0).status, CommandStatus::ok);
  EXPECT_EQ(status(wire::CloseStep{}), CommandStatus::signature_error);
  EXPECT_EQ(new_signatures(), 0U);
  strike("before-command element-timeout code=0x40");
  EXPECT_EQ(number_of(status(wire::SelfTest{till})), 0x1301);
  EXPECT_EQ(sign(wire::Step::start, 0, {}).first, CommandStatus::self_test_not_passed);
  EXPECT_EQ(status(wire::SelfTest{till}), CommandStatus::ok);
  receipt();
  audit();
}

TEST_F(SwissbitFaults, AnswersGoWrong) {
  const std::uint32_t counter = answer().counter;
  strike("after-command lose-answer code=0x43");
  send(wire::ListClients{});
  EXPECT_EQ(wait().counter, counter) << "as if the command had been ignored";

  strike("after-command zero-answer code=0x43");
  send(wire::ListClients{});
  driver_->now += 1s;
  EXPECT_EQ(read_blocks(places_.comm, 1), Bytes(512));

  strike("after-command token-kept code=0x43");
  send(wire::ListClients{});
  driver_->now += 1s;
  EXPECT_EQ(read_blocks(places_.comm, 1), wire::encode(wire::ListClients{}));

  send(wire::ReadCertificate{});  // the next command's answer is sound again
  const auto certificate = wait();
  EXPECT_EQ(certificate.counter, counter + 3);
  strike("after-command stale-answer code=0x43");
  const auto stale = ask(wire::ListClients{});
  EXPECT_EQ(stale.data, certificate.data);
  EXPECT_EQ(stale.counter, certificate.counter + 1);

  strike("answer bit-flip code=0x43");
  const auto clean = wire::encode_clients({till});
  send(wire::ListClients{});
  driver_->now += 1s;
  const Bytes flipped = read_blocks(places_.comm, 1);
  wire::Answer expected;
  expected.counter = certificate.counter + 2;
  expected.state = AnswerState::complete;
  expected.data = clean;
  const Bytes intact = wire::encode(expected);
  int bits = 0;
  for (std::size_t i = 0; i < 512; ++i) {
    for (unsigned changed = flipped[i] ^ intact[i]; changed != 0; changed &= changed - 1) ++bits;
  }
  EXPECT_EQ(bits, 1);

  strike("after-command busy-for-ever code=0x43");
  send(wire::ListClients{});
  driver_->now += 300s;
  EXPECT_EQ(answer().state, AnswerState::busy);
  replug();
  EXPECT_EQ(status(wire::ListClients{}), CommandStatus::ok);
}

TEST_F(SwissbitFaults, AnAnswerSuffersWhileItIsRead) {
  strike("answer delay ms=2000 code=0x43");
  send(wire::ListClients{});
  driver_->now += 100ms;
  EXPECT_EQ(answer().state, AnswerState::busy);
  EXPECT_EQ(wait().status, CommandStatus::ok);
  strike("answer unplug ms=500 code=0x43");
  send(wire::ListClients{});
  driver_->now += 100ms;
  send_command(massstorage::scsi::read_10(places_.comm, 1), 512, true);
  const usb::TransferId data = driver_->submit_in(in_pipe, 512);
  const usb::TransferId status_transfer = driver_->submit_in(in_pipe, 13);
  driver_->now += 1s;
  static_cast<void>(driver_->ended(data));
  EXPECT_FALSE(driver_->ended(status_transfer).has_value());
  EXPECT_TRUE(stick_->poll_departure().has_value());
}

TEST_F(SwissbitFaults, TheWitnessSeesWhatATunnelMustNotDo) {
  const Witness& witness = bench_->witness;
  const std::uint64_t commands = witness.commands();
  ASSERT_EQ(open_step(wire::Step::start, till, 0, 0).status, CommandStatus::ok);
  EXPECT_EQ(witness.commands() - commands, 1U);
  // The same WRITE again, with no answer read in between, as a tunnel that replays would do it.
  send(wire::ListClients{});
  driver_->now += 1s;
  send(wire::ListClients{});
  driver_->now += 1s;
  EXPECT_EQ(witness.repeated_frames(), 1U);
  EXPECT_EQ(witness.answers_discarded(), 1U);
  EXPECT_EQ(wait().state, AnswerState::complete);
}

}  // namespace
}  // namespace tillbridge::simulator::tse
