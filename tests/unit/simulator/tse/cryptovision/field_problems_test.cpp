// What goes wrong in the field (tse/FIELD_PROBLEMS.md), row by row, against the cryptovision stick.
// The rows that only a person or another family has (10, 13 to 16) are not here.

#include "tests/unit/simulator/tse/cryptovision/card_bench.hpp"
#include "tse/evidence/log_message.hpp"

namespace tillbridge::simulator::tse {
namespace {

class CryptovisionField : public CardTest {
 protected:
  void SetUp() override {
    make_card({});
    set_up();
  }
  protocol::RequestFrame start_request() {
    return request_of(protocol::encode_command(CommandCode::start_transaction, start_parameters()));
  }
  void finish_all() {
    for (const OpenTransaction& open : core().open_transactions()) {
      (void)finish_transaction(static_cast<std::uint32_t>(open.number));
    }
  }
  void expect_good_export() {
    const Reply reply = command(CommandCode::export_data, all());
    ASSERT_TRUE(reply.ok());
    expect_good(reply.archive);
    expect_quiet_witness();
  }
  /// Submits a WRITE of the request whose status never comes.
  void write_and_lose(const protocol::RequestFrame& request) {
    send_command(scsi::write_10(static_cast<std::uint32_t>(file_), 16), 8192, false);
    const auto id = driver_->submit_out(out_pipe, protocol::encode(request, protocol::file_bytes));
    EXPECT_FALSE(driver_->ended(id)) << "it simply never completes";
    EXPECT_TRUE(stick_->poll_departure());
  }
  evidence::LogMessage last_log() {
    const Reply reply = command(CommandCode::read_log_message);
    const auto log = evidence::parse_log(std::get<Bytes>(reply.parameters.at(0).value));
    EXPECT_TRUE(log.ok());
    return log.ok() ? log->message : evidence::LogMessage{};
  }
};

TEST_F(CryptovisionField, FieldProblem01_PowerSavingTheFirstAnswerTakesThirtySeconds) {
  CardSetup setup;
  setup.timing.sleep_after = seconds(600);
  setup.timing.wake_up = seconds(30);
  make_card(setup);
  set_up();
  (void)exchange(request_of({0, 0}, protocol::Mode::allow_suspend));
  driver_->now += std::chrono::hours(60);  // a weekend
  const Instant before = driver_->now;
  EXPECT_GT(receipt(), 0U);
  EXPECT_GE(driver_->now - before, seconds(30));
  EXPECT_LT(driver_->now - before, seconds(31));
  EXPECT_EQ(bench_->witness.class_resets() + bench_->witness.bus_resets(), 0U);
  expect_good_export();
}

TEST_F(CryptovisionField, FieldProblem01_PowerSavingTheHeaderIsAllZeros) {
  CardSetup setup;
  setup.timing.sleep_after = seconds(600);
  setup.timing.sleep_loses_answer = true;
  make_card(setup);
  set_up();
  (void)exchange(request_of({0, 0}, protocol::Mode::allow_suspend));
  write_request(start_request());
  driver_->now += std::chrono::hours(1);
  EXPECT_EQ(read_file(), Bytes(8192));
  EXPECT_EQ(core().open_transactions().size(), 1U) << "the client looks before it repeats";
  finish_all();
  expect_good_export();
}

TEST_F(CryptovisionField, FieldProblem02_ForeignReadsOfTheWholeDiskWhileCommandsRun) {
  bool lost = false;
  for (int i = 0; i < 20; ++i) {
    const auto request = start_request();
    write_request(request);
    const Bytes busy = read_file();
    for (std::uint64_t block = 0; block < file_ + 128; block += 64) {
      const Bytes content = read_blocks(block, 64);
      if (block <= file_ && file_ < block + 64) {
        const auto at = static_cast<std::ptrdiff_t>((file_ - block) * block_bytes);
        lost = lost || Bytes(content.begin() + at, content.begin() + at + 8192) != busy;
      }
      driver_->now += Duration(10);
    }
    const Reply reply = collect(request);
    ASSERT_EQ(reply.parameters.size(), 5U);
    // ... and once more after it was read.
    const Bytes answer = read_file();
    (void)read_blocks(file_ + 1, 4);
    EXPECT_EQ(read_file(), answer);
  }
  EXPECT_FALSE(lost);
  finish_all();
  expect_good_export();
}

TEST_F(CryptovisionField, FieldProblem03_TheIdentityIsTheSameAfterEveryReconnect) {
  const usb::DeviceDescription before = stick_->description();
  const auto inquiry = run_in(scsi::inquiry(36), 36).data;
  const auto page = run_in(scsi::inquiry_page(0x80, 64), 64).data;
  const Parameters identity = command(CommandCode::start).parameters;
  const Bytes boot = read_blocks(partition_first_block, 1);
  for (int i = 0; i < 5; ++i) {
    plug_in();
    EXPECT_EQ(stick_->description().serial, before.serial);
    EXPECT_EQ(usb::encode(stick_->description().device), usb::encode(before.device));
    EXPECT_EQ(stick_->description().path, before.path);
    EXPECT_EQ(run_in(scsi::inquiry(36), 36).data, inquiry);
    EXPECT_EQ(run_in(scsi::inquiry_page(0x80, 64), 64).data, page);
    EXPECT_EQ(read_blocks(partition_first_block, 1), boot) << "volume serial number and label";
    EXPECT_EQ(command(CommandCode::start).parameters, identity);
  }
}

TEST_F(CryptovisionField, FieldProblem04_TheClockRunsOutOverAWeekend) {
  CardSetup setup;
  setup.core.time_valid = std::chrono::minutes(30);
  setup.core.clock_rate = 60;
  make_card(setup);
  set_up();
  EXPECT_GT(receipt(), 0U);
  driver_->now += seconds(31);  // half an hour of the card's
  EXPECT_EQ(life_cycle(), protocol::LifeCycle::no_time);
  expect_failure(Failure::time_not_set, CommandCode::start_transaction, start_parameters());
  set_time(opening_time_s + 3600);
  EXPECT_GT(receipt(), 0U);
  driver_->now += std::chrono::hours(60);
  expect_failure(Failure::time_not_set, CommandCode::start_transaction, start_parameters());
  set_time(opening_time_s + 60 * 3600 * 60);
  EXPECT_GT(receipt(), 0U);
  expect_good_export();
}

TEST_F(CryptovisionField, FieldProblem05_AfterSuspendItIsDeadUntilItsPowerGoes) {
  strike("command dead code=0x2a");
  send_command(scsi::test_unit_ready(), 0, false);
  (void)read_status();
  massstorage::CommandBlock block;
  block.tag = 9;
  block.data_length = 512;
  block.cdb = scsi::write_10(static_cast<std::uint32_t>(file_), 1);
  const auto lost = driver_->submit_out(out_pipe, massstorage::encode(block));
  EXPECT_FALSE(driver_->ended(lost));
  for (int i = 0; i < 3; ++i) {
    stick_->reset(driver_->now);
    driver_->now += seconds(20);
    const auto id = driver_->submit(usb::control_transfer(1, usb::set_configuration(1)));
    EXPECT_FALSE(driver_->ended(id)) << "a reset of the port does not help";
    EXPECT_FALSE(stick_->next_deadline());
  }
  plug_in();
  start_up();
  set_time(opening_time_s + 100);
  EXPECT_GT(receipt(), 0U);
  expect_good_export();
}

TEST_F(CryptovisionField, FieldProblem06_PowerFailsInMidCommand) {
  for (const char* fault :
       {"before-command power-cycle code=0x0a", "after-command power-cycle code=0x0a",
        "answer power-cycle code=0x0a"}) {
    strike(fault);
    const Reply reply = exchange(start_request());
    const bool read_all = reply.ok();  // at `answer` the data was on its way already
    if (!read_all) {
      EXPECT_EQ(reply.state, ResponseState::lost) << fault;
    }
    expect_failure(Failure::not_started, CommandCode::get_pin_states);
    start_up();
    EXPECT_EQ(life_cycle(), protocol::LifeCycle::no_time);
    set_time(opening_time_s + 100);
    finish_all();
  }
  EXPECT_EQ(bench_->witness.power_cycles(), 3U);
  expect_good_export();
}

TEST_F(CryptovisionField, FieldProblem07_UnpluggedWhileBusyAndBackAfterOneTenAndSixtySeconds) {
  for (const int away_s : {1, 10, 60}) {
    const std::string fault = "after-command unplug code=0x0a ms=" + std::to_string(away_s * 1000);
    strike(fault.c_str());
    const Instant before = driver_->now;
    send_command(scsi::write_10(static_cast<std::uint32_t>(file_), 16), 8192, false);
    const auto id = driver_->submit_out(out_pipe, protocol::encode(start_request(), 8192));
    EXPECT_FALSE(driver_->ended(id));
    const auto departure = stick_->poll_departure();
    ASSERT_TRUE(departure);
    EXPECT_EQ(departure->back_after, seconds(away_s));
    EXPECT_EQ(driver_->now, before) << "it is told at once, not after a time-out";
    driver_->now += seconds(away_s);
    plug_in();
    const auto ended = driver_->ended(id);
    ASSERT_TRUE(ended) << "what was running has ended by then";
    EXPECT_EQ(ended->status, usb::TransferStatus::cancelled);
    start_up();
    set_time(opening_time_s + 100);
    EXPECT_EQ(core().open_transactions().size(), 1U);
    finish_all();
    EXPECT_GT(receipt(), 0U);
  }
  expect_good_export();
}

TEST_F(CryptovisionField, FieldProblem08_ATornWriteOfTheAllocationTableHarmsNothingElse) {
  receipt();
  // The client re-creates the file; the stick leaves in the middle of a larger WRITE of the table.
  const Bytes before = read_blocks(partition_first_block, 64);
  Bytes table(before.begin() + 512, before.begin() + 512 + 8 * 512);
  for (std::size_t i = 0; i < 8; ++i) table[i * 512 + 500] ^= 0x5A;
  strike("data torn-write code=0x2a");
  send_command(scsi::write_10(partition_first_block + 1, 8), 4096, false);
  const auto id = driver_->submit_out(out_pipe, table);
  EXPECT_FALSE(driver_->ended(id));
  EXPECT_TRUE(stick_->poll_departure());
  plug_in();
  const Bytes after = read_blocks(partition_first_block, 64);
  for (std::size_t block = 0; block < 64; ++block) {
    const bool written = block >= 1 && block < 5;
    const Bytes old(before.begin() + static_cast<std::ptrdiff_t>(block * 512),
                    before.begin() + static_cast<std::ptrdiff_t>(block * 512 + 512));
    const Bytes now(after.begin() + static_cast<std::ptrdiff_t>(block * 512),
                    after.begin() + static_cast<std::ptrdiff_t>(block * 512 + 512));
    EXPECT_EQ(now == old, !written) << block << ": whole blocks, the first half, in order";
  }
  // The host repairs it by writing again, and the TSE does not care.
  write_blocks(partition_first_block, before);
  locate();
  start_up();
  set_time(opening_time_s + 100);
  EXPECT_GT(receipt(), 0U);
  expect_good_export();
}

TEST_F(CryptovisionField, FieldProblem08_ATornFrameIsNoCommand) {
  const std::uint64_t counter = core().signature_counter();
  const Bytes data(3000, 'x');
  const auto request = request_of(protocol::encode_command(
      CommandCode::start_transaction, {Parameter::text("till-1"), Parameter::bytes(data),
                                       Parameter::text(""), Parameter::bytes({})}));
  strike("data torn-write code=0x2a");
  const Bytes frame = protocol::encode(request);
  send_command(scsi::write_10(static_cast<std::uint32_t>(file_),
                              static_cast<std::uint16_t>(frame.size() / 512)),
               static_cast<std::uint32_t>(frame.size()), false);
  EXPECT_FALSE(driver_->ended(driver_->submit_out(out_pipe, frame)));
  EXPECT_TRUE(stick_->poll_departure());
  plug_in();
  EXPECT_EQ(core().signature_counter(), counter);
  EXPECT_EQ(read_file(), Bytes(8192));
  start_up();
}

TEST_F(CryptovisionField, FieldProblem09_TwoClientsOfOneStickLoseAnswersButNoSignatures) {
  const std::uint64_t counter = core().signature_counter();
  int lost = 0;
  for (int i = 0; i < 20; ++i) {
    // The second writes before the first has read.
    write_request(start_request());
    driver_->now += seconds(1);
    const auto other =
        request_of(protocol::encode_command(CommandCode::get_status, {Parameter::number(4)}));
    write_request(other);
    Reply first;
    const auto frame = await(start_request(), first);
    lost += frame.data.size() == 2 + 3 + 1 ? 1 : 0;  // the other one's answer
  }
  EXPECT_EQ(lost, 20);
  EXPECT_EQ(bench_->witness.answers_discarded(), 20U) << "the witness tells";
  EXPECT_EQ(core().signature_counter(), counter + 20);
  finish_all();
  expect_good_export();
}

TEST_F(CryptovisionField, FieldProblem11_TheExportIsSilentLongerThanTheClientWaits) {
  CardSetup setup;
  setup.options.silent_export = seconds(64);
  setup.timing.export_bytes_per_s = 1U << 20U;
  make_card(setup);
  set_up();
  for (int i = 0; i < 100; ++i) receipt();
  const Instant before = driver_->now;
  const auto request = request_of(protocol::encode_command(CommandCode::export_data, all()));
  write_request(request);
  EXPECT_EQ(collect(request, 4000).state, ResponseState::busy) << "40 s";
  // It waits until 65 s have passed, opens the file anew and pulls in steps.
  driver_->now = before + seconds(65);
  open_file(OpenStyle::direct_zeroed);
  start_up();
  Bytes whole;
  std::uint64_t held = 0;
  while (true) {
    const Reply part =
        command(CommandCode::export_more_data,
                {serial(), Parameter::big_endian(held, 4), Parameter::big_endian(60, 4)});
    if (part.failure == Failure::no_data) break;
    ASSERT_TRUE(part.ok());
    const auto skipped =
        whole.empty() ? std::size_t{0} : static_cast<std::size_t>(core().head_bytes());
    whole.insert(whole.end(), part.archive.begin() + static_cast<std::ptrdiff_t>(skipped),
                 part.archive.end());
    held = std::min<std::uint64_t>(held + 60, core().signature_counter());
  }
  EXPECT_LT(driver_->now - before, seconds(70));
  expect_good(whole);
  // A client that is patient enough gets it in one.
  expect_good_export();
}

TEST_F(CryptovisionField, FieldProblem12_TheAnswerIsLostAfterTheSignatureWasMade) {
  for (int i = 0; i < 10; ++i) {
    const auto started = start_transaction();
    ASSERT_TRUE(started);
    const std::uint64_t counter = core().signature_counter();
    strike("after-command unplug code=0x0c");
    write_and_lose(request_of(protocol::encode_command(CommandCode::finish_transaction,
                                                       finish_parameters(*started->transaction))));
    plug_in();
    start_up();
    const evidence::LogMessage log = last_log();
    EXPECT_EQ(log.counter, counter + 1) << "the signature that nobody saw can be fetched";
    const auto* transaction = std::get_if<evidence::TransactionLog>(&log.content);
    ASSERT_NE(transaction, nullptr);
    EXPECT_EQ(transaction->number, *started->transaction);
    EXPECT_EQ(transaction->step, evidence::TransactionStep::finish);
    set_time(opening_time_s + 1000);
    expect_failure(Failure::no_such_transaction, CommandCode::finish_transaction,
                   finish_parameters(*started->transaction));
    const auto next = start_transaction();
    ASSERT_TRUE(next);
    EXPECT_EQ(*next->transaction, *started->transaction + 1) << "no number is used twice";
    finish_all();
  }
  expect_good_export();
}

TEST_F(CryptovisionField, FieldProblem12_TheLinkDropsBeforeTheAnswerIsRead) {
  // No power failure: the answer is still there for whoever comes back.
  write_request(start_request());
  const std::uint64_t counter = core().signature_counter();
  stick_->reset(driver_->now);
  driver_->configure();
  EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
  const Reply reply = collect(start_request());
  EXPECT_EQ(protocol::parse_signed_answer(reply.parameters, true)->counter, counter);
  finish_all();
  expect_good_export();
}

}  // namespace
}  // namespace tillbridge::simulator::tse
