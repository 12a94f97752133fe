// The main paths of the simulated Diebold Nixdorf stick.
#include "tests/unit/simulator/tse/diebold/diebold_host.hpp"
#include "tse/diebold/base64.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::simulator::tse {
namespace {

TEST(DieboldStick, SetUpAHundredReceiptsExportVerify) {
  DieboldHost host;
  host.set_up();
  EXPECT_EQ(host.status().state, dn::state_bit::fiscal_mode);

  const std::uint64_t before = host.stick->core().signature_counter();
  std::uint64_t counter = before;
  for (std::uint64_t receipt = 1; receipt <= 100; ++receipt) {
    const dn::Signature start = host.start();
    EXPECT_EQ(start.transaction, receipt);
    EXPECT_EQ(start.counter, ++counter);
    EXPECT_EQ(start.signature.size(), 96U);  // P-384
    const dn::Signature finish = host.finish(start.transaction);
    EXPECT_EQ(finish.counter, ++counter);
    EXPECT_GE(finish.time_s, start.time_s);
  }
  const auto report = host.check_export();
  EXPECT_TRUE(report.good()) << (report.findings.empty() ? "" : report.findings[0].text);
  EXPECT_EQ(report.finished_transactions, 100U);
  EXPECT_EQ(report.transaction_logs, 200U);
  EXPECT_EQ(report.last_counter, counter);
  EXPECT_EQ(host.witness().signatures(), counter);
  EXPECT_EQ(host.witness().counter_gaps(), 0U);
  EXPECT_EQ(host.witness().repeated_frames(), 0U);
}

TEST(DieboldStick, ProcessDataComesInPacketsAndIsSignedWhole) {
  DieboldHost host;
  host.set_up();
  std::string data;
  while (data.size() < 1300) data += "Bestellung " + std::to_string(data.size()) + "\r";
  const dn::Signature start = host.start(data);
  host.step(Command::update, start.transaction, data.substr(0, 512));
  host.finish(start.transaction, data.substr(0, 513));
  const auto logs =
      evidence::read_tar(host.fetch_binary(Command::export_transaction, {slot, "0000000001", ""}));
  ASSERT_TRUE(logs.ok()) << logs.error().message;
  std::vector<std::size_t> sizes;
  for (const auto& entry : *logs) {
    const auto log = evidence::parse_log(entry.content);
    if (!log) continue;
    const auto* transaction = std::get_if<evidence::TransactionLog>(&log->message.content);
    ASSERT_NE(transaction, nullptr);
    sizes.push_back(transaction->process_data.size());
    EXPECT_EQ(std::string(transaction->process_data.begin(), transaction->process_data.end()),
              data.substr(0, transaction->process_data.size()));
  }
  EXPECT_EQ(sizes, (std::vector<std::size_t>{data.size(), 512, 513}));
}

TEST(DieboldStick, SaysWhatItIs) {
  DieboldHost host;
  const auto country = dn::parse_country_info(host.done(Command::country_info));
  EXPECT_EQ(country->hardware, dn::hardware_stick);
  EXPECT_TRUE(dn::parse_firmware_info(host.done(Command::firmware_info)).ok());
  const auto memory = dn::parse_memory_info(host.done(Command::memory_info));
  EXPECT_EQ(memory->capacity, host.stick->core().options().store_bytes);
  EXPECT_LT(memory->free, memory->capacity);
  EXPECT_EQ(dn::parse_device_info(host.done(Command::device_info, {slot}))->serial, "000000000005");
  EXPECT_EQ(*dn::parse_single_number(host.done(Command::seconds_to_self_test)), 0U);

  auto response = host.done(Command::slot_info, {slot});
  EXPECT_EQ(response.parameters.size(), 11U);
  auto info = dn::parse_slot_info(response);
  EXPECT_EQ(info->slot, dn::slot_bit::inserted | dn::slot_bit::operational);
  EXPECT_EQ(info->tse, 0);
  EXPECT_EQ(info->algorithm, "ecdsa-plain-SHA384");
  EXPECT_EQ(info->signatures_left, 20'000'000U);
  host.set_up();
  EXPECT_EQ(dn::parse_slot_info(host.done(Command::slot_info, {slot}))->tse,
            dn::tse_bit::initialized);
  EXPECT_EQ(*dn::parse_single_number(host.done(Command::time_interval)), 24U * 3600);
  EXPECT_GT(*dn::parse_single_number(host.done(Command::seconds_to_self_test)), 24U * 3600);
  EXPECT_EQ(host.done(Command::update_variants).parameters.size(), 1U);

  host.done(Command::enter_maintenance, {slot});
  info = dn::parse_slot_info(host.done(Command::slot_info, {slot}));
  EXPECT_EQ(info->slot, dn::slot_bit::inserted | dn::slot_bit::maintenance);
  EXPECT_NE(host.status().state & dn::state_bit::maintenance, 0);
  host.done(Command::leave_maintenance, {slot});
  EXPECT_EQ(host.status().state & dn::state_bit::maintenance, 0);
}

TEST(DieboldStick, ListsClientsAndOpenTransactions) {
  DieboldHost host;
  host.set_up();
  host.login();
  host.done(Command::set_client, {"till-02"});
  host.done(Command::register_client, {slot});
  host.logout();
  EXPECT_EQ(host.fetch(Command::clients, {slot}, 2)->parameters,
            (Parameters{"till-01", "till-02"}));
  EXPECT_EQ(dn::parse_count(host.done(Command::client_count))->current, 2U);
  host.start();
  host.done(Command::set_client, {"till-01"});
  host.start();
  EXPECT_EQ(host.done(Command::open_transactions).parameters, (Parameters{"1", "2"}));
  EXPECT_EQ(host.done(Command::open_transactions, {"till-01"}).parameters, Parameters{"2"});
  EXPECT_EQ(host.done(Command::open_transactions, {"nobody"}).parameters, Parameters{});
  EXPECT_EQ(dn::parse_count(host.done(Command::transaction_count))->current, 2U);
  EXPECT_NE(host.status().state & dn::state_bit::transaction_started, 0);
  EXPECT_EQ(host.error_of(Command::finish, {"3", "0", "", "0"}), DeviceError::no_transaction);
}

TEST(DieboldStick, ATransactionCommandCanBeAbandoned) {
  DieboldHost host;
  host.set_up();
  const std::uint64_t counter = host.stick->core().signature_counter();
  host.send_step(Command::start, {}, "half");
  EXPECT_NE(host.status().state & dn::state_bit::command_open, 0);
  host.done(Command::abandon);
  EXPECT_EQ(host.status().state, dn::state_bit::fiscal_mode);
  EXPECT_EQ(host.stick->core().signature_counter(), counter);
  EXPECT_EQ(host.start().transaction, 1U);
}

TEST(DieboldStick, ExportsKeysCertificatesAndTheLastLog) {
  DieboldHost host;
  host.set_up();
  const dn::Signature start = host.start();
  EXPECT_EQ(host.fetch_binary(Command::export_serials, {slot}), start.serial);
  const Bytes point = host.fetch_binary(Command::export_public_key, {slot});
  const auto key = evidence::PublicKey::from_point(evidence::Curve::p384, point);
  ASSERT_TRUE(key.ok());
  const auto serial = key->serial();
  EXPECT_EQ(Bytes(serial.begin(), serial.end()), start.serial);

  const auto log = evidence::parse_log(host.fetch_binary(Command::export_last_log, {slot}));
  ASSERT_TRUE(log.ok()) << log.error().message;
  EXPECT_EQ(log->message.counter, start.counter);
  EXPECT_EQ(log->message.signature, start.signature);
  EXPECT_TRUE(key->verify(log->message.hash, log->signed_bytes, log->message.signature));

  const auto certificates = dn::parse_binaries(*host.fetch(Command::export_certificates, {slot}));
  ASSERT_TRUE(certificates.ok());
  EXPECT_TRUE(evidence::check_chain(*certificates, some_day_s).ok());
}

TEST(DieboldStick, ExportsOfAPeriodAndOfNumbers) {
  DieboldHost host;
  host.set_up();
  for (int receipt = 0; receipt < 5; ++receipt) {
    host.finish(host.start().transaction);
    host.pass(std::chrono::hours(1));
  }
  const auto transactions = [](const Bytes& archive) {
    return evidence::check_archive(archive).transactions;
  };
  EXPECT_EQ(transactions(host.fetch_binary(Command::export_transactions,
                                           {slot, "0000000002", "0000000004", ""})),
            3U);
  EXPECT_EQ(transactions(host.fetch_binary(
                Command::export_period,
                {slot, dn::time_text(some_day_s + 3600), dn::time_text(some_day_s + 7300), ""})),
            2U);
  EXPECT_EQ(host.error_of(Command::export_transactions, {slot, "7", "9", "nobody"}),
            DeviceError::no_data);
}

TEST(DieboldStick, DeletesWhatWasExported) {
  DieboldHost host;
  host.set_up();
  host.finish(host.start().transaction);
  host.login();
  EXPECT_EQ(host.error_of(Command::delete_exported, {slot, "1"}), DeviceError::no_data);
  const Bytes archive = host.fetch_binary(Command::export_all, {slot});
  EXPECT_EQ(host.error_of(Command::delete_exported, {slot, "1"}), DeviceError::parameter_value);
  const std::string size = std::to_string(archive.size());
  EXPECT_EQ(host.done(Command::delete_exported, {slot, size}).parameters, Parameters{size});
  const auto left = host.stick->core().logs();
  EXPECT_TRUE(left.empty());
  host.logout();
  EXPECT_TRUE(host.check_export().good());
}

TEST(DieboldStick, AWrongPinSaysHowManyTriesAreLeft) {
  DieboldHost host;
  host.set_up();
  const auto login = [&](const char* pin) {
    return *dn::parse_login(host.done(Command::login, {slot, "1", pin}));
  };
  EXPECT_EQ(login("00000").tries_left, 2U);
  EXPECT_EQ(login("00000").tries_left, 1U);
  EXPECT_EQ(login("00000").tries_left, 0U);
  EXPECT_EQ(login("12345").result, dn::LoginResult::blocked);
  host.replug();
  EXPECT_EQ(login("12345").result, dn::LoginResult::blocked);
  const auto unblocked =
      dn::parse_login(host.done(Command::unblock, {slot, "1", "123456", "54321"}));
  EXPECT_EQ(unblocked->result, dn::LoginResult::ok);
  EXPECT_EQ(login("54321").result, dn::LoginResult::ok);
  EXPECT_EQ(dn::parse_login(host.done(Command::change_pin, {slot, "1", "54321", "98765"}))->result,
            dn::LoginResult::ok);
  EXPECT_EQ(dn::parse_login(host.done(Command::change_puk, {slot, "1", "0", "654321"}))->result,
            dn::LoginResult::wrong);
  EXPECT_EQ(login("98765").result, dn::LoginResult::ok);
}

TEST(DieboldStick, ASelfTestTakesItsTimeAndMayFail) {
  DieboldHost host;
  host.done(Command::set_client, {"nobody"});
  const Instant before = host.driver->now;
  EXPECT_EQ(*dn::parse_self_test(host.done(Command::self_test, {slot})),
            dn::SelfTestResult::unknown_client);
  EXPECT_LT(host.driver->now - before, std::chrono::seconds(1));
  host.fault("before-command bit-flip code=112");
  host.done(Command::set_client, {"DN TSEProduction ef82abcedf"});
  EXPECT_EQ(*dn::parse_self_test(host.done(Command::self_test, {slot})),
            dn::SelfTestResult::failed);
  EXPECT_GE(host.driver->now - before, std::chrono::seconds(25));
  host.set_up();
}

TEST(DieboldStick, ALongExportIsFetchedWhileItIsMade) {
  DieboldOptions options;
  options.timing.export_first_byte = std::chrono::seconds(65);
  options.timing.export_bytes_per_s = 10'000;
  options.buffer_packet_bytes = 200;
  DieboldHost host(options);
  host.set_up();
  for (int receipt = 0; receipt < 10; ++receipt) host.finish(host.start().transaction);
  dn::Request request = dn::make_request(Command::export_all, {slot}, host.new_id());
  request.answer = dn::AnswerMode::in_buffer;
  request.buffer = 1;
  host.send(request);
  const Instant before = host.driver->now;
  dn::BufferFetch fetch(1);
  int empty = 0, pieces = 0;
  std::optional<dn::Response> whole;
  while (!whole && pieces < 1000) {
    const auto piece = host.done(Command::fetch_buffer, fetch.parameters());
    ++pieces;
    empty += dn::parse_buffer_packet(piece)->data.empty() ? 1 : 0;
    auto result = fetch.accept(piece);
    ASSERT_TRUE(result.ok()) << result.error().message;
    whole = *result;
    host.pass(std::chrono::milliseconds(500));
    EXPECT_EQ(host.error(), DeviceError::none) << "the status is answered meanwhile";
  }
  EXPECT_GT(pieces, 256) << "the number of the piece has wrapped";
  EXPECT_GE(empty, 64);
  EXPECT_GE(host.driver->now - before, std::chrono::seconds(66));
  ASSERT_TRUE(whole);
  EXPECT_TRUE(evidence::check_archive(dn::parse_binaries(*whole)->at(0)).good());
}

TEST(DieboldStick, APieceOfABufferCanBeFetchedTwiceButNotSkipped) {
  DieboldOptions options;
  options.buffer_packet_bytes = 100;
  DieboldHost host(options);
  dn::Request request = dn::make_request(Command::export_certificates, {slot}, host.new_id());
  request.answer = dn::AnswerMode::in_buffer;
  request.buffer = 3;
  host.send(request);
  host.pass(std::chrono::seconds(1));
  const auto first = host.done(Command::fetch_buffer, {"3", "0"}).parameters;
  EXPECT_EQ(host.done(Command::fetch_buffer, {"3", "0"}).parameters, first);
  EXPECT_NE(host.done(Command::fetch_buffer, {"3", "1"}).parameters.at(4), first.at(4));
  EXPECT_EQ(host.error_of(Command::fetch_buffer, {"3", "3"}), DeviceError::wrong_order);
  host.done(Command::reset_export, {slot});
  EXPECT_EQ(host.error_of(Command::fetch_buffer, {"3", "2"}), DeviceError::no_data);
}

TEST(DieboldStick, AFailedCommandLeavesNoOlderAnswerInItsBuffer) {
  DieboldHost host;
  EXPECT_TRUE(host.fetch(Command::export_serials, {slot}));
  EXPECT_FALSE(host.fetch(Command::export_last_log, {slot}));
  EXPECT_EQ(host.error(), DeviceError::no_log);
}

}  // namespace
}  // namespace tillbridge::simulator::tse
