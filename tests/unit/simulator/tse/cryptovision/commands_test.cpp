// Every command of the card, with its answers and its failures, through the whole stick.

#include "tests/unit/simulator/tse/cryptovision/card_bench.hpp"
#include "tse/evidence/log_message.hpp"

namespace tillbridge::simulator::tse {
namespace {

using testing::ElementsAre;

class CryptovisionCommands : public CardTest {
 protected:
  Parameters pins(std::string_view user, std::string_view pin) {
    return {Parameter::text(user), bytes(pin)};
  }
  std::uint64_t number(CommandCode code, const Parameters& parameters) {
    const Reply reply = command(code, parameters);
    EXPECT_TRUE(reply.ok());
    protocol::ParameterReader reader(reply.parameters);
    return reader.big_endian();
  }
  std::uint64_t status(std::uint16_t item) {
    return number(CommandCode::get_status, {Parameter::number(item)});
  }
  std::size_t config_bytes(std::uint16_t item) {
    const Reply reply = command(CommandCode::get_config_data, {Parameter::number(item)});
    EXPECT_TRUE(reply.ok());
    return std::get<Bytes>(reply.parameters.at(0).value).size();
  }
};

TEST_F(CryptovisionCommands, NothingGoesBeforeStart) {
  for (const CommandCode code :
       {CommandCode::get_pin_states, CommandCode::get_status, CommandCode::start_transaction,
        CommandCode::shutdown, CommandCode::update_firmware}) {
    expect_failure(Failure::not_started, code);
  }
  const Reply start = command(CommandCode::start);
  ASSERT_EQ(start.parameters.size(), 2U);
  const auto serial_number = core().serial();
  EXPECT_EQ(std::get<Bytes>(start.parameters[1].value),
            Bytes(serial_number.begin(), serial_number.begin() + 16));
  expect_ok(CommandCode::shutdown);
  expect_failure(Failure::not_started, CommandCode::get_pin_states);
}

TEST_F(CryptovisionCommands, SetUpOfTheFirstFirmware) {
  start_up();
  EXPECT_EQ(command(CommandCode::get_pin_states).parameters,
            protocol::parameters_of(protocol::PinStates{true, true, true, true}));
  expect_failure(Failure::not_authorised, CommandCode::authenticate_user, pins("Admin", admin_pin));
  expect_failure(Failure::parameter_mismatch, CommandCode::initialize_pins,
                 {bytes(admin_puk), bytes(admin_pin), bytes(time_puk), bytes("short")});
  initialize_pins();
  EXPECT_EQ(command(CommandCode::get_pin_states).parameters,
            protocol::parameters_of(protocol::PinStates{}));
  expect_failure(Failure::not_authorised, CommandCode::initialize_pins,
                 {bytes(admin_puk), bytes(admin_pin), bytes(time_puk), bytes(time_pin)});
  EXPECT_EQ(life_cycle(), protocol::LifeCycle::not_initialized);
  expect_failure(Failure::not_authenticated, CommandCode::initialize);
  log_in("TimeAdmin", time_pin);
  expect_failure(Failure::not_authorised, CommandCode::initialize);
  log_out("TimeAdmin");
  log_in("Admin", admin_pin);
  expect_ok(CommandCode::initialize);
  expect_failure(Failure::system_operation_signing, CommandCode::initialize);
  EXPECT_EQ(life_cycle(), protocol::LifeCycle::no_time);
  expect_ok(CommandCode::update_time, {Parameter::big_endian(opening_time_s, 8)});
  EXPECT_EQ(life_cycle(), protocol::LifeCycle::active);
}

TEST_F(CryptovisionCommands, SetUpOfTheSecondFirmware) {
  start_up();
  for (const auto& [user, puk, pin] :
       {std::tuple{"Admin", admin_puk, admin_pin}, std::tuple{"TimeAdmin", time_puk, time_pin}}) {
    expect_ok(CommandCode::initialize_pins, {Parameter::text(user), bytes(puk)});
    expect_failure(Failure::not_authorised, CommandCode::initialize_pins,
                   {Parameter::text(user), bytes(puk)});
    EXPECT_THAT(command(CommandCode::unblock_user, {Parameter::text(user), bytes(puk), bytes(pin)})
                    .parameters,
                ElementsAre(Parameter::byte(0)));
    log_in(user, pin);
  }
  EXPECT_EQ(command(CommandCode::get_pin_states).parameters,
            protocol::parameters_of(protocol::PinStates{}));
  expect_failure(Failure::unknown_user, CommandCode::initialize_pins,
                 {Parameter::text("Nobody"), bytes(admin_puk)});
}

TEST_F(CryptovisionCommands, ThreeWrongPinsBlockAndThePukUnblocks) {
  set_up();
  const auto login = [&](std::string_view pin) {
    return command(CommandCode::authenticate_user, pins("Admin", pin)).parameters;
  };
  EXPECT_THAT(login("00000000"), ElementsAre(Parameter::byte(1), Parameter::number(2)));
  EXPECT_THAT(login("00000000"), ElementsAre(Parameter::byte(1), Parameter::number(1)));
  EXPECT_THAT(login(admin_pin), ElementsAre(Parameter::byte(0), Parameter::number(3)));
  log_out("Admin");
  for (std::uint16_t left = 3; left-- > 0;) {
    EXPECT_THAT(login("00000000"), ElementsAre(Parameter::byte(1), Parameter::number(left)));
  }
  EXPECT_THAT(login(admin_pin), ElementsAre(Parameter::byte(2), Parameter::number(0)));
  plug_in();
  start_up();
  EXPECT_THAT(login(admin_pin), ElementsAre(Parameter::byte(2), Parameter::number(0)));
  const auto unblock = [&](std::string_view user, std::string_view puk) {
    return command(CommandCode::unblock_user,
                   {Parameter::text(user), bytes(puk), bytes("99999999")})
        .parameters;
  };
  EXPECT_THAT(unblock("Admin", "0000000000"), ElementsAre(Parameter::byte(1)));
  EXPECT_THAT(unblock("Admin", admin_puk), ElementsAre(Parameter::byte(0)));
  EXPECT_THAT(unblock("Nobody", admin_puk), ElementsAre(Parameter::byte(3)));
  EXPECT_THAT(login("99999999"), ElementsAre(Parameter::byte(0), Parameter::number(3)));
  EXPECT_THAT(command(CommandCode::authenticate_user, pins("Nobody", admin_pin)).parameters,
              ElementsAre(Parameter::byte(3), Parameter::number(0)));
  expect_failure(Failure::parameter_mismatch, CommandCode::authenticate_user,
                 pins("Admin", "1234567"));
  expect_failure(Failure::unknown_user, CommandCode::logout, {Parameter::text("Nobody")});
  expect_failure(Failure::not_authenticated, CommandCode::logout, {Parameter::text("TimeAdmin")});
}

TEST_F(CryptovisionCommands, AReceiptWithAnUpdate) {
  set_up();
  const auto started = start_transaction();
  ASSERT_TRUE(started);
  EXPECT_EQ(started->transaction, 1U);
  EXPECT_EQ(started->time_s, opening_time_s);
  EXPECT_EQ(started->signature.size(), 64U);
  const Reply updated = command(CommandCode::update_transaction,
                                {Parameter::big_endian(1, 1), Parameter::text("till-1"),
                                 bytes("three beers"), Parameter::text("Bestellung-V1")});
  const auto update = protocol::parse_signed_answer(updated.parameters, false);
  ASSERT_TRUE(update.ok());
  EXPECT_EQ(update->counter, started->counter + 1);
  const auto finished = finish_transaction(1);
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->counter, started->counter + 2);

  const Reply log = command(CommandCode::read_log_message);
  const auto parsed = evidence::parse_log(std::get<Bytes>(log.parameters.at(0).value));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->message.counter, finished->counter);
  EXPECT_EQ(parsed->message.signature, finished->signature);
  const auto serial_number = core().serial();
  EXPECT_EQ(finished->serial, Bytes(serial_number.begin(), serial_number.end()));
}

TEST_F(CryptovisionCommands, TransactionsFailByName) {
  CardSetup setup;
  setup.core.most_open_transactions = 2;
  setup.core.certificate_end = static_cast<std::int64_t>(opening_time_s) + 1000;
  make_card(setup);
  start_up();
  initialize_pins();
  expect_failure(Failure::not_initialized, CommandCode::start_transaction, start_parameters());
  log_in("Admin", admin_pin);
  expect_ok(CommandCode::initialize);
  expect_ok(CommandCode::map_ers_to_key, {Parameter::text("till-1"), serial()});
  expect_failure(Failure::time_not_set, CommandCode::start_transaction, start_parameters());
  expect_ok(CommandCode::update_time, {Parameter::big_endian(opening_time_s, 4)});
  expect_failure(Failure::unknown_client, CommandCode::start_transaction,
                 start_parameters("till-2"));
  expect_failure(Failure::parameter_mismatch, CommandCode::start_transaction, {});
  (void)start_transaction();
  (void)start_transaction();
  expect_failure(Failure::start_failed, CommandCode::start_transaction, start_parameters());
  expect_failure(Failure::no_such_transaction, CommandCode::finish_transaction,
                 finish_parameters(3));
  expect_failure(
      Failure::no_such_transaction, CommandCode::update_transaction,
      {Parameter::big_endian(3, 4), Parameter::text("till-1"), bytes(""), Parameter::text("")});
  expect_ok(CommandCode::map_ers_to_key, {Parameter::text("till-2"), serial()});
  expect_failure(Failure::no_such_transaction, CommandCode::finish_transaction,
                 finish_parameters(1, "till-2"));
  expect_ok(CommandCode::deactivate);
  EXPECT_EQ(life_cycle(), protocol::LifeCycle::deactivated);
  expect_failure(Failure::deactivated, CommandCode::finish_transaction, finish_parameters(1));
  expect_ok(CommandCode::activate);
  expect_failure(Failure::not_deactivated, CommandCode::activate);
  driver_->now += seconds(2000);
  expect_failure(Failure::certificate_expired, CommandCode::finish_transaction,
                 finish_parameters(1));
}

TEST_F(CryptovisionCommands, ADisabledCardSignsNothingMore) {
  set_up();
  log_in("Admin", admin_pin);
  expect_ok(CommandCode::disable);
  EXPECT_EQ(life_cycle(), protocol::LifeCycle::disabled);
  expect_failure(Failure::disabled, CommandCode::start_transaction, start_parameters());
  expect_failure(Failure::disabled, CommandCode::update_time,
                 {Parameter::big_endian(opening_time_s, 4)});
  expect_good(command(CommandCode::export_data, all()).archive);
}

TEST_F(CryptovisionCommands, UsedUpAndFull) {
  CardSetup setup;
  setup.core.most_signatures = 12;
  make_card(setup);
  set_up();
  while (core().signatures_left() > 0)
    (void)command(CommandCode::start_transaction, start_parameters());
  expect_failure(Failure::start_failed, CommandCode::start_transaction, start_parameters());
  expect_failure(Failure::finish_failed, CommandCode::finish_transaction, finish_parameters(1));
  EXPECT_THAT(command(CommandCode::get_wear_indicator).parameters,
              ElementsAre(Parameter::number(100)));

  CardSetup small;
  small.core.store_bytes = 64U << 10U;
  make_card(small);
  set_up();
  Reply reply;
  do {
    reply = command(CommandCode::start_transaction, start_parameters());
  } while (reply.ok());
  EXPECT_EQ(reply.failure, Failure::storage);
}

TEST_F(CryptovisionCommands, TimeWantsSomebodyAndSense) {
  set_up();
  expect_failure(Failure::not_authenticated, CommandCode::update_time,
                 {Parameter::big_endian(opening_time_s, 4)});
  log_in("TimeAdmin", time_pin);
  expect_failure(Failure::time_update, CommandCode::update_time, {Parameter::big_endian(0, 4)});
  expect_failure(Failure::parameter_mismatch, CommandCode::update_time,
                 {Parameter::number(1), Parameter::number(2)});
  // Java: as many bytes as it takes.
  expect_ok(CommandCode::update_time, {Parameter::big_endian(opening_time_s + 100, 5)});
  const auto started = start_transaction();
  ASSERT_TRUE(started);
  EXPECT_GE(started->time_s, opening_time_s + 100);
}

TEST_F(CryptovisionCommands, KeysAndClients) {
  set_up();
  const Reply serials = command(CommandCode::get_serial_numbers);
  const auto keys = protocol::parse_key_uses(std::get<Bytes>(serials.parameters.at(0).value));
  ASSERT_TRUE(keys.ok());
  EXPECT_THAT(*keys, ElementsAre(protocol::KeyUse{core().serial(), true, true, true}));
  const auto mappings = [&] {
    std::vector<std::string> clients;
    const Reply reply = command(CommandCode::get_ers_mappings);
    const auto list =
        protocol::parse_client_mappings(std::get<Bytes>(reply.parameters.at(0).value));
    EXPECT_TRUE(list.ok());
    for (const auto& mapping : *list) clients.push_back(mapping.client);
    return clients;
  };
  EXPECT_THAT(mappings(), ElementsAre("till-1"));
  const Parameters second{Parameter::text("till-2"), serial()};
  expect_failure(Failure::not_authenticated, CommandCode::map_ers_to_key, second);
  log_in("Admin", admin_pin);
  expect_ok(CommandCode::map_ers_to_key, second);
  EXPECT_THAT(mappings(), ElementsAre("till-1", "till-2"));
  EXPECT_EQ(status(0), 2U);
  expect_failure(Failure::no_key, CommandCode::map_ers_to_key,
                 {Parameter::text("till-3"), Parameter::bytes(Bytes(32, 1))});
  expect_failure(Failure::parameter_mismatch, CommandCode::map_ers_to_key,
                 {Parameter::text(std::string(31, 'x')), serial()});
  (void)start_transaction();
  expect_failure(Failure::parameter_mismatch, CommandCode::map_ers_to_key,
                 {Parameter::text("till-1"), Parameter::bytes({})});
  expect_ok(CommandCode::map_ers_to_key, {Parameter::text("till-2"), Parameter::bytes({})});
  expect_failure(Failure::unknown_client, CommandCode::map_ers_to_key,
                 {Parameter::text("till-2"), Parameter::bytes({})});
  EXPECT_THAT(mappings(), ElementsAre("till-1"));

  const auto key = [&](std::uint16_t item) {
    return command(CommandCode::get_key_data, {Parameter::number(item), serial()}).parameters;
  };
  EXPECT_THAT(key(0), ElementsAre(Parameter::big_endian(core().signature_counter(), 4)));
  EXPECT_THAT(key(1), ElementsAre(Parameter::big_endian(
                          static_cast<std::uint64_t>(core().certificate_end()) + 1, 8)));
  EXPECT_THAT(key(2), ElementsAre(Parameter::bytes(core().public_key().point())));
  expect_failure(Failure::id_not_found, CommandCode::get_key_data,
                 {Parameter::number(3), serial()});
  expect_failure(Failure::no_key, CommandCode::get_key_data,
                 {Parameter::number(0), Parameter::bytes(Bytes(32))});
  Bytes certificates =
      std::get<Bytes>(command(CommandCode::get_certificates).parameters.at(0).value);
  certificates.resize(certificates.size() + evidence::tar_trailer_bytes);
  const auto files = evidence::read_tar(certificates);
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(files->size(), 3U) << "leaf, authority, root";
}

TEST_F(CryptovisionCommands, FactsInTheWidthsThatClientsRead) {
  CardSetup setup;
  setup.core.time_valid = std::chrono::hours(1);
  make_card(setup);
  set_up();
  EXPECT_EQ(config_bytes(0), 2U);
  EXPECT_EQ(
      std::get<Bytes>(
          command(CommandCode::get_config_data, {Parameter::number(1)}).parameters.at(0).value),
      protocol::encode_signature_algorithm(evidence::Hash::sha256));
  EXPECT_EQ(config_bytes(2), 2U);
  EXPECT_EQ(config_bytes(3), 2U);
  EXPECT_EQ(config_bytes(4), 4U);
  EXPECT_EQ(config_bytes(5), 4U);
  EXPECT_EQ(config_bytes(6), 2U);
  EXPECT_EQ(number(CommandCode::get_config_data, {Parameter::number(6)}), 3600U);
  EXPECT_EQ(number(CommandCode::get_config_data, {Parameter::number(7)}), 3U) << "unixTime";
  EXPECT_EQ(command(CommandCode::get_config_data, {Parameter::number(8)}).parameters.at(0).type(),
            Parameter::Type::text);
  expect_failure(Failure::id_not_found, CommandCode::get_config_data, {Parameter::number(9)});

  (void)start_transaction();
  (void)start_transaction();
  EXPECT_EQ(status(0), 1U);
  EXPECT_EQ(status(1), 2U);
  EXPECT_THAT(command(CommandCode::get_status, {Parameter::number(2)}).parameters,
              ElementsAre(Parameter::numbers({1, 2})));
  EXPECT_EQ(status(3), 2U);
  EXPECT_THAT(command(CommandCode::get_status, {Parameter::number(4)}).parameters,
              ElementsAre(Parameter::big_endian(3, 1)))
      << "one byte: Java looks at the first one only";
  EXPECT_EQ(status(5), setup.core.store_bytes);
  EXPECT_EQ(status(6), setup.core.store_bytes - core().store_bytes_used());
  expect_failure(Failure::id_not_found, CommandCode::get_status, {Parameter::number(7)});
  driver_->now += std::chrono::hours(2);
  EXPECT_EQ(life_cycle(), protocol::LifeCycle::no_time);
}

TEST_F(CryptovisionCommands, ExportsSelect) {
  set_up();
  const auto request = [&](auto change) {
    protocol::ExportRequest asked;
    change(asked);
    return protocol::parameters_of(asked);
  };
  for (int i = 0; i < 3; ++i) receipt();
  const auto logs = [&](const Parameters& parameters) {
    Reply reply = command(CommandCode::export_data, parameters);
    EXPECT_TRUE(reply.ok());
    reply.archive.resize(reply.archive.size() + evidence::tar_trailer_bytes);
    const auto files = evidence::read_tar(reply.archive);
    EXPECT_TRUE(files.ok());
    return files.ok() ? files->size() - 4 : 0;  // info.csv, three certificates
  };
  EXPECT_EQ(logs(request([](auto& asked) { asked.transaction = 2; })), 2U);
  EXPECT_EQ(logs(request([](auto& asked) { asked.client = "till-1"; })), 6U);
  EXPECT_EQ(logs(request([](auto& asked) {
              asked.from = 2;
              asked.to = 3;
            })),
            4U);
  EXPECT_EQ(logs(all()), core().logs().size());
  expect_failure(Failure::too_many_records, CommandCode::export_data,
                 request([](auto& asked) { asked.most_records = 5; }));
  expect_failure(Failure::id_not_found, CommandCode::export_data,
                 request([](auto& asked) { asked.client = "nobody"; }));
  expect_failure(Failure::transaction_number_not_found, CommandCode::export_data,
                 request([](auto& asked) { asked.transaction = 9; }));
  expect_failure(Failure::no_data, CommandCode::export_data,
                 request([](auto& asked) { asked.from_time_s = 1'900'000'000; }));
  expect_failure(Failure::parameter_mismatch, CommandCode::export_data, request([](auto& asked) {
                   asked.transaction = 1;
                   asked.from = 1;
                 }));
  expect_failure(Failure::parameter_mismatch, CommandCode::export_data, {});
}

TEST_F(CryptovisionCommands, ExportMoreDataGoesOnWhereAnArchiveEnds) {
  set_up();
  for (int i = 0; i < 20; ++i) receipt();
  std::uint64_t held = 0, logs = 0;
  Bytes whole;
  while (true) {
    const Reply reply =
        command(CommandCode::export_more_data,
                {serial(), Parameter::big_endian(held, 4), Parameter::big_endian(7, 4)});
    if (reply.failure) {
      EXPECT_EQ(*reply.failure, Failure::no_data);
      break;
    }
    ASSERT_TRUE(reply.ok());
    Bytes archive = reply.archive;
    archive.resize(archive.size() + evidence::tar_trailer_bytes);
    const auto files = evidence::read_tar(archive);
    ASSERT_TRUE(files.ok());
    ASSERT_LE(files->size(), 4U + 7U);
    const auto log = evidence::parse_log(files->back().content);
    ASSERT_TRUE(log.ok());
    EXPECT_GT(log->message.counter, held);
    held = log->message.counter;
    logs += files->size() - 4;
    // Later pieces without the head that each begins with.
    const Bytes part(reply.archive.begin() +
                         (whole.empty() ? 0 : static_cast<std::ptrdiff_t>(core().head_bytes())),
                     reply.archive.end());
    whole.insert(whole.end(), part.begin(), part.end());
  }
  EXPECT_EQ(held, core().signature_counter());
  EXPECT_EQ(logs, core().logs().size());
  expect_good(whole);
  EXPECT_TRUE(
      command(CommandCode::export_more_data, {serial(), Parameter::bytes({}), Parameter::bytes({})})
          .ok())
      << "Java's way to say from the beginning, and all";
  expect_failure(Failure::no_key, CommandCode::export_more_data,
                 {Parameter::bytes({}), Parameter::bytes({}), Parameter::bytes({})});
}

TEST_F(CryptovisionCommands, OnlyWhatWasExportedIsDeleted) {
  set_up();
  receipt();
  expect_failure(Failure::not_authenticated, CommandCode::erase);
  log_in("Admin", admin_pin);
  expect_failure(Failure::unexported_data, CommandCode::erase);
  const std::uint64_t exported = core().signature_counter();
  (void)command(CommandCode::export_data, all());
  receipt();
  expect_failure(Failure::unexported_data, CommandCode::erase);
  expect_failure(Failure::no_key, CommandCode::delete_data_up_to,
                 {Parameter::bytes(Bytes(32)), Parameter::big_endian(exported, 4)});
  (void)start_transaction();
  expect_failure(Failure::unexported_data, CommandCode::delete_data_up_to,
                 {serial(), Parameter::big_endian(exported, 4)});
  (void)finish_transaction(3);
  expect_ok(CommandCode::delete_data_up_to, {serial(), Parameter::big_endian(exported, 4)});
  EXPECT_EQ(core().logs().front().counter, exported + 1);
  (void)command(CommandCode::export_data, all());
  expect_ok(CommandCode::erase);
  EXPECT_TRUE(core().logs().empty());
  expect_failure(Failure::no_data, CommandCode::export_data, all());
  expect_failure(Failure::log_retrieval, CommandCode::read_log_message);
}

TEST_F(CryptovisionCommands, DeletingEndsAnExportThatRuns) {
  set_up();
  while (core().store_bytes_used() < 20000) receipt();
  log_in("Admin", admin_pin);
  (void)command(CommandCode::export_data, all());
  write_request(request_of(protocol::encode_command(CommandCode::export_data, all())));
  driver_->now += seconds(1);
  expect_ok(CommandCode::erase);
  EXPECT_EQ(exchange(request_of({protocol::fetch_more})).state, ResponseState::acknowledged);
}

TEST_F(CryptovisionCommands, OnlyTheVendorUpdates) {
  set_up();
  const Parameters image{Parameter::bytes(Bytes(100, 1))};
  for (const CommandCode code : {CommandCode::update_firmware, CommandCode::update_certificate}) {
    expect_failure(Failure::not_authenticated, code, image);
    log_in("TimeAdmin", time_pin);
    expect_failure(Failure::not_authorised, code, image);
    log_out("TimeAdmin");
    log_in("Admin", admin_pin);
    expect_failure(Failure::parameter_mismatch, code, image);
    log_out("Admin");
  }
}

TEST_F(CryptovisionCommands, ShutdownLogsOutAndKeepsTheTime) {
  set_up();
  log_in("Admin", admin_pin);
  expect_ok(CommandCode::shutdown);
  EXPECT_EQ(exchange(request_of({0, 0}, protocol::Mode::allow_suspend)).state,
            ResponseState::acknowledged);
  start_up();
  EXPECT_EQ(life_cycle(), protocol::LifeCycle::active);
  expect_failure(Failure::not_authenticated, CommandCode::deactivate);
}

TEST_F(CryptovisionCommands, QuirksOfOldFirmware) {
  CardSetup setup;
  setup.options.long_public_key = true;
  setup.options.miscounts_four_open_transactions = true;
  setup.options.wrong_mapping_length = true;
  make_card(setup);
  set_up();
  const Bytes key = std::get<Bytes>(
      command(CommandCode::get_key_data, {Parameter::number(2), serial()}).parameters.at(0).value);
  ASSERT_EQ(key.size(), 254U);
  EXPECT_EQ(Bytes(key.begin() + 188, key.begin() + 188 + 65), core().public_key().point());

  log_in("Admin", admin_pin);
  for (const char* client : {"till-2", "till-3", "till-4"}) {
    expect_ok(CommandCode::map_ers_to_key, {Parameter::text(client), serial()});
  }
  const Bytes mappings =
      std::get<Bytes>(command(CommandCode::get_ers_mappings).parameters.at(0).value);
  EXPECT_EQ(protocol::parse_client_mappings(mappings)->size(), 4U);
  EXPECT_NE(std::size_t{mappings.at(2)}, mappings.size() - 3) << "the length is wrong";

  for (int i = 0; i < 3; ++i) (void)start_transaction();
  const Parameters list{Parameter::number(2)};
  EXPECT_TRUE(command(CommandCode::get_status, list).ok());
  (void)start_transaction();
  const Reply broken = command(CommandCode::get_status, list);
  EXPECT_EQ(broken.state, ResponseState::acknowledged)
      << "the client asks for the four bytes that are missing, and there are none";
  (void)start_transaction();
  EXPECT_TRUE(command(CommandCode::get_status, list).ok()) << "five are right again";
}

TEST_F(CryptovisionCommands, AnExistingImageIsUsedAsItIs) {
  auto disk = std::make_unique<MemoryMedium>(64 * 2048);
  FatOptions fat;
  fat.label = "OTHER";
  fat.files = {{"TSE-IO.BIN", Bytes(8192)}};
  ASSERT_TRUE(write_fat_image(*disk, fat).ok());
  Bytes before(block_bytes), after(block_bytes);
  ASSERT_TRUE(disk->read(partition_first_block, before).ok());
  auto opened = TseCore::open(cryptovision_core_options(), make_memory_store());
  ASSERT_TRUE(opened.ok());
  const auto medium =
      make_cryptovision_medium(std::move(disk), {"NEW", 512}, *std::move(opened), {}, {}, bench_);
  ASSERT_TRUE(medium.ok());
  ASSERT_TRUE((*medium)->read(partition_first_block, after).ok());
  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace tillbridge::simulator::tse
