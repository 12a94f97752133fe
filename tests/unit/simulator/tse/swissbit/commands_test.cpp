// Every command of a Swissbit TSE, and every status it can end with.

#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/tse/swissbit/swissbit_host.hpp"

namespace tillbridge::simulator::tse {
namespace {

class SwissbitCommands : public SwissbitTest {};

TEST_F(SwissbitCommands, SetUpAHundredReceiptsAndTheExportVerifies) {
  set_up();
  std::uint64_t counter = info().signatures, transaction = 0;
  for (int i = 0; i < 100; ++i) {
    const auto started = start();
    EXPECT_EQ(started.transaction, ++transaction);
    EXPECT_EQ(started.counter, ++counter);
    // Process data from none to many blocks.
    const auto finished = finish(started.transaction, Bytes(static_cast<std::size_t>(i) * 37, 'd'));
    EXPECT_EQ(finished.transaction, transaction);
    EXPECT_EQ(finished.counter, ++counter);
    EXPECT_EQ(finished.serial, info().serial);
    EXPECT_EQ(finished.signature.size(), 96U);
  }
  const auto report = audit();
  EXPECT_TRUE(report.good());
  EXPECT_EQ(report.transactions, 100U);
  EXPECT_EQ(report.finished_transactions, 100U);
  EXPECT_EQ(report.transaction_logs, 200U);
  EXPECT_EQ(report.keys, 1U);
}

TEST_F(SwissbitCommands, TheSignatureAnsweredIsTheOneInTheStore) {
  set_up();
  const auto started = start();
  const Bytes data = bytes_of("Beleg^1.00_0.00_0.00_0.00_0.00^1.00:Bar");
  const auto finished = finish(started.transaction, data);
  const Answer<Bytes> last = core_->last_log();
  ASSERT_TRUE(last.ok());
  const auto parsed = ::tillbridge::tse::parse_log(*last);
  ASSERT_TRUE(parsed.ok());
  const auto& log = std::get<::tillbridge::tse::TransactionLog>(parsed->message.content);
  EXPECT_EQ(log.client, till);
  EXPECT_EQ(log.process_data, data);
  EXPECT_EQ(log.process_type, "Kassenbeleg-V1");
  EXPECT_EQ(parsed->message.signature, finished.signature);
  EXPECT_EQ(parsed->message.counter, finished.counter);
  EXPECT_EQ(parsed->message.time_s, finished.time_s);
}

TEST_F(SwissbitCommands, InfoIsALiveView) {
  wire::Info now = info();
  EXPECT_EQ(now.customization, "GMISRLS");
  EXPECT_EQ(now.state, wire::State::uninitialized);
  EXPECT_FALSE(now.puk_changed || now.admin_pin_changed || now.time_admin_pin_changed);
  EXPECT_FALSE(now.time_valid || now.self_test_passed || now.ctss_active || now.import_running);
  EXPECT_EQ(now.seconds_to_time, 0U);
  EXPECT_EQ(now.seconds_to_self_test, 0U);
  EXPECT_EQ(now.public_point, core_->public_key().point());
  EXPECT_EQ(now.serial, core_->serial());
  EXPECT_EQ(now.certificate_end_s, 2'051'222'400U);
  EXPECT_EQ(now.most_signatures, 20'000'000U);

  set_up();
  now = info();
  EXPECT_EQ(now.state, wire::State::initialized);
  EXPECT_TRUE(now.puk_changed && now.admin_pin_changed && now.time_admin_pin_changed);
  EXPECT_TRUE(now.time_valid && now.self_test_passed && now.ctss_active);
  EXPECT_EQ(now.clients, 1U);
  EXPECT_EQ(now.open_transactions, 0U);
  EXPECT_EQ(now.used_blocks * 512U, core_->store_bytes_used());
  EXPECT_EQ(now.export_bytes, core_->store_bytes_used() + 1024);

  const std::uint32_t to_time = now.seconds_to_time, to_test = now.seconds_to_self_test;
  EXPECT_LE(to_time, 1800U);
  EXPECT_GT(to_time, 1700U);
  driver_->now += 100s;
  now = info();
  EXPECT_EQ(now.seconds_to_time, to_time - 100);
  EXPECT_EQ(now.seconds_to_self_test, to_test - 100);

  const auto opened = open_step(wire::Step::start, till, 0, 0);
  EXPECT_EQ(opened.status, CommandStatus::ok);
  EXPECT_TRUE(info().import_running);
  const std::uint32_t signatures = info().signatures;
  expect_ok(wire::CloseStep{});
  now = info();
  EXPECT_FALSE(now.import_running);
  EXPECT_EQ(now.signatures, signatures + 1);
  EXPECT_EQ(now.open_transactions, 1U);
}

TEST_F(SwissbitCommands, ASelfTestComesFirstAndATestOfAClientMayFail) {
  const auto pins = factory();
  for (const wire::Command& command : std::vector<wire::Command>{
           wire::Login{wire::User::admin, pins.admin_pin}, wire::ChangePuk{pins.puk, puk},
           wire::ChangePin{wire::User::admin, pins.admin_pin, admin_pin}, wire::SetTime{today},
           wire::RegisterClient{till}, wire::EnableCtss{}, wire::Initialize{}}) {
    EXPECT_EQ(status(command), CommandStatus::self_test_required);
  }
  EXPECT_EQ(status(wire::SelfTest{"nobody"}), CommandStatus::unknown_client);
  EXPECT_FALSE(info().self_test_passed);
  expect_ok(wire::Login{wire::User::admin, pins.admin_pin});
  EXPECT_EQ(status(wire::Initialize{}), CommandStatus::self_test_not_passed);
}

TEST_F(SwissbitCommands, FactoryCredentialsHaveToBeReplacedFirst) {
  const auto pins = factory();
  EXPECT_EQ(status(wire::SelfTest{"nobody"}), CommandStatus::unknown_client);
  expect_ok(wire::Login{wire::User::admin, pins.admin_pin});
  EXPECT_EQ(status(wire::SetTime{today}), CommandStatus::puk_must_be_changed);
  expect_ok(wire::ChangePuk{pins.puk, puk});
  EXPECT_EQ(status(wire::RegisterClient{till}), CommandStatus::pin_must_be_changed);
  expect_ok(wire::ChangePin{wire::User::admin, pins.admin_pin, admin_pin});
  EXPECT_EQ(status(wire::SetTime{today}), CommandStatus::pin_must_be_changed);
  expect_ok(wire::ChangePin{wire::User::time_admin, pins.time_admin_pin, time_pin});
  expect_ok(wire::SetTime{today});
}

TEST_F(SwissbitCommands, ThreeWrongPinsBlockForGood) {
  set_up();
  replug();
  EXPECT_EQ(status(wire::SelfTest{till}), CommandStatus::ok);
  const wire::Login wrong{wire::User::time_admin, "99999"}, right{wire::User::time_admin, time_pin};
  EXPECT_EQ(status(wire::Login{wire::User::time_admin, "123"}), CommandStatus::bad_parameter);
  EXPECT_EQ(status(wrong), wire::login_failed(2));
  expect_ok(right);
  EXPECT_EQ(status(wrong), wire::login_failed(2));
  EXPECT_EQ(status(wrong), wire::login_failed(1));
  EXPECT_EQ(status(wrong), wire::login_failed(0));
  EXPECT_EQ(status(right), CommandStatus::pin_blocked);
  replug();
  EXPECT_EQ(status(wire::SelfTest{till}), CommandStatus::ok);
  EXPECT_EQ(status(right), CommandStatus::pin_blocked) << "a power cycle does not help";

  EXPECT_EQ(status(wire::ChangePuk{"000000", "654321"}), wire::login_failed(2));
  EXPECT_EQ(status(wire::ChangePuk{"0", "654321"}), CommandStatus::bad_parameter);
  EXPECT_EQ(status(wire::ChangePin{wire::User::admin, "00000", "54321"}), wire::login_failed(2));
  EXPECT_EQ(status(wire::ChangePin{wire::User::admin, admin_pin, "1"}),
            CommandStatus::bad_parameter);
}

TEST_F(SwissbitCommands, WhoMayDoWhat) {
  set_up();
  EXPECT_EQ(status(wire::Logout{wire::User::time_admin}), CommandStatus::not_logged_in);
  expect_ok(wire::Logout{wire::User::admin});
  EXPECT_EQ(status(wire::SetTime{today}), CommandStatus::not_authorised);
  expect_ok(wire::Login{wire::User::time_admin, time_pin});
  expect_ok(wire::SetTime{today + 1});
  for (const wire::Command& command :
       std::vector<wire::Command>{wire::RegisterClient{"till-02"}, wire::DeregisterClient{till},
                                  wire::EnableCtss{}, wire::DisableCtss{}, wire::Decommission{}}) {
    EXPECT_EQ(status(command), CommandStatus::not_authorised);
  }
  EXPECT_EQ(status(wire::Initialize{}), CommandStatus::already_initialized);
  receipt();  // needs nobody
}

TEST_F(SwissbitCommands, WhatStandsInTheWayOfASignature) {
  replace_transport_pins();
  expect_ok(wire::Login{wire::User::admin, admin_pin});
  expect_ok(wire::RegisterClient{till});
  expect_ok(wire::SelfTest{till});
  const wire::OpenStep open{wire::Step::start, till, 0, 0, "", false};
  EXPECT_EQ(status(open), CommandStatus::not_initialized);
  EXPECT_EQ(status(wire::Decommission{}), CommandStatus::not_initialized);
  EXPECT_EQ(status(wire::Initialize{}), CommandStatus::ctss_off);
  expect_ok(wire::EnableCtss{});
  EXPECT_EQ(status(wire::Initialize{}), CommandStatus::no_time);
  expect_ok(wire::SetTime{today});
  expect_ok(wire::Initialize{});
  expect_ok(wire::DisableCtss{});
  EXPECT_EQ(status(open), CommandStatus::ctss_off);
  expect_ok(wire::EnableCtss{});
  driver_->now += 31min;
  EXPECT_EQ(status(open), CommandStatus::no_time);
  expect_ok(wire::SetTime{today + 60});
  EXPECT_EQ(status(wire::SelfTest{"stranger"}), CommandStatus::unknown_client);
  EXPECT_EQ(status(open), CommandStatus::self_test_not_passed);
  expect_ok(wire::SelfTest{till});
  receipt();

  EXPECT_EQ(status(wire::CloseStep{}), CommandStatus::no_step_open);
  EXPECT_EQ(sign(wire::Step::start, 0, {}, "stranger").first, CommandStatus::unknown_client);
  EXPECT_EQ(sign(wire::Step::finish, 77, {}).first, CommandStatus::not_started);
  EXPECT_EQ(sign(wire::Step::update, 77, {}).first, CommandStatus::not_started);
  expect_ok(wire::RegisterClient{"till-02"});
  const auto started = start();
  EXPECT_EQ(sign(wire::Step::finish, started.transaction, {}, "till-02").first,
            CommandStatus::not_allowed);
  EXPECT_EQ(sign(wire::Step::update, started.transaction, Bytes(5, 'u')).first, CommandStatus::ok);
  EXPECT_EQ(status(wire::DeregisterClient{till}), CommandStatus::client_has_open_transactions);
  EXPECT_EQ(status(wire::Decommission{}), CommandStatus::open_transactions);
  finish(started.transaction);
  expect_ok(wire::DeregisterClient{"till-02"});
  EXPECT_EQ(status(wire::DeregisterClient{"till-02"}), CommandStatus::unknown_client);
  audit();
}

TEST_F(SwissbitCommands, ProcessDataIsAwaitedBlockByBlock) {
  set_up();
  const auto started = start();
  const Bytes data = pattern_bytes(1200, 5);
  const auto opened = wire::parse_opened_step(
      open_step(wire::Step::finish, till, started.transaction, data.size(), true).data);
  ASSERT_TRUE(opened.ok());
  EXPECT_GT(opened->block, 0U);
  const std::uint32_t signatures = info().signatures;
  EXPECT_EQ(status(wire::CloseStep{}), CommandStatus::data_missing);
  write_data(opened->block, Bytes(data.begin(), data.begin() + 512));
  write_data(opened->block + 2, Bytes(data.begin() + 1024, data.end()));
  EXPECT_EQ(status(wire::CloseStep{}), CommandStatus::data_missing) << "one block of three";
  EXPECT_EQ(info().signatures, signatures);
  write_data(opened->block + 3, Bytes(512, 'z'));  // beyond what was announced
  write_data(opened->block - 1, Bytes(512, 'z'));
  write_data(opened->block + 1, Bytes(data.begin() + 512, data.begin() + 1024));
  EXPECT_EQ(read_blocks(places_.store + opened->block + 1, 1),
            Bytes(data.begin() + 512, data.begin() + 1024));
  expect_ok(wire::CloseStep{});
  const auto parsed = ::tillbridge::tse::parse_log(*core_->last_log());
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(std::get<::tillbridge::tse::TransactionLog>(parsed->message.content).process_data,
            data);
  audit();
}

TEST_F(SwissbitCommands, SomeClientsWriteTheirDataToTheStoresBeginning) {
  set_up();
  const auto started = start();
  const Bytes first_block = read_blocks(places_.store, 1);
  ASSERT_EQ(open_step(wire::Step::finish, till, started.transaction, 20, true).status,
            CommandStatus::ok);
  // A cached write: the data, then what the page held before.
  Bytes page = read_blocks(places_.store, 8);
  const std::string text = "Beleg^1.19_0_0_0_0^";
  std::copy(text.begin(), text.end(), page.begin());
  page[19] = '!';
  write_blocks(places_.store, page);
  expect_ok(wire::CloseStep{});
  EXPECT_EQ(read_blocks(places_.store, 1), first_block) << "nothing in the store changes";
  const auto parsed = ::tillbridge::tse::parse_log(*core_->last_log());
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(std::get<::tillbridge::tse::TransactionLog>(parsed->message.content).process_data,
            bytes_of(text + "!"));
  audit();
}

TEST_F(SwissbitCommands, AnUnfinishedStepIsGivenUpByTheNextOne) {
  set_up();
  const auto started = start();
  const std::uint32_t signatures = info().signatures;
  ASSERT_EQ(open_step(wire::Step::finish, till, started.transaction, 100).status,
            CommandStatus::ok);
  finish(started.transaction);
  EXPECT_EQ(info().signatures, signatures + 1);
  audit();
}

TEST_F(SwissbitCommands, ListsComeInPages) {
  Setting setting;
  setting.most_clients = 20;
  setting.most_open_transactions = 70;
  plug(setting);
  set_up();
  for (int i = 1; i < 20; ++i) expect_ok(wire::RegisterClient{"till-x" + std::to_string(i)});
  EXPECT_EQ(status(wire::RegisterClient{"one too many"}), CommandStatus::too_many_clients);
  EXPECT_EQ(status(wire::RegisterClient{""}), CommandStatus::bad_parameter);
  std::vector<std::string> clients;
  while (true) {
    const auto page = wire::parse_clients(
        ask(wire::ListClients{static_cast<std::uint32_t>(clients.size())}).data);
    ASSERT_TRUE(page.ok());
    if (page->empty()) break;
    clients.insert(clients.end(), page->begin(), page->end());
  }
  EXPECT_EQ(clients, core_->clients());

  for (int i = 0; i < 69; ++i) start();
  start("till-x7");
  EXPECT_EQ(sign(wire::Step::start, 0, {}).first, CommandStatus::too_many_transactions);
  const auto page = [&](std::uint32_t skip, const std::string& client) {
    const auto numbers = wire::parse_transactions(ask(wire::ListTransactions{skip, client}).data);
    EXPECT_TRUE(numbers.ok());
    return numbers.ok() ? *numbers : std::vector<std::uint64_t>{};
  };
  EXPECT_EQ(page(0, till).size(), 62U);
  EXPECT_EQ(page(62, till).size(), 7U);
  EXPECT_EQ(page(69, till).size(), 0U);
  EXPECT_EQ(page(0, "till-x7"), std::vector<std::uint64_t>{70});
  EXPECT_EQ(page(62, "").size(), 8U);
  EXPECT_EQ(status(wire::ListTransactions{0, "stranger"}), CommandStatus::unknown_client);
}

TEST_F(SwissbitCommands, TheCertificatesComeInChunks) {
  Bytes pem;
  while (true) {
    const auto chunk = wire::parse_certificate_chunk(
        ask(wire::ReadCertificate{static_cast<std::uint32_t>(pem.size())}).data);
    ASSERT_TRUE(chunk.ok());
    if (chunk->empty()) break;
    pem.insert(pem.end(), chunk->begin(), chunk->end());
  }
  const auto chain = ::tillbridge::tse::certificates_in(pem);
  ASSERT_TRUE(chain.ok());
  EXPECT_EQ(*chain, core_->chain());
  EXPECT_EQ(status(wire::ReadCertificate{static_cast<std::uint32_t>(pem.size()) + 1}),
            CommandStatus::bad_parameter);
}

TEST_F(SwissbitCommands, LongAnswersHaveToBeFetched) {
  EXPECT_EQ(status(wire::FetchAnswer{}), CommandStatus::nothing_to_fetch);
  send(wire::SelfTest{"nobody"});
  EXPECT_EQ(answer().state, AnswerState::busy);
  const Instant begun = driver_->now;
  EXPECT_EQ(wait().state, AnswerState::waits_for_fetch);
  EXPECT_GE(driver_->now - begun, 24s);
  EXPECT_EQ(answer().state, AnswerState::waits_for_fetch) << "as long as nobody asks for it";
  send(wire::FetchAnswer{});
  const auto fetched = wait();
  EXPECT_EQ(fetched.state, AnswerState::complete);
  EXPECT_EQ(fetched.status, CommandStatus::unknown_client);

  Setting setting;
  setting.options.fetch_after = Duration(0);
  plug(setting);
  send(wire::SelfTest{"nobody"});
  EXPECT_EQ(wait().state, AnswerState::complete);
}

TEST_F(SwissbitCommands, SigningTakesItsTime) {
  set_up();
  ASSERT_EQ(open_step(wire::Step::start, till, 0, 0).status, CommandStatus::ok);
  const Instant begun = driver_->now;
  const std::uint64_t polls = bench_->witness.reads_while_busy();
  expect_ok(wire::CloseStep{});
  EXPECT_GE(driver_->now - begun, 250ms);
  EXPECT_LT(driver_->now - begun, 350ms);
  EXPECT_GE(bench_->witness.reads_while_busy() - polls, 5U);
}

TEST_F(SwissbitCommands, StartingUpAndReadingTheStoreTakeTheirTime) {
  Setting setting;
  setting.timing.start_up = 3s;
  setting.timing.export_first_byte = 2s;
  setting.timing.export_bytes_per_s = 1024;
  plug(setting);
  replug();
  const Instant begun = driver_->now;
  send(wire::ListClients{});
  wait();
  EXPECT_GE(driver_->now - begun, 2900ms);
  EXPECT_LT(driver_->now - begun, 3200ms);
  const Instant reading = driver_->now;
  static_cast<void>(read_blocks(places_.store, 2));
  static_cast<void>(read_blocks(places_.store + 2, 2));
  static_cast<void>(info());
  EXPECT_EQ(driver_->now - reading, 4s);
}

TEST_F(SwissbitCommands, WhatIsNoCommandIsIgnoredAndWhatIsUnknownRefused) {
  const std::uint32_t counter = answer().counter;
  EXPECT_EQ(answer().state, AnswerState::none);
  send_raw({0, 0, 0x40, 0});
  send_raw({0, 1, 0x40, 0});
  send_raw({0x01, 0xFF, 0x40, 0});
  EXPECT_EQ(answer().counter, counter);
  EXPECT_EQ(bench_->witness.commands(), 0U);

  const auto raw_status = [&](Bytes head) {
    send_raw(std::move(head));
    return wait().status;
  };
  EXPECT_EQ(raw_status({0, 2, 0x99, 0}), CommandStatus::unknown_command);
  EXPECT_EQ(raw_status({0, 2, 0x20, 0}), CommandStatus::syntax);
  EXPECT_EQ(raw_status({0, 3, 0x60, 0, 1}), CommandStatus::syntax);
  EXPECT_EQ(raw_status({0, 9, 0x20, 0, 7, 5, '1', '2', '3', '4', '5'}),
            CommandStatus::bad_parameter);
  Bytes long_client{0, 34, 0x41, 0, 31};
  long_client.resize(36, 'a');
  EXPECT_EQ(raw_status(long_client), CommandStatus::bad_parameter);
  // What stands behind the command's length does not matter: a cached write leaves old bytes there.
  Bytes littered = wire::encode(wire::ListClients{});
  std::fill(littered.begin() + 8, littered.end(), std::uint8_t{0xEE});
  EXPECT_EQ(raw_status(littered), CommandStatus::ok);
}

TEST_F(SwissbitCommands, ADecommissionedStickCanStillBeRead) {
  set_up();
  receipt();
  expect_ok(wire::Decommission{});
  EXPECT_EQ(info().state, wire::State::decommissioned);
  for (const wire::Command& command : std::vector<wire::Command>{
           wire::Login{wire::User::admin, admin_pin}, wire::SetTime{today}, wire::SelfTest{till},
           wire::Initialize{}, wire::OpenStep{wire::Step::start, till, 0, 0, "", false}}) {
    EXPECT_EQ(status(command), CommandStatus::decommissioned);
  }
  EXPECT_EQ(audit().finished_transactions, 1U);
}

TEST_F(SwissbitCommands, SignaturesAreUsedUp) {
  Setting setting;
  setting.most_signatures = 15;
  plug(setting);
  set_up();
  const auto started = start();
  while (info().signatures < 15) {
    ASSERT_EQ(sign(wire::Step::update, started.transaction, {}).first, CommandStatus::ok);
  }
  EXPECT_EQ(sign(wire::Step::finish, started.transaction, {}).first,
            CommandStatus::signatures_used_up);
  audit();
}

TEST_F(SwissbitCommands, TheStoreIsFull) {
  Setting setting;
  setting.store_bytes = 256U << 10U;
  plug(setting);
  set_up();
  const auto started = start();
  CommandStatus last = CommandStatus::ok;
  for (int i = 0; i < 300 && last == CommandStatus::ok; ++i) {
    last = sign(wire::Step::update, started.transaction, Bytes(8000, 'u')).first;
  }
  EXPECT_EQ(last, CommandStatus::store_full);
  audit();
}

TEST_F(SwissbitCommands, TheCertificateExpires) {
  Setting setting;
  setting.certificate_end = static_cast<std::int64_t>(today) + 600;
  plug(setting);
  set_up();
  receipt();
  driver_->now += 11min;
  EXPECT_EQ(sign(wire::Step::start, 0, {}).first, CommandStatus::certificate_expired);
  EXPECT_EQ(status(wire::SetTime{today + 700}), CommandStatus::certificate_expired);
  audit();
}

}  // namespace
}  // namespace tillbridge::simulator::tse
