// The line of the simulated Diebold Nixdorf stick: DTR, order, faults, hostile bytes.
#include <bit>
#include <random>

#include "channel/bytes/limits.hpp"
#include "tests/unit/simulator/tse/diebold/diebold_host.hpp"

namespace tillbridge::simulator::tse {
namespace {

TEST(DieboldLine, NothingIsAnsweredWithoutTerminalReady) {
  DieboldHost host;
  host.set_terminal_ready(false);
  EXPECT_FALSE(host.ask(Command::country_info));
  host.set_terminal_ready(true);
  EXPECT_FALSE(host.receive()) << "what came before was dropped";
  host.done(Command::country_info);

  DieboldOptions options;
  options.serial.needs_terminal_ready = false;
  DieboldHost careless(options);
  careless.set_terminal_ready(false);
  careless.done(Command::country_info);
}

TEST(DieboldLine, WhoeverOpensThePortNextGetsNoForeignAnswer) {
  DieboldHost host;
  host.send(dn::make_request(Command::country_info, {}, host.new_id()));
  host.pass(std::chrono::seconds(1));
  host.set_terminal_ready(false);
  host.set_terminal_ready(true);
  EXPECT_FALSE(host.receive());
  EXPECT_THAT(host.witness().to_json(), testing::HasSubstr("\"answers_discarded\":1"));
}

TEST(DieboldLine, ARequestWithoutIdIsAnswered) {
  DieboldHost host;
  dn::Request request;
  request.command = 309;
  request.parameters = {slot};
  host.send(request);
  const auto event = host.receive();
  ASSERT_TRUE(event);
  EXPECT_EQ(dn::encode(std::get<dn::Response>(*event)),
            (Bytes{0x1B, 0x91, '3', '0', '9', 0x1B, 0x99, 0x1B, 0x9F}));
}

TEST(DieboldLine, NoAnswerMeansNone) {
  DieboldHost host;
  dn::Request request = dn::make_request(Command::set_client, {"till-01"}, host.new_id());
  request.answer = dn::AnswerMode::none;
  host.send(request);
  EXPECT_FALSE(host.receive());
  EXPECT_NE(host.error_of(Command::register_client, {slot}), DeviceError::client_not_set);
}

TEST(DieboldLine, AnAnswerIsOnePieceWhateverItsSize) {
  DieboldHost host;
  host.send(dn::make_request(Command::export_certificates, {slot}, host.new_id()));
  const auto bytes = host.read(std::chrono::seconds(2));
  ASSERT_TRUE(bytes);
  EXPECT_GT(bytes->size(), 512U);
  EXPECT_TRUE(dn::parse_response(*bytes).ok());
}

TEST(DieboldLine, StatusReportsFollowChanges) {
  DieboldHost host;
  EXPECT_EQ(host.error_of(Command::start_end), DeviceError::wrong_order);
  EXPECT_EQ(host.reports, std::vector<std::string>{"000600"});
  host.done(Command::country_info);
  host.done(Command::set_status_reports, {"0"});
  EXPECT_EQ(host.reports.back(), "000000");
  const std::size_t count = host.reports.size();
  EXPECT_EQ(host.error_of(Command::start_end), DeviceError::wrong_order);
  EXPECT_EQ(host.reports.size(), count);
}

TEST(DieboldLine, ASecondRequestWaitsForTheFirst) {
  DieboldHost host;
  host.set_up();
  const auto first = dn::make_request(Command::login, {slot, "1", "12345"}, host.new_id());
  const auto second = dn::make_request(Command::country_info, {}, host.new_id());
  host.send(first);
  host.send(second);
  const Instant before = host.driver->now;
  EXPECT_EQ(std::get<dn::Response>(*host.receive()).id, *first.id);
  EXPECT_EQ(host.driver->now - before, std::chrono::milliseconds(250));
  EXPECT_EQ(std::get<dn::Response>(*host.receive()).id, *second.id);
  EXPECT_EQ(host.witness().commands_while_busy(), 1U);
}

TEST(DieboldLine, TheSameIdTwiceIsARepeatedFrame) {
  DieboldHost host;
  const auto request = dn::make_request(Command::country_info, {}, host.new_id());
  host.send(request);
  EXPECT_TRUE(host.receive());
  EXPECT_EQ(host.witness().repeated_frames(), 0U);
  host.send(request);
  EXPECT_TRUE(host.receive()) << "a stick does not know";
  EXPECT_EQ(host.witness().repeated_frames(), 1U);
}

TEST(DieboldFaults, DelaySilenceStallAndDead) {
  DieboldHost host;
  host.fault("command delay ms=700 code=0");
  const Instant before = host.driver->now;
  host.done(Command::country_info);
  EXPECT_GE(host.driver->now - before, std::chrono::milliseconds(700));

  host.fault("status stall code=0");
  host.send(dn::make_request(Command::country_info, {}, host.new_id()));
  EXPECT_FALSE(host.read(std::chrono::seconds(1)));
  EXPECT_EQ(host.last_status, usb::TransferStatus::stall);
  host.driver->control(usb::clear_halt(DieboldStick::data_in_endpoint));
  EXPECT_TRUE(host.receive()) << "the answer is still there";

  host.fault("before-command silence code=0");
  EXPECT_FALSE(host.ask(Command::country_info));
  EXPECT_FALSE(host.ask(Command::status)) << "until a reset";
  host.replug();
  host.done(Command::country_info);

  host.fault("command dead code=0");
  EXPECT_FALSE(host.ask(Command::country_info));
  EXPECT_FALSE(host.ask(Command::status));
  host.replug();
  host.done(Command::country_info);
}

TEST(DieboldFaults, AnswersAreFlippedCutLostAndStale) {
  DieboldHost host;
  const auto ask = [&] {
    host.send(dn::make_request(Command::country_info, {}, host.new_id()));
    return host.read(std::chrono::seconds(2));
  };
  const auto good = ask();
  ASSERT_TRUE(good);
  host.fault("status short-data code=0");
  EXPECT_EQ(ask()->size(), good->size() / 2);
  const auto one = ask();
  host.fault("status stale-answer code=0");
  EXPECT_EQ(ask(), one) << "the one before it again";
  host.fault("status bit-flip code=0");
  const auto request = dn::make_request(Command::country_info, {}, host.new_id());
  host.send(request);
  const auto flipped = host.read(std::chrono::seconds(2));
  const Bytes meant =
      dn::encode(dn::Response{0, dn::parameters_of(dn::CountryInfo{}), *request.id});
  ASSERT_TRUE(flipped && flipped->size() == meant.size());
  int bits = 0;
  for (std::size_t i = 0; i < meant.size(); ++i) {
    bits += std::popcount(static_cast<unsigned>(meant[i] ^ (*flipped)[i]));
  }
  EXPECT_EQ(bits, 1);
  host.fault("after-command lose-answer code=0");
  EXPECT_FALSE(ask());
  host.fault("answer delay ms=300 code=0");
  const Instant before = host.driver->now;
  EXPECT_TRUE(ask());
  EXPECT_GE(host.driver->now - before, std::chrono::milliseconds(300));
}

TEST(DieboldLine, SleepsAndWakesUp) {
  DieboldOptions options;
  options.timing.sleep_after = std::chrono::seconds(60);
  options.timing.wake_up = std::chrono::seconds(1);
  DieboldHost host(options);
  host.done(Command::country_info);
  host.pass(std::chrono::seconds(61));
  const Instant before = host.driver->now;
  host.done(Command::country_info);
  EXPECT_GE(host.driver->now - before, std::chrono::seconds(1));
}

TEST(DieboldLine, AFloodIsTakenOnlyAsFastAsItIsWorkedOff) {
  DieboldHost host;
  host.set_up();
  // Nobody reads: neither the requests nor the answers may pile up.
  Bytes flood;
  for (int i = 0; i < 2000; ++i) {
    const auto frame = dn::encode(dn::make_request(Command::slot_info, {slot}, host.new_id()));
    flood.insert(flood.end(), frame->begin(), frame->end());
  }
  const auto write = host.driver->submit_out(DieboldStick::data_out_endpoint, flood);
  host.pass(std::chrono::hours(1));
  EXPECT_FALSE(host.driver->ended(write));
  host.stick->cancel(write, host.driver->now);
  const auto completion = host.driver->ended(write);
  ASSERT_TRUE(completion);
  EXPECT_LT(completion->actual_length, flood.size());
  int answers = 0;
  while (host.receive()) ++answers;
  EXPECT_GT(answers, 100);
  host.done(Command::country_info);
}

TEST(DieboldLine, RandomBytesCostNothingButThemselves) {
  std::mt19937 random(20260101);
  DieboldHost host;
  host.set_up();
  const std::uint64_t counter = host.stick->core().signature_counter();
  const Bytes special{0x1B, 0x90, 0x91, 0x92, 0x99, 0x9C, 0x9D, 0x9E, 0x9F, '0', '1', '2', '9'};
  for (int round = 0; round < 300; ++round) {
    Bytes bytes(random() % 200);
    for (auto& byte : bytes) {
      byte = random() % 3 != 0 ? special[random() % special.size()]
                               : static_cast<std::uint8_t>(random());
    }
    host.write(bytes);
    while (host.read(std::chrono::milliseconds(10))) {
    }
  }
  host.parser.clear();
  host.done(Command::country_info);
  EXPECT_EQ(host.stick->core().signature_counter(), counter) << "nothing was signed by accident";
  host.finish(host.start().transaction);
  EXPECT_TRUE(host.check_export().good());
}

}  // namespace
}  // namespace tillbridge::simulator::tse
