#include "tse/diebold/fields.hpp"

#include <set>

#include <gmock/gmock.h>

#include "tse/diebold/base64.hpp"

namespace tillbridge::tse::diebold {
namespace {

Response response(Command command, Parameters parameters) {
  return {static_cast<std::uint16_t>(command), std::move(parameters), "id"};
}

Bytes text_bytes(std::string_view text) {
  return {text.begin(), text.end()};
}

TEST(DieboldBase64, AsRfc4648Says) {
  const std::vector<std::pair<const char*, const char*>> vectors{{"", ""},
                                                                 {"f", "Zg=="},
                                                                 {"fo", "Zm8="},
                                                                 {"foo", "Zm9v"},
                                                                 {"foob", "Zm9vYg=="},
                                                                 {"fooba", "Zm9vYmE="},
                                                                 {"foobar", "Zm9vYmFy"}};
  for (const auto& [data, text] : vectors) {
    EXPECT_EQ(to_base64(text_bytes(data)), text);
    const auto back = from_base64(text);
    ASSERT_TRUE(back.ok()) << text;
    EXPECT_EQ(*back, text_bytes(data));
  }
  EXPECT_EQ(to_base64(Bytes{0xFB, 0xFF}), "+/8=");
  for (const char* wrong :
       {"Z", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "====", "Z===", "Zm9v ", "Z-9v"}) {
    EXPECT_FALSE(from_base64(wrong)) << wrong;
  }
}

TEST(DieboldTime, BothWays) {
  EXPECT_EQ(time_text(0), "01.01.1970 00:00:00");
  EXPECT_EQ(time_text(1798761599), "31.12.2026 23:59:59");
  EXPECT_EQ(parse_time("31.12.2026 23:59:59"), 1798761599);
  EXPECT_EQ(parse_time("29.02.2028 12:00:00"), 1835438400);
  for (const char* wrong : {"29.02.2027 12:00:00", "31.12.2026 24:00:00", "31.12.26 23:59:59", "",
                            "31-12-2026 23:59:59", "3a.12.2026 23:59:59"}) {
    EXPECT_FALSE(parse_time(wrong)) << wrong;
  }
}

TEST(DieboldNumber, DigitsOnly) {
  EXPECT_EQ(parse_number("0000000017"), 17U);
  EXPECT_EQ(parse_number("9223372036854775807"), 9223372036854775807U);
  for (const char* wrong :
       {"", "-1", "+1", " 1", "1 ", "0x1", "9223372036854775808", "99999999999999999999"}) {
    EXPECT_FALSE(parse_number(wrong)) << wrong;
  }
}

TEST(DieboldFields, StatusHasTwoHexadecimalFields) {
  EXPECT_EQ(parameters_of(DeviceStatus{DeviceError::client_not_set, 0x07}),
            (Parameters{"010A", "07"}));
  const auto status = parse_status(response(Command::status, {"011b", "1F"}));
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->error, DeviceError::open_transactions);
  EXPECT_EQ(status->state, 0x1F);
  EXPECT_FALSE(parse_status(response(Command::status, {"11B", "00"})));
  EXPECT_FALSE(parse_status(response(Command::status, {"0000"})));
}

TEST(DieboldFields, EveryErrorAndCommandHasItsText) {
  std::set<std::string> texts;
  int errors = 0;
  for (std::uint32_t number = 0; number <= 0x01FF; ++number) {
    const std::string text = text_of(static_cast<DeviceError>(number));
    if (text == "unknown error") continue;
    ++errors;
    texts.insert(text);
  }
  EXPECT_EQ(errors, 35);
  EXPECT_EQ(texts.size(), 35U);
  int commands = 0;
  for (std::uint16_t number = 0; number < 1000; ++number) commands += known_command(number) ? 1 : 0;
  EXPECT_EQ(commands, 48);
  EXPECT_STREQ(name_of(static_cast<Command>(105)), "unknown command");
}

TEST(DieboldFields, SlotInfoBothWaysAndFromOldFirmware) {
  SlotInfo info;
  info.slot = slot_bit::inserted | slot_bit::operational;
  info.tse = tse_bit::initialized;
  info.crypto_info = "0001000200010002";
  info.capacity = 6979321856;
  info.free = 1000;
  info.certificate_end_s = 1798761599;
  info.signatures_left = 19'999'999;
  info.algorithm = "ecdsa-plain-SHA384";
  info.description = "text";
  Parameters parameters = parameters_of(info);
  EXPECT_EQ(parameters,
            (Parameters{"03", "01", "0", "0001000200010002", "6979321856", "1000",
                        "31.12.2026 23:59:59", "19999999", "ecdsa-plain-SHA384", "1", "text"}));
  auto back = parse_slot_info(response(Command::slot_info, parameters));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(parameters_of(*back), parameters);

  parameters[4] = parameters[5] = "";
  parameters.resize(9);
  back = parse_slot_info(response(Command::slot_info, parameters));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->capacity, 0U);
  parameters.resize(8);
  EXPECT_FALSE(parse_slot_info(response(Command::slot_info, parameters)));
}

TEST(DieboldFields, SignatureOfStartHasMoreFields) {
  Signature signature;
  signature.time_s = 1798761599;
  signature.transaction = 4711;
  signature.serial = Bytes(32, 0xAB);
  signature.counter = 99;
  signature.signature = Bytes(96, 0x17);
  const auto start = parse_signature(response(Command::start_end, start_parameters(signature)));
  ASSERT_TRUE(start.ok());
  EXPECT_EQ(start->transaction, 4711U);
  EXPECT_EQ(start->serial, signature.serial);
  const auto end = parse_signature(response(Command::finish_end, end_parameters(signature)));
  ASSERT_TRUE(end.ok());
  EXPECT_EQ(end->counter, 99U);
  EXPECT_EQ(end->signature, signature.signature);
  const auto wrong =
      parse_signature(response(Command::finish_end, {"31.12.2026 23:59:59", "x", ""}));
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().message, testing::HasSubstr("'finish transaction, end'"));
}

TEST(DieboldFields, AFailedLoginWithoutTriesCountsAsTheLastOne) {
  EXPECT_EQ(parse_login(response(Command::login, {"1", "3"}))->result, LoginResult::ok);
  EXPECT_EQ(parse_login(response(Command::login, {"0"}))->result, LoginResult::ok);
  EXPECT_EQ(parse_login(response(Command::login, {"2", "2"}))->tries_left, 2U);
  EXPECT_EQ(parse_login(response(Command::login, {"2"}))->tries_left, 0U);
  EXPECT_EQ(parse_login(response(Command::login, {"3", "0"}))->result, LoginResult::blocked);
  EXPECT_FALSE(parse_login(response(Command::login, {})));
}

TEST(DieboldFields, ProcessDataIsCutIntoPackets) {
  EXPECT_TRUE(process_data_packets({}).empty());
  const Bytes data(1025, 'x');
  const auto packets = process_data_packets(data);
  ASSERT_EQ(packets.size(), 3U);
  EXPECT_EQ(packets[2], (Parameters{"2", "eA=="}));
  EXPECT_EQ(from_base64(packets[0][1])->size(), 512U);
}

TEST(DieboldFields, ListsAndTheRest) {
  EXPECT_EQ(*parse_numbers(response(Command::open_transactions, {})), std::vector<std::uint64_t>{});
  EXPECT_EQ(parse_numbers(response(Command::open_transactions, {"3", "9"}))->size(), 2U);
  EXPECT_FALSE(parse_numbers(response(Command::open_transactions, {"3", ""})));
  EXPECT_EQ(parse_binaries(response(Command::export_public_key, {"QQ==", "Qg=="}))->at(1),
            Bytes{'B'});
  const auto count = parse_count(response(Command::client_count, parameters_of(Count{100, 2})));
  EXPECT_EQ(count->most, 100U);
  const auto memory =
      parse_memory_info(response(Command::memory_info, parameters_of(MemoryInfo{7, 3})));
  EXPECT_EQ(memory->free, 3U);
  const auto device =
      parse_device_info(response(Command::device_info, parameters_of(DeviceInfo{})));
  EXPECT_EQ(device->slots, 1U);
  EXPECT_EQ(
      parse_country_info(response(Command::country_info, parameters_of(CountryInfo{})))->hardware,
      hardware_stick);
  EXPECT_EQ(
      parse_firmware_info(response(Command::firmware_info, parameters_of(FirmwareInfo{})))->build,
      497U);
  EXPECT_EQ(*parse_self_test(response(Command::self_test, {"3"})), SelfTestResult::unknown_client);
  EXPECT_FALSE(parse_self_test(response(Command::self_test, {"4"})));
}

}  // namespace
}  // namespace tillbridge::tse::diebold
