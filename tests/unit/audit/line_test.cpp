// How an entry is written, and that nothing else is read as one.
#include "server/audit/line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/audit/log_folder.hpp"

namespace tillbridge::audit::testing {

namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

Line example() {
  return {12, at(0, 123456), mapping_added(), std::string(32, 'a'), std::string(64, '0')};
}

TEST(AuditLine, IsWrittenAsTheFormatSays) {
  EXPECT_EQ(write_line(example()),
            R"({"n":12,"time":"2026-11-23T04:05:06.123456Z","kind":"mapping_added",)"
            R"("who":"admin anna","stick":"1209:0001:5A2F","till":"kasse-07",)"
            R"("reason":"new \"till\" – Köln","details":{"mapping":12,"pipeline":true},)"
            R"("salt":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",)"
            R"("prev":"0000000000000000000000000000000000000000000000000000000000000000"})");
}

// From an implementation that shares nothing with ours: Python's hashlib over the same text.
TEST(AuditLine, IsChainedAsTheFormatSays) {
  const auto link = link_of(write_line(example()));
  ASSERT_TRUE(link);
  EXPECT_EQ(link->n, 12U);
  EXPECT_EQ(link->digest, "d29281cb450ee0aa0b951050c350e64aaa3a7e3f6c939389ce679e58a1f54d9d");
  EXPECT_EQ(link->hash(), "9453b98d47cbb3f195e7b28b9a041a6e8e69ec3aca7fb8407ec94c8707d6645f");
}

TEST(AuditLine, ComesBackAsItWasWritten) {
  const Line line = must(parse_line(write_line(example())));
  EXPECT_EQ(line.n, 12U);
  EXPECT_EQ(line.time, at(0, 123456));
  EXPECT_EQ(line.entry.kind, Kind::mapping_added);
  EXPECT_EQ(line.entry.reason, "new \"till\" – Köln");
  EXPECT_EQ(line.entry.details, (std::vector<std::pair<Field, Value>>{
                                    {Field::mapping, std::int64_t{12}}, {Field::pipeline, true}}));
  EXPECT_EQ(write_line(line), write_line(example()));
}

TEST(AuditLine, EveryNameIsItsOwn) {
  for (int i = 0; i <= static_cast<int>(Kind::audit_exported); ++i) {
    EXPECT_EQ(kind_of(text(static_cast<Kind>(i))), static_cast<Kind>(i));
  }
  for (int i = 0; i <= static_cast<int>(Field::words); ++i) {
    EXPECT_EQ(field_of(text(static_cast<Field>(i))), static_cast<Field>(i));
  }
  EXPECT_EQ(kind_of("secret"), std::nullopt);
}

TEST(AuditLine, TextsAreCleanedAndCutAtACharactersBorder) {
  // Each byte that belongs to no character becomes one "?".
  EXPECT_EQ(clean("Köln\n\x1b[31m\x7f\xC2\x85 \xff\xC0\x80\xED\xA0\x80 €"),
            "Köln??[31m??? ?????? €");
  for (std::size_t size = limits::text_bytes - 8; size < limits::text_bytes + 8; ++size) {
    std::string long_text(size, 'x');
    long_text += "ä€😀";
    const std::string cut = clean(long_text);
    EXPECT_LE(cut.size(), limits::text_bytes);
    if (long_text.size() > limits::text_bytes) {
      EXPECT_THAT(cut, EndsWith("…"));
    }
    EXPECT_EQ(clean(cut), cut);
  }
}

TEST(AuditLine, WhatLooksLikeASecretIsLeftOut) {
  Entry entry = mapping_added();
  entry.reason = "-----BEGIN PRIVATE KEY-----\nMC4CAQ";
  entry.details = {{Field::text, "run tillbridge pair tb1:host:4711/AAAA/BBBB"}};
  const std::string text = write_line({1, at(0), entry, std::string(32, 'a'), chain_start()});
  EXPECT_THAT(text, Not(HasSubstr("MC4CAQ")));
  EXPECT_THAT(text, Not(HasSubstr("BBBB")));
  EXPECT_THAT(text, HasSubstr("left out"));
  EXPECT_TRUE(parse_line(text));
}

TEST(AuditLine, AnythingElseIsNotRead) {
  const std::string good = write_line(example());
  ASSERT_TRUE(parse_line(good));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  for (const std::string& bad :
       {std::string(),
        std::string("{}"),
        std::string("[]"),
        std::string("null"),
        good + " ",
        " " + good,
        good + good,
        with("\"n\":12", "\"n\":-12"),
        with("\"n\":12", "\"n\":1e1"),
        with("\"n\":12", "\"n\":012"),
        with("\"n\":12", "\"n\":99999999999999999999"),
        with("\"n\":12,", ""),
        with("mapping_added", "mapping_lost"),
        with("2026-11", "2026-13"),
        with("04:05", "24:05"),
        with("123456Z", "123456"),
        with("\"who\"", "\"whom\""),
        with("\"kasse-07\"", "7"),
        with("\"mapping\":12", "\"mapping\":1.5"),
        with("\"mapping\":12", "\"mapping\":[12]"),
        with("\"mapping\":12", "\"mapping\":null"),
        with("\"mapping\":12", "\"password\":12"),
        with("\"mapping\":12", "\"mapping\":9223372036854775808"),
        with("\"mapping\":12,\"pipeline\":true", "\"pipeline\":true,\"mapping\":12"),
        with("\"pipeline\":true", "\"pipeline\":false,\"pipeline\":true"),
        with("aaaa", "AAAA"),
        with("aaaa", "aaa"),
        with(":12,\"time\"", ": 12,\"time\""),
        with("K\xC3\xB6ln", "K\\u00f6ln"),
        with("\"salt\"", "\"more\":1,\"salt\""),
        with("\"till\":", "\"till\":\"\",\"till\":"),
        with("K\xC3\xB6ln", "K\xFFln"),
        std::string(300'000, '['),
        with("anna", std::string(300'000, 'a'))}) {
    const auto line = parse_line(bad);
    ASSERT_FALSE(line) << bad;
    EXPECT_FALSE(line.error().message.empty());
  }
}

TEST(AuditLine, TimesAreReadOnlyAsTheyAreWritten) {
  for (const Time time : {at(0), at(0, 1), Time{}, Time(std::chrono::seconds(951782399))}) {
    EXPECT_EQ(parse_time(time_text(time)), time);
  }
  EXPECT_EQ(time_text(Time(std::chrono::seconds(951782399))), "2000-02-28T23:59:59.000000Z");
  for (const char* bad : {"2026-02-29T00:00:00.000000Z", "2026-1a-01T00:00:00.000000Z", "",
                          "2026-11-23 04:05:06.123456Z", "2026-11-23T04:05:60.000000Z",
                          "+026-11-23T04:05:06.000000Z", "9999-11-23T04:05:06.000000Z"}) {
    EXPECT_EQ(parse_time(bad), std::nullopt) << bad;
  }
}

TEST(AuditLine, IsToldToAPersonInOneLine) {
  EXPECT_EQ(
      describe(must(parse_line(write_line(example())))),
      "2026-11-23 04:05:06 UTC  #12  mapping added  by admin anna  stick 1209:0001:5A2F  till "
      "kasse-07  mapping=12  pipeline=yes  reason: new \"till\" – Köln");
}

}  // namespace

}  // namespace tillbridge::audit::testing
