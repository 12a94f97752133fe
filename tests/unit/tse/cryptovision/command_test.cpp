// Commands, parameters, answers and the DER lists of the cryptovision protocol.
#include "tse/cryptovision/command.hpp"

#include <gmock/gmock.h>

#include "channel/bytes/limits.hpp"
#include "tests/unit/tse/cryptovision/hex.hpp"
#include "tse/cryptovision/der_lists.hpp"
#include "tse/cryptovision/frame.hpp"

namespace tillbridge::tse::cryptovision {
namespace {

using testing::ElementsAre;

TEST(ParameterList, EveryTypeByteForByte) {
  const Parameters parameters{Parameter::byte(5), Parameter::bytes(Bytes{1, 2, 3}),
                              Parameter::number(0x1234), Parameter::text("Admin"),
                              Parameter::numbers({1, 0x01020304})};
  const Bytes bytes = hex(
      "01 0001 05  02 0003 010203  03 0002 1234  04 0005 41646d696e  05 0008 00000001 01020304");
  EXPECT_EQ(encode(parameters), bytes);
  const auto parsed = parse_parameters(bytes);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, parameters);
  EXPECT_TRUE(parse_parameters({})->empty());
}

TEST(ParameterList, WrongOnesAreRefused) {
  for (const char* text : {"01", "01 0001", "01 0002 0505", "01 0000", "03 0001 05",
                           "05 0003 000000", "00 0000", "06 0000", "02 0004 010203"}) {
    const auto parsed = parse_parameters(hex(text));
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().code, ErrorCode::malformed) << text;
  }
  Bytes many;
  for (std::size_t i = 0; i <= limits::cryptovision_parameters; ++i) {
    many.insert(many.end(), {2, 0, 0});
  }
  EXPECT_EQ(parse_parameters(many).error().code, ErrorCode::limit);
}

TEST(ParameterList, IsReadInOrderAndByType) {
  const Parameters parameters{Parameter::text("a"), Parameter::big_endian(700, 2),
                              Parameter::number(9), Parameter::bytes({})};
  ParameterReader reader(parameters);
  EXPECT_EQ(reader.text(), "a");
  EXPECT_EQ(reader.big_endian(), 700U);
  EXPECT_EQ(reader.big_endian(), 9U);
  EXPECT_EQ(reader.text(), "") << "an empty byte array stands for no text";
  EXPECT_TRUE(reader.finished());
  EXPECT_EQ(reader.byte(), 0U);
  EXPECT_FALSE(reader.ok());

  ParameterReader other(parameters);
  EXPECT_EQ(other.number(), 0U) << "a text";
  EXPECT_FALSE(other.ok());
  EXPECT_EQ(other.text(), "") << "failed for good";
}

TEST(ParameterList, NumbersComeInAnyWidth) {
  EXPECT_EQ(number_of(hex("07")), 7U);
  EXPECT_EQ(number_of(hex("00ffffffff")), 0xFFFFFFFFU) << "as Java's BigInteger writes it";
  EXPECT_EQ(number_of(hex("00ffffffffffffffff")), 0xFFFFFFFFFFFFFFFFU);
  EXPECT_EQ(number_of({}), std::nullopt);
  EXPECT_EQ(number_of(hex("010000000000000000")), std::nullopt);
}

TEST(Commands, AreReadBack) {
  const Bytes bytes = encode_command(CommandCode::shutdown, {Parameter::byte(1)});
  EXPECT_EQ(bytes, hex("5c54 00ff 0004 01 0001 01"));
  const auto command = parse_command(bytes);
  ASSERT_TRUE(command.ok());
  EXPECT_EQ(command->code, 0xFFU);
  EXPECT_EQ(command->parameters, hex("01 0001 01"));
  for (const char* text :
       {"", "c5", "5c54 0000", "5c55 0000 0000", "5c54 0000 0001", "5c54 0000 0000 00"}) {
    EXPECT_FALSE(parse_command(hex(text)).ok()) << text;
  }
}

TEST(Commands, HaveNames) {
  EXPECT_STREQ(name_of(CommandCode::map_ers_to_key), "MapERStoKey");
  EXPECT_STREQ(name_of(CommandCode::update_firmware), "UpdateFirmware");
  EXPECT_EQ(name_of(static_cast<CommandCode>(0x42)), nullptr);
  EXPECT_EQ(text_of(Failure::not_authenticated), "not authenticated");
  EXPECT_EQ(text_of(Failure::no_storage), "no storage");
  EXPECT_EQ(text_of(static_cast<Failure>(0x8100)), "error 8100");
}

TEST(Exports, AsEachClientAsksForAll) {
  // C#: no bound is all ones, no limit of records is 0.
  const Bytes sharp =
      hex("04 0000  02 0004 ffffffff  02 0004 00000000 02 0004 ffffffff  02 0004 00000000"
          "02 0004 ffffffff  02 0004 00000000");
  EXPECT_EQ(encode(parameters_of(ExportRequest{})), sharp);
  // The vendor's Java: an empty number is none, others are as short as can be, and a bound of all
  // ones has a leading zero.
  const Bytes java =
      hex("04 0000  02 0000  02 0001 00  02 0005 00ffffffff  02 0001 00  02 0005 00ffffffff"
          "02 0005 00ffffffff");
  // python: times of eight bytes.
  const Bytes python =
      hex("04 0000  02 0004 ffffffff  02 0004 00000000 02 0004 ffffffff  02 0008 0000000000000000"
          "02 0008 ffffffffffffffff  02 0004 ffffffff");
  for (const Bytes& bytes : {sharp, java, python}) {
    const auto request = parse_export_request(*parse_parameters(bytes));
    ASSERT_TRUE(request.ok());
    EXPECT_EQ(request->client, "");
    EXPECT_EQ(request->transaction, ExportRequest::any_transaction);
    EXPECT_FALSE(request->from || request->to || request->from_time_s || request->to_time_s);
    EXPECT_EQ(request->most_records, 0U);
  }
}

TEST(Exports, KeepTheirBounds) {
  ExportRequest asked;
  asked.client = "till-1";
  asked.transaction = 7;
  asked.from = 3;
  asked.to = 9;
  asked.from_time_s = 1'700'000'000;
  asked.to_time_s = 1'800'000'000;
  asked.most_records = 100;
  const auto read = parse_export_request(parameters_of(asked));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->client, "till-1");
  EXPECT_EQ(read->transaction, 7U);
  EXPECT_EQ(read->from, 3U);
  EXPECT_EQ(read->to, 9U);
  EXPECT_EQ(read->from_time_s, 1'700'000'000U);
  EXPECT_EQ(read->to_time_s, 1'800'000'000U);
  EXPECT_EQ(read->most_records, 100U);
  EXPECT_FALSE(parse_export_request({Parameter::text("")}).ok());
}

TEST(Answers, OfSignaturesAndPins) {
  SignedAnswer answer;
  answer.transaction = 12;
  answer.counter = 700;
  answer.time_s = 1'767'225'600;
  answer.signature = Bytes(64, 0xAB);
  answer.serial = Bytes(32, 0xCD);
  const Parameters parameters = parameters_of(answer);
  const auto read = parse_signed_answer(parameters, true);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->transaction, 12U);
  EXPECT_EQ(read->counter, 700U);
  EXPECT_EQ(read->time_s, 1'767'225'600U);
  EXPECT_EQ(read->signature, answer.signature);
  EXPECT_EQ(read->serial, answer.serial);
  EXPECT_FALSE(parse_signed_answer(parameters, false).ok());

  const auto pins = parse_pin_states(parameters_of(PinStates{true, false, false, true}));
  ASSERT_TRUE(pins.ok());
  EXPECT_TRUE(pins->admin_pin && pins->time_admin_puk);
  EXPECT_FALSE(pins->admin_puk || pins->time_admin_pin);
  EXPECT_FALSE(parse_pin_states({Parameter::bytes(Bytes(3))}).ok());
}

TEST(Assembly, OfOneFrame) {
  AnswerAssembler parameters(1000);
  ASSERT_TRUE(parameters.add(encode_answer({Parameter::number(3)})).ok());
  EXPECT_TRUE(parameters.complete());
  EXPECT_THAT(*parameters.parameters(), ElementsAre(Parameter::number(3)));
  EXPECT_FALSE(parameters.add(Bytes{1}).ok()) << "it was complete";

  AnswerAssembler nothing(1000);
  ASSERT_TRUE(nothing.add(hex("0000")).ok());
  EXPECT_TRUE(nothing.complete());
  EXPECT_TRUE(nothing.parameters()->empty());

  AnswerAssembler failure(1000);
  ASSERT_TRUE(failure.add(encode_failure(Failure::not_authenticated)).ok());
  EXPECT_TRUE(failure.complete());
  EXPECT_EQ(failure.kind(), AnswerAssembler::Kind::failure);
  EXPECT_EQ(failure.failure(), Failure::not_authenticated);
}

TEST(Assembly, OfTheRecordedExportOfThreeFrames) {
  constexpr std::size_t total = 39 * 512;
  Bytes whole = bulk_header(total);
  EXPECT_EQ(whole, hex("9000 0000000000004e00"));
  for (std::size_t i = 0; i < total; ++i) whole.push_back(static_cast<std::uint8_t>(i * 31U));
  AnswerAssembler assembler(1U << 20U);
  std::vector<std::size_t> sizes;
  for (ByteView rest = whole; !rest.empty();) {
    const ByteView part = rest.first(std::min(rest.size(), most_response_bytes));
    EXPECT_FALSE(assembler.complete());
    ASSERT_TRUE(assembler.add(part).ok());
    sizes.push_back(part.size());
    rest = rest.subspan(part.size());
  }
  EXPECT_THAT(sizes, ElementsAre(8148U + bulk_header_bytes, 8158U, 3662U));
  EXPECT_TRUE(assembler.complete());
  EXPECT_EQ(assembler.kind(), AnswerAssembler::Kind::bulk);
  EXPECT_EQ(assembler.data(), Bytes(whole.begin() + bulk_header_bytes, whole.end()));
}

TEST(Assembly, RefusesWhatDoesNotFit) {
  AnswerAssembler limited(100);
  EXPECT_EQ(limited.add(bulk_header(101)).error().code, ErrorCode::limit);
  AnswerAssembler huge(100);
  EXPECT_EQ(huge.add(bulk_header(0xFFFFFFFFFFFFFFFFU)).error().code, ErrorCode::limit);
  AnswerAssembler longer(100);
  EXPECT_EQ(longer.add(hex("0001 0000")).error().code, ErrorCode::malformed);
  AnswerAssembler empty(100);
  EXPECT_EQ(empty.add({}).error().code, ErrorCode::malformed);
  AnswerAssembler early(100);
  ASSERT_TRUE(early.add(hex("0003 00")).ok());
  EXPECT_EQ(early.missing_bytes(), 2U);
  EXPECT_EQ(early.add({}).error().code, ErrorCode::protocol);
}

SerialNumber serial(std::uint8_t fill) {
  SerialNumber number;
  number.fill(fill);
  return number;
}

TEST(DerLists, SerialNumbers) {
  const std::vector<KeyUse> keys{{serial(0x11), true, true, false}};
  const Bytes der = encode(keys);
  EXPECT_EQ(Bytes(der.begin(), der.begin() + 6), hex("302f 302d 0420"))
      << "one client takes 32 bytes at offset 6";
  EXPECT_EQ(Bytes(der.begin() + 38, der.end()), hex("3009 8001ff 8101ff 820100"));
  EXPECT_EQ(*parse_key_uses(der), keys);
  EXPECT_TRUE(parse_key_uses(hex("3000"))->empty());
  for (std::size_t size = 0; size < der.size(); ++size) {
    EXPECT_FALSE(parse_key_uses(ByteView(der).first(size)).ok()) << size;
  }
}

TEST(DerLists, MappingsOfEitherFirmware) {
  for (const std::size_t name : {1U, 8U, 30U}) {
    for (std::size_t count = 0; count < 8; ++count) {
      std::vector<ClientMapping> mappings;
      for (std::size_t i = 0; i < count; ++i) {
        mappings.push_back({std::string(name, static_cast<char>('a' + i)), serial(7)});
      }
      EXPECT_EQ(*parse_client_mappings(encode(mappings)), mappings);
      const Bytes old = encode(mappings, true);
      EXPECT_EQ(*parse_client_mappings(old), mappings);
      const std::size_t content = count * (38 + name);
      EXPECT_EQ(old == encode(mappings), content < 127) << content;
    }
  }
  // 127 bytes of content, the old firmware's first wrong one.
  const std::vector<ClientMapping> edge{
      {"abcd", serial(1)}, {"efgh", serial(1)}, {"ijklm", serial(1)}};
  const Bytes right = encode(edge), wrong = encode(edge, true);
  EXPECT_EQ(Bytes(right.begin(), right.begin() + 2), hex("307f"));
  EXPECT_EQ(Bytes(wrong.begin(), wrong.begin() + 3), hex("3081 80"));
  EXPECT_FALSE(parse_client_mappings(hex("3002 3000")).ok());
  EXPECT_FALSE(parse_client_mappings({}).ok());
}

TEST(DerLists, SignatureAlgorithm) {
  const Bytes der = encode_signature_algorithm(Hash::sha256);
  EXPECT_EQ(der, hex("300c 060a 04007f00070101040103"));
  EXPECT_EQ(*parse_signature_algorithm(der), Hash::sha256);
  EXPECT_EQ(*parse_signature_algorithm(encode_signature_algorithm(Hash::sha3_512)), Hash::sha3_512);
  EXPECT_FALSE(parse_signature_algorithm(hex("300c 060a 04007f00070101040106")).ok());
  EXPECT_FALSE(parse_signature_algorithm(hex("300c 060a 04007f00070101040403")).ok());
}

}  // namespace
}  // namespace tillbridge::tse::cryptovision
