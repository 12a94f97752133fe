// Faults on purpose at the TSE's own points, one by one, and its timing.

#include "tests/unit/simulator/tse/cryptovision/card_bench.hpp"

namespace tillbridge::simulator::tse {
namespace {

class CryptovisionFaults : public CardTest {
 protected:
  void SetUp() override {
    make_card({});
    set_up();
  }
  protocol::RequestFrame start_request() {
    return request_of(protocol::encode_command(CommandCode::start_transaction, start_parameters()));
  }
  /// Writes a request whose status never comes.
  void write_into_the_void(const protocol::RequestFrame& request) {
    send_command(scsi::write_10(static_cast<std::uint32_t>(file_), 16), 8192, false);
    const auto id = driver_->submit_out(out_pipe, protocol::encode(request, protocol::file_bytes));
    EXPECT_FALSE(driver_->ended(id));
    EXPECT_FALSE(stick_->next_deadline());
  }
  std::uint64_t signatures_of(const protocol::RequestFrame& request) {
    const std::uint64_t before = core().signature_counter();
    write_request(request);
    return core().signature_counter() - before;
  }
};

TEST_F(CryptovisionFaults, BeforeTheCommandNothingIsCarriedOut) {
  const std::uint64_t counter = core().signature_counter();
  strike("before-command zero-answer code=0x0a");
  EXPECT_EQ(exchange(start_request()).state, ResponseState::lost);
  strike("before-command token-kept code=0x0a");
  EXPECT_EQ(exchange(start_request()).state, ResponseState::not_taken);
  strike("before-command element-timeout code=0x0a");
  EXPECT_EQ(exchange(start_request()).state, ResponseState::element_timeout);
  strike("before-command busy-for-ever code=0x0a");
  EXPECT_EQ(exchange(start_request(), 5000).state, ResponseState::busy);
  EXPECT_EQ(core().signature_counter(), counter);
  EXPECT_TRUE(exchange(start_request()).ok()) << "all of them once only";
  EXPECT_EQ(core().signature_counter(), counter + 1);
  expect_quiet_witness();
}

TEST_F(CryptovisionFaults, AfterTheCommandOnlyTheAnswerSuffers) {
  strike("after-command lose-answer code=0x0a");
  EXPECT_EQ(exchange(start_request()).state, ResponseState::lost);
  strike("after-command zero-answer code=0x0a");
  EXPECT_EQ(exchange(start_request()).state, ResponseState::lost);
  strike("after-command element-timeout code=0x0a");
  EXPECT_EQ(exchange(start_request()).state, ResponseState::element_timeout);
  strike("after-command token-kept code=0x0a");
  EXPECT_EQ(exchange(start_request()).state, ResponseState::not_taken);
  strike("after-command busy-for-ever code=0x0a");
  EXPECT_EQ(exchange(start_request(), 5000).state, ResponseState::busy);
  EXPECT_EQ(core().open_transactions().size(), 5U);
  strike("after-command stale-answer code=0x0a");
  (void)command(CommandCode::get_status, {Parameter::number(4)});
  EXPECT_EQ(exchange(start_request()).parameters.size(), 1U) << "the life cycle again";
  EXPECT_EQ(core().open_transactions().size(), 6U);
}

TEST_F(CryptovisionFaults, AtTheAnswerOneReaderSuffers) {
  const auto first_read = [&](const char* fault) {
    strike(fault);
    write_request(start_request());
    driver_->now += seconds(1);
    return protocol::parse_response(read_file(), protocol::usual_token)->state;
  };
  const auto second_read = [&] {
    return protocol::parse_response(read_file(), protocol::usual_token)->state;
  };
  EXPECT_EQ(first_read("answer zero-answer"), ResponseState::lost);
  EXPECT_EQ(second_read(), ResponseState::data);
  EXPECT_EQ(first_read("answer element-timeout"), ResponseState::element_timeout);
  EXPECT_EQ(second_read(), ResponseState::data);
  EXPECT_EQ(first_read("answer token-kept"), ResponseState::not_taken);
  EXPECT_EQ(second_read(), ResponseState::data);
  EXPECT_EQ(first_read("answer busy-for-ever"), ResponseState::busy);
  driver_->now += seconds(100);
  EXPECT_EQ(second_read(), ResponseState::busy);
  EXPECT_EQ(first_read("answer lose-answer"), ResponseState::lost);
  EXPECT_EQ(second_read(), ResponseState::lost);
  (void)command(CommandCode::get_status, {Parameter::number(4)});
  strike("answer stale-answer");
  EXPECT_EQ(exchange(start_request()).parameters.size(), 1U);
}

TEST_F(CryptovisionFaults, TheDeviceCarriesOutWhatTheCardCannot) {
  strike("after-command delay ms=2000 code=0x0a");
  const Instant before = driver_->now;
  EXPECT_TRUE(exchange(start_request()).ok());
  EXPECT_GE(driver_->now - before, milliseconds(2152));

  strike("answer bit-flip");
  write_request(start_request());
  driver_->now += seconds(1);
  const Bytes broken = read_file(), right = read_file();
  EXPECT_NE(broken, right);

  strike("after-command stall code=0x0a");
  EXPECT_TRUE(exchange(start_request()).ok()) << "the status is read once more";
  strike("after-command phase-error code=0x0a");
  EXPECT_EQ(run_out(scsi::write_10(static_cast<std::uint32_t>(file_), 16),
                    protocol::encode(start_request(), 8192))
                .outcome,
            Outcome::phase_error);
  EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
  EXPECT_TRUE(collect(start_request()).ok()) << "a class reset costs no answer";
}

TEST_F(CryptovisionFaults, UnpluggedBeforeAndAfter) {
  const std::uint64_t counter = core().signature_counter();
  strike("before-command unplug ms=1000 code=0x0a");
  write_into_the_void(start_request());
  EXPECT_EQ(core().signature_counter(), counter);
  EXPECT_EQ(stick_->poll_departure()->back_after, seconds(1));
  plug_in();
  EXPECT_EQ(read_file(), Bytes(8192)) << "zeros";
  start_up();
  EXPECT_EQ(life_cycle(), protocol::LifeCycle::no_time);
  set_time(opening_time_s + 10);

  const std::uint64_t before = core().signature_counter();
  strike("after-command unplug code=0x0a");
  write_into_the_void(start_request());
  EXPECT_EQ(core().signature_counter(), before + 1);
  EXPECT_FALSE(stick_->poll_departure()->back_after);
  plug_in();
  start_up();
  EXPECT_EQ(core().open_transactions().size(), 1U);
}

TEST_F(CryptovisionFaults, APowerCycleBehindTheBusLosesTheAnswer) {
  strike("after-command power-cycle code=0x0a");
  EXPECT_EQ(exchange(start_request()).state, ResponseState::lost);
  EXPECT_EQ(core().open_transactions().size(), 1U);
  expect_failure(Failure::not_started, CommandCode::start_transaction, start_parameters());
  EXPECT_EQ(bench_->witness.power_cycles(), 1U);
}

TEST_F(CryptovisionFaults, ARepeatedFrameIsNoticed) {
  write_request(start_request());
  write_request(start_request());
  EXPECT_EQ(bench_->witness.repeated_frames(), 1U);
  EXPECT_TRUE(collect(start_request()).ok());
  EXPECT_TRUE(exchange(start_request()).ok());
  EXPECT_EQ(bench_->witness.repeated_frames(), 1U) << "after an answer it is a new one";
}

TEST_F(CryptovisionFaults, TimingHasJitterStartUpAndExportRate) {
  CardSetup setup;
  setup.timing.signing_jitter = milliseconds(50);
  setup.timing.start_up = seconds(2);
  setup.timing.export_first_byte = seconds(3);
  setup.timing.export_bytes_per_s = 8158;
  make_card(setup);
  const Instant begin = driver_->now;
  set_up();
  EXPECT_GE(driver_->now - begin, seconds(2));
  Duration shortest = seconds(10), longest{0};
  for (int i = 0; i < 20; ++i) {
    const Instant before = driver_->now;
    EXPECT_TRUE(exchange(start_request()).ok());
    shortest = std::min(shortest, driver_->now - before);
    longest = std::max(longest, driver_->now - before);
  }
  EXPECT_GE(shortest, milliseconds(152));
  EXPECT_LE(longest, milliseconds(210));
  EXPECT_GT(longest, shortest);
  const Instant before = driver_->now;
  const Reply reply = command(CommandCode::export_data, all());
  const auto frames = static_cast<std::int64_t>(reply.frames.size());
  EXPECT_GE(driver_->now - before, seconds(3 + frames - 1));
  EXPECT_LE(driver_->now - before, seconds(3 + frames) + milliseconds(20 * frames));
}

TEST_F(CryptovisionFaults, SuspendMayBeForbidden) {
  CardSetup setup;
  setup.timing.sleep_after = seconds(10);
  setup.timing.wake_up = seconds(5);
  make_card(setup);
  set_up();  // forbids it
  driver_->now += seconds(60);
  Instant before = driver_->now;
  (void)read_file();
  EXPECT_EQ(driver_->now, before);
  (void)exchange(request_of({0, 0}, protocol::Mode::allow_suspend));
  driver_->now += seconds(60);
  before = driver_->now;
  EXPECT_TRUE(run_none(scsi::test_unit_ready()).good());
  EXPECT_EQ(driver_->now, before) << "only blocks wake it";
  (void)read_file();
  EXPECT_EQ(driver_->now - before, seconds(5));
  before = driver_->now;
  (void)read_file();
  EXPECT_EQ(driver_->now, before);
}

}  // namespace
}  // namespace tillbridge::simulator::tse
