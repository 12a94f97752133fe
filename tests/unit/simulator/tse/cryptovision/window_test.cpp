// Frames in blocks: where they are recognised, what stands there when, and every way in which
// clients open the file.

#include "tests/unit/simulator/tse/cryptovision/card_bench.hpp"

namespace tillbridge::simulator::tse {
namespace {

using testing::Each;
using testing::ElementsAre;

class CryptovisionWindow : public CardTest {
 protected:
  static Bytes zeros(std::size_t blocks) { return Bytes(blocks * block_bytes); }
  static Bytes part(const Bytes& bytes, std::size_t from, std::size_t count) {
    return {bytes.begin() + static_cast<std::ptrdiff_t>(from),
            bytes.begin() + static_cast<std::ptrdiff_t>(from + count)};
  }
  static std::uint16_t length_of(const Bytes& file) {
    return static_cast<std::uint16_t>(file[32] << 8U | file[33]);
  }
};

TEST_F(CryptovisionWindow, TheRecordedConversation) {
  CardSetup setup;
  setup.timing.other = milliseconds(15);  // the recorded card was busy twice
  make_card(setup);
  start_up();
  initialize_pins();
  log_in("Admin", admin_pin);
  expect_ok(CommandCode::initialize);
  log_out("Admin");
  setup.timing.signing = milliseconds(0);
  card_->set_timing(setup.timing);

  // Forbid suspend: length 0 at once.
  const Reply suspend = exchange(request_of({0, 0}, protocol::Mode::forbid_suspend));
  EXPECT_EQ(suspend.state, ResponseState::acknowledged);
  EXPECT_EQ(suspend.polls, 0);
  // Start: busy twice, then a text and 16 bytes.
  const Reply start = command(CommandCode::start);
  EXPECT_EQ(start.polls, 2);
  ASSERT_EQ(start.parameters.size(), 2U);
  EXPECT_EQ(start.parameters[0].type(), Parameter::Type::text);
  EXPECT_EQ(std::get<Bytes>(start.parameters[1].value).size(), 16U);
  // Login: byte 0 and number 3; then time, logout, and time without a login.
  const Reply login =
      command(CommandCode::authenticate_user, {Parameter::text("TimeAdmin"), bytes(time_pin)});
  EXPECT_THAT(login.parameters, ElementsAre(Parameter::byte(0), Parameter::number(3)));
  EXPECT_THAT(login.frames, ElementsAre(11U));
  const Reply time = command(CommandCode::update_time, {Parameter::big_endian(opening_time_s, 4)});
  EXPECT_TRUE(time.ok());
  EXPECT_THAT(time.frames, ElementsAre(2U)) << "R = 0000 and nothing else";
  log_out("TimeAdmin");
  expect_failure(Failure::not_authenticated, CommandCode::update_time,
                 {Parameter::big_endian(opening_time_s, 4)});
  // The client gives up with a C4 that it never reads; the next command simply wins.
  write_request(request_of({protocol::abandon}));
  EXPECT_EQ(life_cycle(), protocol::LifeCycle::active);
  EXPECT_EQ(bench_->witness.answers_discarded(), 1U);
}

TEST_F(CryptovisionWindow, TheFrameIsReplacedBeforeTheWriteIsThrough) {
  const auto request = request_of(protocol::encode_command(CommandCode::start));
  write_request(request);
  const Bytes file = read_file();
  EXPECT_TRUE(protocol::has_magic(file));
  EXPECT_EQ(part(file, 28, 4), Bytes(4)) << "never the token that was sent";
  EXPECT_EQ(length_of(file), 0xFFFF);
  EXPECT_EQ(part(file, 34, 2), Bytes(2));
  EXPECT_EQ(part(file, 36, 6), request.data) << "the request shines through";
  driver_->now += milliseconds(10);
  EXPECT_NE(length_of(read_file()), 0xFFFF);
  EXPECT_EQ(bench_->witness.reads_while_busy(), 1U);
}

TEST_F(CryptovisionWindow, BusyIsAMatterOfTimeNotOfReads) {
  set_up();
  write_request(
      request_of(protocol::encode_command(CommandCode::start_transaction, start_parameters())));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(length_of(read_file()), 0xFFFF);
  driver_->now += milliseconds(151);
  EXPECT_EQ(length_of(read_file()), 0xFFFF) << "150 ms for the signature and 2 for the rest";
  driver_->now += milliseconds(1);
  EXPECT_EQ(length_of(read_file()), 2 + 4 * 3 + 3 + 4 + 4 + 8 + 64 + 32);
}

TEST_F(CryptovisionWindow, LeftoversStandBehindAnAnswer) {
  start_up();
  const Reply certificates = command(CommandCode::get_certificates);
  ASSERT_TRUE(certificates.ok());
  const Bytes before = read_file();
  const Reply state = command(CommandCode::get_status, {Parameter::number(4)});
  const Bytes file = read_file();
  const std::size_t end = 34 + state.frames.at(0);
  EXPECT_EQ(part(file, end, 3), part(protocol::encode(request_of(protocol::encode_command(
                                         CommandCode::get_status, {Parameter::number(4)}))),
                                     end, 3))
      << "of the request";
  EXPECT_THAT(part(file, 512, 1000), Each(0)) << "python pads with zeros to the end";

  // A client that writes one block leaves the rest of the older answer standing.
  (void)command(CommandCode::get_certificates);
  style_ = OpenStyle::direct_zeroed;
  (void)command(CommandCode::get_status, {Parameter::number(4)});
  EXPECT_EQ(part(read_file(), 512, 1000), part(before, 512, 1000));

  CardSetup setup;
  setup.options.tidy = true;
  make_card(setup);
  start_up();
  (void)command(CommandCode::get_certificates);
  style_ = OpenStyle::direct_zeroed;
  (void)command(CommandCode::get_status, {Parameter::number(4)});
  EXPECT_THAT(part(read_file(), 512, 7680), Each(0));
}

TEST_F(CryptovisionWindow, ZerosEndTheResponse) {
  start_up();
  write_blocks(file_, zeros(16));
  EXPECT_EQ(read_file(), zeros(16));
  EXPECT_EQ(exchange(request_of({protocol::fetch_more})).state, ResponseState::acknowledged);
}

TEST_F(CryptovisionWindow, AFrameIsGatheredFromAnyPieces) {
  set_up();
  const Bytes data(3000, 'x');
  const auto request = request_of(protocol::encode_command(
      CommandCode::start_transaction, {Parameter::text("till-1"), Parameter::bytes(data),
                                       Parameter::text("SonstigerVorgang"), Parameter::bytes({})}));
  const Bytes frame = protocol::encode(request);
  const std::uint64_t counter = core().signature_counter();
  for (std::size_t block = 0; block < frame.size() / block_bytes; ++block) {
    EXPECT_EQ(core().signature_counter(), counter) << block;
    if (block > 0) {
      EXPECT_EQ(protocol::parse_response(read_file(), request.token)->state,
                ResponseState::not_taken);
    }
    write_blocks(file_ + block, part(frame, block * block_bytes, block_bytes));
    write_blocks(100, zeros(1));  // somebody else's
  }
  EXPECT_EQ(core().signature_counter(), counter + 1);
  EXPECT_TRUE(collect(request).ok());
}

TEST_F(CryptovisionWindow, ATransferMayCutAFrameAnywhere) {
  CardSetup setup;
  setup.stick.speed = usb::Speed::full;
  make_card(setup);
  set_up();
  const auto request =
      request_of(protocol::encode_command(CommandCode::start_transaction, start_parameters()));
  const Bytes frame = protocol::encode(request, protocol::file_bytes);
  send_command(scsi::write_10(static_cast<std::uint32_t>(file_), 16), 8192, false);
  for (std::size_t at = 0; at < frame.size();) {
    const std::size_t size = std::min<std::size_t>(frame.size() - at, at == 0 ? 64 : 1600);
    EXPECT_EQ(driver_->out(out_pipe, part(frame, at, size)).status, usb::TransferStatus::success);
    at += size;
  }
  EXPECT_EQ(read_status().status, massstorage::CommandStatus::passed);
  EXPECT_TRUE(collect(request).ok()) << "what follows the command in the same WRITE is no answer";
}

TEST_F(CryptovisionWindow, TheSnapshotOfASplitReadIsOneMoment) {
  start_up();
  style_ = OpenStyle::each_time;
  const auto request = request_of(protocol::encode_command(CommandCode::get_certificates));
  write_request(request);
  const Bytes first = read_blocks(file_, 1);
  EXPECT_EQ(length_of(first), 0xFFFF);
  driver_->now += seconds(1);
  const Bytes rest = read_blocks(file_ + 1, 15);
  EXPECT_EQ(rest, part(protocol::encode(request, 8192), 512, 7680)) << "still the busy picture";
  EXPECT_TRUE(collect(request).ok());
}

TEST_F(CryptovisionWindow, ANewCommandWinsOverAnUnreadAnswer) {
  set_up();
  write_request(
      request_of(protocol::encode_command(CommandCode::start_transaction, start_parameters())));
  driver_->now += seconds(1);
  EXPECT_EQ(life_cycle(), protocol::LifeCycle::active);
  EXPECT_EQ(bench_->witness.answers_discarded(), 1U);
  EXPECT_EQ(core().open_transactions().size(), 1U) << "carried out all the same";
}

TEST_F(CryptovisionWindow, ACommandWhileBusyWaitsOrIsDropped) {
  set_up();
  const auto slow =
      request_of(protocol::encode_command(CommandCode::start_transaction, start_parameters()));
  const auto quick =
      request_of(protocol::encode_command(CommandCode::get_status, {Parameter::number(4)}));
  write_request(slow);
  Reply reply = exchange(quick);
  EXPECT_THAT(reply.parameters, ElementsAre(Parameter::big_endian(3, 1)));
  EXPECT_GE(reply.polls, 15) << "after the signature";
  EXPECT_EQ(bench_->witness.commands_while_busy(), 1U);

  CardSetup setup;
  setup.options.holds_commands_while_busy = false;
  make_card(setup);
  set_up();
  write_request(slow);
  reply = exchange(quick);
  EXPECT_EQ(reply.parameters.size(), 5U) << "the answer before it";
  EXPECT_EQ(core().open_transactions().size(), 1U);
}

TEST_F(CryptovisionWindow, ReadsOfOthersDisturbNothing) {
  set_up();
  const auto request =
      request_of(protocol::encode_command(CommandCode::start_transaction, start_parameters()));
  write_request(request);
  for (int round = 0; round < 20; ++round) {  // a virus scanner
    driver_->now += milliseconds(10);
    (void)read_blocks(0, 8);
    (void)read_blocks(file_ - 8, 32);
    (void)read_blocks(file_ + 3, 2);
  }
  EXPECT_EQ(read_blocks(file_ - 8, 8), zeros(8));
  EXPECT_EQ(read_blocks(file_ + 16, 8), zeros(8));
  const Reply reply = collect(request);
  EXPECT_TRUE(reply.ok());
  EXPECT_EQ(reply.parameters.size(), 5U);
  EXPECT_EQ(read_file(), read_file()) << "an answer can be read again and again";
}

TEST_F(CryptovisionWindow, WhatIsNotAFrameIsAnOrdinaryDisk) {
  start_up();
  const Bytes content = pattern_bytes(16 * block_bytes, 5);
  write_blocks(file_ + 64, content);
  EXPECT_EQ(read_blocks(file_ + 64, 16), content);
  // The file moved away, and its old blocks are another file's now.
  (void)command(CommandCode::get_certificates);
  write_blocks(file_ + 4, part(content, 0, 4 * block_bytes));
  EXPECT_EQ(read_blocks(file_ + 4, 4), part(content, 0, 4 * block_bytes));
  EXPECT_TRUE(protocol::has_magic(read_blocks(file_, 1)));
  write_blocks(file_, content);
  EXPECT_EQ(read_blocks(file_, 16), content);
}

TEST_F(CryptovisionWindow, AFrameAnywhereIsTaken) {
  file_ += 5000;
  start_up();
  EXPECT_TRUE(command(CommandCode::get_serial_numbers).ok());
  file_ = 64 * 2048 - 2;  // at the very end, where half of the window does not exist
  style_ = OpenStyle::direct_zeroed;
  write_request(request_of(protocol::encode_command(CommandCode::start)));
  EXPECT_EQ(length_of(read_blocks(file_, 2)), 0xFFFF);
}

TEST_F(CryptovisionWindow, BadFramesAreAnsweredAndHarmNothing) {
  start_up();
  const auto failure = [&](Bytes data, protocol::Mode mode = protocol::Mode::normal) {
    return exchange(request_of(std::move(data), mode)).failure;
  };
  EXPECT_EQ(failure({}), Failure::bad_command) << "nothing";
  EXPECT_EQ(failure({0x5C}), Failure::bad_command);
  EXPECT_EQ(failure({0x5C, 0x54, 0x00, 0x42, 0x00, 0x00}), Failure::bad_command) << "unknown code";
  EXPECT_EQ(failure({0x5C, 0x54, 0x00, 0x12, 0x00, 0x05, 0x07, 0, 2, 0, 4}), Failure::bad_command)
      << "type 7";
  EXPECT_EQ(failure({0, 0}, static_cast<protocol::Mode>(0x1234)), Failure::bad_command) << "mode";
  EXPECT_EQ(failure({0x5C, 0x54, 0x00, 0x12, 0x00, 0x00}), Failure::parameter_mismatch);
  Bytes frame = protocol::encode(request_of({1}));
  frame[32] = 0x20;  // 8193 bytes
  write_blocks(file_, frame);
  EXPECT_EQ(collect(request_of({1})).failure, Failure::bad_command);
  EXPECT_TRUE(command(CommandCode::get_serial_numbers).ok());
}

TEST_F(CryptovisionWindow, TheRecordedExportTakesThreeFrames) {
  set_up();
  while (core().store_bytes_used() < 39U * 512U) receipt();
  const std::uint64_t total = core().store_bytes_used();
  const Reply reply = command(CommandCode::export_data, all());
  EXPECT_EQ(reply.archive.size(), total);
  ASSERT_GE(reply.frames.size(), 3U);
  EXPECT_EQ(reply.frames[0], 8158U) << "10 bytes of result and total, 8148 of the archive";
  EXPECT_EQ(reply.frames[1], 8158U);
  expect_good(reply.archive);
  // One more than needed, then another.
  EXPECT_EQ(exchange(request_of({protocol::fetch_more})).state, ResponseState::acknowledged);
  EXPECT_EQ(exchange(request_of({protocol::fetch_more})).state, ResponseState::acknowledged);
  // Given up after the first frame.
  write_request(request_of(protocol::encode_command(CommandCode::export_data, all())));
  driver_->now += seconds(1);
  (void)read_file();
  EXPECT_EQ(exchange(request_of({protocol::abandon})).state, ResponseState::acknowledged);
  EXPECT_EQ(exchange(request_of({protocol::fetch_more})).state, ResponseState::acknowledged);
}

/// A disk of each cluster size, each way to open the file.
class OpenStyles : public CryptovisionWindow,
                   public testing::WithParamInterface<std::tuple<OpenStyle, std::uint32_t>> {};

TEST_P(OpenStyles, SetUpReceiptsAndAnExport) {
  const auto [style, cluster_bytes] = GetParam();
  CardSetup setup;
  setup.disk.cluster_bytes = cluster_bytes;
  setup.blocks = cluster_bytes == 32768 ? 256 * 2048 : 40 * 2048;
  make_card(setup);
  ASSERT_EQ(volume_->cluster_bytes(), cluster_bytes);
  EXPECT_EQ(file_ % 64, 0U) << "a page never reaches a neighbour";
  open_file(style);
  set_up();
  std::uint64_t last = 0;
  // A hundred once for each style; the other clusters change nothing after the first few.
  const int receipts = cluster_bytes == 4096 ? 100 : 20;
  for (int i = 0; i < receipts; ++i) {
    if (i == receipts / 2) open_file(style);  // the client was restarted
    const std::uint64_t counter = receipt();
    ASSERT_GT(counter, last);
    last = counter;
  }
  const Reply reply = command(CommandCode::export_data, all());
  ASSERT_TRUE(reply.ok());
  expect_good(reply.archive);
  expect_quiet_witness();
  EXPECT_EQ(core().open_transactions().size(), 0U);
  EXPECT_EQ(core().transaction_counter(), static_cast<std::uint64_t>(receipts));
}

INSTANTIATE_TEST_SUITE_P(
    All, OpenStyles,
    testing::Combine(testing::Values(OpenStyle::direct, OpenStyle::direct_zeroed,
                                     OpenStyle::recreated, OpenStyle::each_time, OpenStyle::cached),
                     testing::Values(512U, 4096U, 32768U)));

}  // namespace
}  // namespace tillbridge::simulator::tse
