// The wire format of the Swissbit TSE, byte by byte where its clients depend on the place, and
// there and back for the rest.

#include "tse/swissbit/protocol.hpp"

#include <numeric>

#include <gmock/gmock.h>

namespace tillbridge::tse::swissbit {
namespace {

using testing::HasSubstr;

Bytes padded(Bytes head) {
  head.resize(sector_bytes);
  return head;
}

/// There and back; the way back has to take the same opcode and bytes.
template <typename T>
T again(const T& command) {
  const Bytes block = encode(Command(command));
  EXPECT_EQ(block.size(), sector_bytes);
  const auto frame = parse_frame(block);
  EXPECT_TRUE(frame.has_value());
  const auto parsed = parse_command(*frame);
  const auto* known = std::get_if<Command>(&parsed);
  EXPECT_NE(known, nullptr) << "refused";
  const auto* same = known != nullptr ? std::get_if<T>(known) : nullptr;
  EXPECT_NE(same, nullptr) << "another command";
  if (same == nullptr) return {};
  EXPECT_EQ(encode(*known), block);
  return *same;
}

CommandStatus refusal(const Bytes& head) {
  const Bytes block = padded(head);
  const auto frame = parse_frame(block);
  EXPECT_TRUE(frame.has_value());
  const auto parsed = parse_command(*frame);
  const auto* status = std::get_if<CommandStatus>(&parsed);
  return status != nullptr ? *status : CommandStatus::ok;
}

TEST(SwissbitCommand, EachLooksAsClientsSendIt) {
  EXPECT_EQ(encode(Login{User::time_admin, "12345"}),
            padded({0, 9, 0x20, 0, 2, 5, '1', '2', '3', '4', '5'}));
  EXPECT_EQ(
      encode(ChangePuk{"123456", "654321"}),
      padded({0, 16, 0x23, 0, 6, '1', '2', '3', '4', '5', '6', 6, '6', '5', '4', '3', '2', '1'}));
  EXPECT_EQ(encode(ChangePin{User::admin, "12345", "54321"}),
            padded({0, 15, 0x24, 0, 1, 5, '1', '2', '3', '4', '5', 5, '5', '4', '3', '2', '1'}));
  EXPECT_EQ(encode(SelfTest{"ab"}), padded({0, 5, 0x40, 0, 2, 'a', 'b'}));
  EXPECT_EQ(encode(RegisterClient{"ab"}), padded({0, 5, 0x41, 0, 2, 'a', 'b'}));
  EXPECT_EQ(encode(DeregisterClient{"ab"}), padded({0, 5, 0x42, 0, 2, 'a', 'b'}));
  EXPECT_EQ(encode(ListClients{258}), padded({0, 6, 0x43, 0, 0, 0, 1, 2}));
  EXPECT_EQ(encode(EnableCtss{}), padded({0, 2, 0x60, 0}));
  EXPECT_EQ(encode(DisableCtss{}), padded({0, 2, 0x61, 0}));
  EXPECT_EQ(encode(Initialize{}), padded({0, 2, 0x70, 0}));
  EXPECT_EQ(encode(SetTime{0x01020304}), padded({0, 10, 0x80, 0, 0, 0, 0, 0, 1, 2, 3, 4}));
  EXPECT_EQ(encode(FetchAnswer{}), padded({0, 2, 0x83, 0}));
  EXPECT_EQ(encode(ListTransactions{1, "a"}), padded({0, 8, 0x85, 0, 0, 0, 0, 1, 1, 'a'}));
  EXPECT_EQ(encode(ReadCertificate{0x203}), padded({0, 6, 0x86, 0, 0, 0, 2, 3}));
  EXPECT_EQ(encode(OpenStep{Step::finish, "c", 7, 513, "T", false}),
            padded({0, 38, 0x90, 0, 2, 1, 'c', 0, 0, 0, 0, 0,   0, 0, 7, 0, 0, 0, 0, 0,
                    0, 2,  1,    0, 0, 0, 0,   0, 0, 0, 1, 'T', 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(encode(OpenStep{Step::start, "c", 0, 0, "", true})[2], 0x91);
  EXPECT_EQ(encode(CloseStep{}), padded({0, 2, 0x95, 0}));
}

TEST(SwissbitCommand, TheStickReadsWhatTheHostWrote) {
  EXPECT_EQ(again(Login{User::admin, "00042"}).pin, "00042");
  EXPECT_EQ(again(Logout{User::time_admin}).user, User::time_admin);
  EXPECT_EQ(again(ChangePuk{"123456", "654321"}).new_puk, "654321");
  EXPECT_EQ(again(ChangePin{User::time_admin, "1", "54321"}).new_pin, "54321");
  EXPECT_EQ(again(SelfTest{std::string(30, 'x')}).client, std::string(30, 'x'));
  again(RegisterClient{"till"});
  again(DeregisterClient{""});
  EXPECT_EQ(again(ListClients{99}).skip, 99U);
  again(EnableCtss{});
  again(DisableCtss{});
  again(Initialize{});
  again(Decommission{});
  EXPECT_EQ(again(SetTime{1'767'225'600}).unix_s, 1'767'225'600U);
  again(FetchAnswer{});
  EXPECT_EQ(again(ListTransactions{62, "till"}).client, "till");
  EXPECT_EQ(again(ReadCertificate{501}).offset, 501U);
  // The longest there is.
  const OpenStep open = again(
      OpenStep{Step::update, std::string(30, 'c'), ~0ULL, 65536, std::string(100, 't'), true});
  EXPECT_EQ(open.step, Step::update);
  EXPECT_EQ(open.transaction, ~0ULL);
  EXPECT_EQ(open.data_bytes, 65536U);
  EXPECT_EQ(open.type, std::string(100, 't'));
  EXPECT_TRUE(open.opcode_91);
  again(CloseStep{});
}

TEST(SwissbitCommand, ALengthOf2To510MakesACommand) {
  for (const Bytes& head : {Bytes{}, Bytes{0, 0, 0x60}, Bytes{0, 1, 0x60}, Bytes{1, 0xFF, 0x60},
                            Bytes{0xFF, 0xFF, 0x60}}) {
    EXPECT_FALSE(parse_frame(padded(head)).has_value());
  }
  const Bytes shortest = padded({0, 2, 0x60});
  EXPECT_EQ(parse_frame(shortest)->parameters.size(), 0U);
  EXPECT_EQ(parse_frame(shortest)->bytes.size(), 4U);
  const Bytes longest = padded({1, 0xFE, 0x60});
  EXPECT_EQ(parse_frame(longest)->parameters.size(), 508U);
  EXPECT_EQ(parse_frame(longest)->bytes.size(), 512U);
  EXPECT_FALSE(parse_frame(Bytes(511, 1)).has_value());
}

TEST(SwissbitCommand, WhatIsWrongWithOneIsSaidByItsStatus) {
  EXPECT_EQ(refusal({0, 2, 0x00, 0}), CommandStatus::unknown_command);
  EXPECT_EQ(refusal({0, 2, 0x87, 0}), CommandStatus::unknown_command);
  EXPECT_EQ(refusal({0, 2, 0x20, 0}), CommandStatus::syntax);
  EXPECT_EQ(refusal({0, 8, 0x20, 0, 1, 5, '1', '2', '3', '4'}), CommandStatus::syntax);
  EXPECT_EQ(refusal({0, 3, 0x95, 0, 0}), CommandStatus::syntax) << "bytes too many";
  EXPECT_EQ(refusal({0, 4, 0x20, 0, 3, 0}), CommandStatus::bad_parameter) << "unknown user";
  Bytes client{0, 34, 0x41, 0, 31};
  client.resize(36, 'x');
  EXPECT_EQ(refusal(client), CommandStatus::bad_parameter) << "31 characters";

  const auto open = [](OpenStep step) {
    const Bytes block = encode(Command(std::move(step)));
    return refusal(block);
  };
  EXPECT_EQ(open({Step::start, "c", 0, 0, "", false}), CommandStatus::ok);
  EXPECT_EQ(open({static_cast<Step>(3), "c", 0, 0, "", false}), CommandStatus::bad_parameter);
  EXPECT_EQ(open({Step::start, "", 0, 0, "", false}), CommandStatus::bad_parameter);
  EXPECT_EQ(open({Step::start, "c", 0, 65537, "", false}), CommandStatus::bad_parameter);
  EXPECT_EQ(open({Step::start, "c", 0, ~0ULL, "", false}), CommandStatus::bad_parameter);
  EXPECT_EQ(open({Step::start, "c", 0, 0, std::string(101, 't'), false}),
            CommandStatus::bad_parameter);
  Bytes lying = encode(Command(OpenStep{Step::start, "c", 0, 0, "T", false}));
  lying[23] = 0xFF;  // the type's length: more than there is
  EXPECT_EQ(refusal(lying), CommandStatus::syntax);
}

TEST(SwissbitAnswer, LooksAsClientsReadIt) {
  Answer answer{0x01020304, AnswerState::complete, CommandStatus::bad_parameter, {0xAA, 0xBB}};
  EXPECT_EQ(encode(answer), padded({1, 2, 3, 4, 0xFF, 0, 4, 0xAA, 0xBB, 0x10, 0x07}));
  const auto parsed = parse_answer(encode(answer));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->counter, answer.counter);
  EXPECT_EQ(parsed->status, answer.status);
  EXPECT_EQ(parsed->data, answer.data);

  answer.state = AnswerState::busy;
  EXPECT_EQ(encode(answer), padded({1, 2, 3, 4, 0xF3}));
  EXPECT_EQ(parse_answer(encode(answer))->state, AnswerState::busy);
  answer.state = AnswerState::waits_for_fetch;
  EXPECT_EQ(encode(answer), padded({1, 2, 3, 4, 0xFD}));
  EXPECT_EQ(parse_answer(padded({}))->state, AnswerState::none);

  answer = {1, AnswerState::complete, CommandStatus::ok, Bytes(answer_data_bytes, 7)};
  EXPECT_EQ(parse_answer(encode(answer))->data.size(), answer_data_bytes);
}

TEST(SwissbitAnswer, RubbishIsAnError) {
  EXPECT_FALSE(parse_answer(Bytes(511)).ok());
  EXPECT_FALSE(parse_answer(padded({0, 0, 0, 1, 0x20})).ok());
  EXPECT_FALSE(parse_answer(padded({0, 0, 0, 1, 0xFF, 0, 1})).ok());
  EXPECT_FALSE(parse_answer(padded({0, 0, 0, 1, 0xFF, 0x01, 0xFA})).ok()) << "506 do not fit";
  EXPECT_TRUE(parse_answer(padded({0, 0, 0, 1, 0xFF, 0x01, 0xF9})).ok());
}

TEST(SwissbitAnswer, DataOfEachKind) {
  EXPECT_EQ(encode(OpenedStep{0x0102}), (Bytes{0, 0, 0, 0, 0, 0, 1, 2}));
  EXPECT_EQ(parse_opened_step(encode(OpenedStep{77}))->block, 77U);
  EXPECT_FALSE(parse_opened_step(Bytes(7)).ok());

  ClosedStep closed;
  closed.transaction = 3;
  std::iota(closed.serial.begin(), closed.serial.end(), std::uint8_t{1});
  closed.time_s = 1'767'225'600;
  closed.counter = 42;
  closed.signature = Bytes(96, 0x5A);
  const Bytes data = encode(closed);
  ASSERT_EQ(data.size(), 8U + 32 + 8 + 8 + 8 + 96);
  EXPECT_EQ(data[7], 3);
  EXPECT_EQ(data[8], 1);
  EXPECT_EQ(data[55], 42);
  EXPECT_EQ(data[63], 96);
  const auto parsed = parse_closed_step(data);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->serial, closed.serial);
  EXPECT_EQ(parsed->time_s, closed.time_s);
  EXPECT_EQ(parsed->signature, closed.signature);
  EXPECT_FALSE(parse_closed_step(ByteView(data).first(data.size() - 1)).ok());
  EXPECT_FALSE(parse_closed_step(Bytes(64, 0xFF)).ok());

  const std::vector<std::string> clients(clients_per_page, std::string(client_id_bytes, 'c'));
  EXPECT_LE(encode_clients(clients).size(), answer_data_bytes);
  EXPECT_EQ(*parse_clients(encode_clients(clients)), clients);
  EXPECT_FALSE(parse_clients(Bytes{2, 'a'}).ok());
  EXPECT_FALSE(parse_clients({}).ok());
  const std::vector<std::uint64_t> numbers(transactions_per_page, 1ULL << 40U);
  EXPECT_LE(encode_transactions(numbers).size(), answer_data_bytes);
  EXPECT_EQ(*parse_transactions(encode_transactions(numbers)), numbers);
  EXPECT_FALSE(parse_transactions(Bytes(8, 1)).ok());
  const Bytes chunk(certificate_chunk_bytes, 'P');
  EXPECT_EQ(encode_certificate_chunk(chunk).size(), answer_data_bytes);
  EXPECT_EQ(*parse_certificate_chunk(encode_certificate_chunk(chunk)), chunk);
  EXPECT_FALSE(parse_certificate_chunk(Bytes{0, 2, 'x'}).ok());
}

TEST(SwissbitInfo, EachFieldHasItsPlace) {
  Info info;
  info.capacity_blocks = 0x11121314;
  info.used_blocks = 0x18;
  info.time_valid = info.ctss_active = true;
  info.state = State::decommissioned;
  info.import_running = true;
  info.puk_changed = info.time_admin_pin_changed = true;
  info.seconds_to_self_test = 0x24;
  info.seconds_to_time = 0xD0;
  info.open_transactions = 0x28;
  info.most_open_transactions = 0x2C;
  info.signatures = 0x30;
  info.most_signatures = 0x34;
  info.clients = 0x38;
  info.most_clients = 0x3C;
  info.certificate_end_s = 0x40;
  info.export_bytes = 0x48;
  info.hardware_version = 0x50;
  info.firmware_version = 0x54;
  info.public_point = Bytes(97, 0x04);
  info.serial.fill(0xCC);
  info.certification_id = "BSI-K-TR-0412-2020";
  const Bytes sector = encode(info);
  ASSERT_EQ(sector.size(), sector_bytes);
  EXPECT_EQ(std::string(sector.begin(), sector.begin() + 8), std::string("GMISRLS\0", 8));
  EXPECT_EQ(sector[0x14], 0x11);
  for (const unsigned place :
       {0x18U, 0x24U, 0x28U, 0x2CU, 0x30U, 0x34U, 0x38U, 0x3CU, 0x50U, 0x54U, 0xD0U}) {
    EXPECT_EQ(sector[place + 3], place);  // 32 bits, big-endian
  }
  EXPECT_EQ(sector[0x47], 0x40);
  EXPECT_EQ(sector[0x4F], 0x48);
  EXPECT_EQ(sector[0x1C], 0x05);
  EXPECT_EQ(sector[0x1D], 2);
  EXPECT_EQ(sector[0x1E], 1);
  EXPECT_EQ(sector[0x20], 0x05);
  EXPECT_EQ(sector[0x6A], 97);
  EXPECT_EQ(sector[0x6B], 0x04);
  EXPECT_EQ(sector[0x100], 0xCC);
  EXPECT_EQ(sector[0x11F], 0xCC);
  EXPECT_EQ(sector[0x120], 'B');
  EXPECT_EQ(sector[0x132], 0);

  const auto parsed = parse_info(sector);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(encode(*parsed), sector);
  EXPECT_EQ(parsed->certification_id, info.certification_id);
  EXPECT_EQ(parsed->public_point, info.public_point);
}

TEST(SwissbitInfo, RubbishIsAnError) {
  EXPECT_FALSE(parse_info(Bytes(512)).ok()) << "no customisation id";
  EXPECT_FALSE(parse_info(Bytes(511, 'x')).ok());
  Bytes sector = encode(Info{});
  EXPECT_TRUE(parse_info(sector).ok());
  sector[0x1D] = 3;
  EXPECT_FALSE(parse_info(sector).ok());
  sector[0x1D] = 1;
  sector[0x6A] = 102;
  EXPECT_FALSE(parse_info(sector).ok()) << "a key that runs into the next field";
}

TEST(SwissbitPlaces, FilesAndPointers) {
  EXPECT_EQ(tar_file(1), "TSE_TAR.001");
  EXPECT_EQ(tar_file(99), "TSE_TAR.099");
  const Bytes sector = encode(Pointers{0x0800, 0x01020304, 3});
  EXPECT_EQ(Bytes(sector.begin(), sector.begin() + 12),
            (Bytes{0, 0, 8, 0, 1, 2, 3, 4, 0, 0, 0, 3}));
  EXPECT_EQ(parse_pointers(sector)->comm, 0x01020304U);
  EXPECT_FALSE(parse_pointers(padded({})).ok());
  EXPECT_FALSE(parse_pointers(Bytes(11, 1)).ok());
}

TEST(SwissbitCredentials, DeriveFromSeedAndSerial) {
  // Computed apart from this code: the last digits of three 64-bit numbers of a SHA-256.
  std::array<std::uint8_t, 32> serial{};
  std::iota(serial.begin(), serial.end(), std::uint8_t{0});
  const FactoryCredentials usual = factory_credentials(serial);
  EXPECT_EQ(usual.puk, "033324");
  EXPECT_EQ(usual.admin_pin, "75506");
  EXPECT_EQ(usual.time_admin_pin, "97106");
  const FactoryCredentials other = factory_credentials(serial, "another seed");
  EXPECT_EQ(other.puk, "864152");
  EXPECT_EQ(other.admin_pin, "35833");
  EXPECT_EQ(other.time_admin_pin, "03237");
}

TEST(SwissbitStatus, SaysWhatToDo) {
  EXPECT_THAT(text_of(CommandStatus::no_time), HasSubstr("(TSE status 1002)"));
  EXPECT_THAT(text_of(login_failed(2)), HasSubstr("2 tries are left"));
  EXPECT_THAT(text_of(login_failed(1)), HasSubstr("1 try is left"));
  EXPECT_THAT(text_of(login_failed(0)), HasSubstr("blocked"));
  EXPECT_EQ(tries_left(login_failed(2)), 2);
  EXPECT_FALSE(tries_left(CommandStatus::pin_blocked).has_value());
  EXPECT_THAT(text_of(static_cast<CommandStatus>(0x1304)), HasSubstr("part 4"));
  EXPECT_THAT(text_of(static_cast<CommandStatus>(0x4242)), HasSubstr("4242"));
  for (std::uint32_t number = 0; number <= 0xFFFF; ++number) {
    ASSERT_FALSE(text_of(static_cast<CommandStatus>(number)).empty());
  }
}

}  // namespace
}  // namespace tillbridge::tse::swissbit
