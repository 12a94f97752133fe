#include "tse/evidence/log_message.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "tse/evidence/der.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::tse {
namespace {

using testing::HasSubstr;

LogMessage finish_message() {
  TransactionLog log;
  log.step = TransactionStep::finish;
  log.client = "till-01";
  log.process_data = {1, 2, 3, 4, 5};
  log.process_type = "Kassenbeleg-V1";
  log.number = 128;
  LogMessage message;
  message.content = log;
  message.counter = 7;
  message.time_s = 1767225600;
  message.signature = Bytes(96, 0x5a);
  return message;
}

std::string error_of(const Bytes& log) {
  const auto parsed = parse_log(log);
  return parsed ? "good" : parsed.error().message;
}

TEST(LogMessages, KeepTheirTimeInEveryFormat) {
  for (const auto format :
       {TimeFormat::unix_time, TimeFormat::utc_time, TimeFormat::generalized_time}) {
    // 1970, a leap day, before and after the sign bit of 32, end of UTCTime's range
    for (const std::uint64_t time_s : {0U, 951782400U, 2147483647U, 2147483648U, 2524607999U}) {
      LogMessage message = finish_message();
      message.time_format = format;
      message.time_s = time_s;
      const auto parsed = parse_log(encode(message));
      ASSERT_TRUE(parsed.ok()) << parsed.error().message;
      EXPECT_EQ(parsed->message.time_s, time_s);
      EXPECT_EQ(parsed->message.time_format, format);
    }
  }
}

TEST(LogMessages, KeepOptionalFields) {
  LogMessage message = finish_message();
  auto& log = std::get<TransactionLog>(message.content);
  log.additional_external = Bytes{9};
  log.additional_internal = Bytes{};
  log.pieces = {2, 0, 3};
  const Bytes encoded = encode(message);
  const auto parsed = parse_log(encoded);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  const auto& read = std::get<TransactionLog>(parsed->message.content);
  EXPECT_EQ(read.additional_external, Bytes{9});
  EXPECT_EQ(read.additional_internal, Bytes{});
  EXPECT_EQ(read.process_data, (Bytes{1, 2, 3, 4, 5}));
  EXPECT_EQ(encode(parsed->message), encoded);

  LogMessage system = finish_message();
  system.content = SystemLog{"DisableSecureElement", {0x81, 0x00}, Bytes{1, 2}};
  const auto read_system = parse_log(encode(system));
  ASSERT_TRUE(read_system.ok());
  EXPECT_EQ(std::get<SystemLog>(read_system->message.content).additional, (Bytes{1, 2}));
}

TEST(LogMessages, WriteMinimalNumbers) {
  const std::vector<std::pair<std::uint64_t, Bytes>> numbers = {
      {0, {0x85, 1, 0}},
      {127, {0x85, 1, 0x7f}},
      {128, {0x85, 2, 0, 0x80}},
      {255, {0x85, 2, 0, 0xff}},
      {256, {0x85, 2, 1, 0}},
      {~std::uint64_t{0}, {0x85, 9, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}};
  for (const auto& [value, bytes] : numbers) {
    ByteWriter out;
    der::write_number(out, der::context(5), value);
    EXPECT_EQ(out.finish(), bytes);
    EXPECT_EQ(der::unsigned_number(ByteView(bytes).subspan(2)), value);
  }
  EXPECT_FALSE(der::unsigned_number(Bytes{}).has_value());
  EXPECT_FALSE(der::unsigned_number(Bytes{0x80}).has_value());        // negative
  EXPECT_FALSE(der::unsigned_number(Bytes{0x00, 0x01}).has_value());  // not minimal
  EXPECT_FALSE(der::unsigned_number(Bytes{1, 0, 0, 0, 0, 0, 0, 0, 0}).has_value());
}

TEST(LogMessages, CutAnywhereAreAnError) {
  LogMessage message = finish_message();
  std::get<TransactionLog>(message.content).pieces = {2, 3};
  const Bytes whole = encode(message);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(parse_log(ByteView(whole).first(size)).ok()) << size;
  }
  Bytes longer = whole;
  longer.push_back(0);
  EXPECT_FALSE(parse_log(longer).ok());
}

TEST(LogMessages, CutInsideTheirSequenceAreAnError) {
  const Bytes part = signed_part(finish_message());
  for (std::size_t size = 0; size <= part.size(); ++size) {
    ByteWriter out;
    der::write(out, der::sequence, ByteView(part).first(size));
    EXPECT_FALSE(parse_log(out.finish()).ok()) << size;
  }
}

TEST(LogMessages, SayWhatIsWrong) {
  const auto changed = [](auto change) {
    LogMessage message = finish_message();
    change(message);
    return error_of(encode(message));
  };
  EXPECT_THAT(changed([](LogMessage& m) { m.hash = static_cast<Hash>(6); }),
              HasSubstr("ecdsa-plain"));
  EXPECT_THAT(changed([](LogMessage& m) { m.version = 256; }), HasSubstr("version"));
  EXPECT_EQ(changed([](LogMessage& m) { m.version = 3; }), "good");
  const auto with_data = [&](std::size_t size) {
    return changed(
        [size](LogMessage& m) { std::get<TransactionLog>(m.content).process_data.resize(size); });
  };
  EXPECT_EQ(with_data(limits::tse_process_data_bytes), "good");
  EXPECT_THAT(with_data(limits::tse_process_data_bytes + 1), HasSubstr("64 KiB"));
  EXPECT_THAT(with_data(limits::tse_log_bytes), HasSubstr("72 KiB"));
  EXPECT_THAT(error_of({0x30, 0x84, 0xff, 0xff, 0xff, 0xff}), HasSubstr("SEQUENCE"));
  EXPECT_THAT(error_of({0x30, 0x80, 0, 0}), HasSubstr("damaged"));
}

TEST(LogMessages, RefuseTimesThatDoNotExist) {
  LogMessage message = finish_message();
  message.time_format = TimeFormat::generalized_time;
  const Bytes good = encode(message);
  const std::string time = "20260101000000Z";
  const auto at = std::search(good.begin(), good.end(), time.begin(), time.end());
  ASSERT_NE(at, good.end());
  const auto offset = at - good.begin();
  for (const char* bad :
       {"20261301000000Z", "20260230000000Z", "20260101240000Z", "20260101006000Z",
        "2026010100000xZ", "202601010000000", "19691231235959Z", "00000101000000Z"}) {
    Bytes log = good;
    std::copy_n(bad, time.size(), log.begin() + offset);
    EXPECT_THAT(error_of(log), HasSubstr("log time")) << bad;
  }
}

TEST(LogMessages, AreNamedAsTheGuidelineSays) {
  LogMessage message = finish_message();
  EXPECT_EQ(file_name(message), "Unixt_1767225600_Sig-7_Log-Tra_No-128_Finish_Client-till-01.log");
  message.time_format = TimeFormat::utc_time;
  EXPECT_EQ(file_name(message), "Utc_260101000000Z_Sig-7_Log-Tra_No-128_Finish_Client-till-01.log");
  message.time_format = TimeFormat::generalized_time;
  message.content = SystemLog{"UpdateTime", {}, {}};
  EXPECT_EQ(file_name(message), "Gent_20260101000000Z_Sig-7_Log-Sys_UpdateTime.log");
  message.content = AuditLog{};
  EXPECT_EQ(file_name(message), "Gent_20260101000000Z_Sig-7_Log-Aud.log");
  message = finish_message();
  std::get<TransactionLog>(message.content).client = "../a\\b:\n" + std::string(100, 'x');
  const std::string name = file_name(message);
  EXPECT_EQ(name.size(), tar_name_bytes);
  EXPECT_THAT(name, HasSubstr("_Client-.._a_b__xxx"));
  EXPECT_TRUE(name.ends_with("xxx.log"));
}

}  // namespace
}  // namespace tillbridge::tse
