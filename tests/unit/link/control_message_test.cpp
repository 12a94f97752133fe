#include "channel/link/control_message.hpp"

#include <string>

#include <gmock/gmock.h>

#include "channel/bytes/limits.hpp"

namespace tillbridge::link {
namespace {

using testing::HasSubstr;

Result<ControlMessage> decode(const std::string& text) {
  return decode_control_message(Bytes(text.begin(), text.end()));
}

ErrorCode refusal(const std::string& text) {
  const auto decoded = decode(text);
  EXPECT_FALSE(decoded.ok()) << text;
  return decoded.ok() ? ErrorCode::io : decoded.error().code;
}

template <typename Message>
Message round_trip(const Message& message) {
  const auto decoded = decode_control_message(encode(message));
  EXPECT_TRUE(decoded.ok()) << decoded.error().message;
  return std::get<Message>(*decoded);
}

TEST(ControlMessageTest, EveryMessageComesBackAsItWasSent) {
  const auto hello =
      round_trip(Hello{"tillbridge 0.1.0", "kasse-03", "anna", "LADEN", "ts.example"});
  EXPECT_EQ(hello.software, "tillbridge 0.1.0");
  EXPECT_EQ(hello.client_name, "kasse-03");
  EXPECT_EQ(hello.user, "anna");
  EXPECT_EQ(hello.domain, "LADEN");
  EXPECT_EQ(hello.terminal_server, "ts.example");
  const auto welcome = round_trip(Welcome{"tillbridge 0.1.0", 60, true, 1800000000, "busy"});
  EXPECT_EQ(welcome.software, "tillbridge 0.1.0");
  EXPECT_EQ(welcome.resume_grace_s, 60U);
  EXPECT_TRUE(welcome.renews);
  EXPECT_EQ(welcome.time_s, 1800000000U);
  EXPECT_EQ(welcome.busy, "busy");
  const auto granted = round_trip(Granted{65535, "1-1.4", "Kasse 3", "5A2F", "soften", false});
  EXPECT_EQ(granted.stream, 65535);
  EXPECT_EQ(granted.busid, "1-1.4");
  EXPECT_EQ(granted.label, "Kasse 3");
  EXPECT_EQ(granted.serial, "5A2F");
  EXPECT_EQ(granted.reset_policy, "soften");
  EXPECT_FALSE(granted.pipeline);
  const auto revoked = round_trip(Revoked{3, "unmapped by \"admin\"", true});
  EXPECT_EQ(revoked.stream, 3);
  EXPECT_EQ(revoked.reason, "unmapped by \"admin\"");
  EXPECT_TRUE(revoked.unplugged);
  EXPECT_EQ(round_trip(NothingForYou{"Kein Stick für kasse-03"}).message,
            "Kein Stick für kasse-03");
  EXPECT_EQ(round_trip(Released{1}).stream, 1);
  EXPECT_EQ(round_trip(Goodbye{"restart"}).reason, "restart");
  EXPECT_FALSE(round_trip(Goodbye{"restart"}).restarting);
  EXPECT_TRUE(round_trip(Goodbye{"restart", true}).restarting);
  EXPECT_EQ(round_trip(Restarting{10}).within_s, 10);
  static_cast<void>(round_trip(Paused{}));
  Hello holding;
  holding.holds = true;
  EXPECT_TRUE(round_trip(holding).holds);
  Granted again{1, "1-1", "", "", "", true, true};
  EXPECT_TRUE(round_trip(again).continues);
  const Bytes all{0x00, 0x7F, 0x80, 0xFF};
  EXPECT_EQ(round_trip(Renew{all}).request, all);
  EXPECT_EQ(round_trip(Renewed{all}).certificate, all);
  EXPECT_EQ(round_trip(NotRenewed{"revoked"}).reason, "revoked");
  EXPECT_EQ(round_trip(Renew{Bytes(certificate_bytes, 7)}).request.size(), certificate_bytes);
}

TEST(ControlMessageTest, ACertificateIsInLowerCaseDigitsAndHasALimit) {
  for (const char* text :
       {R"({"type":"renew"})", R"({"type":"renew","request":""})",
        R"({"type":"renew","request":"a"})", R"({"type":"renew","request":"AB"})",
        R"({"type":"renew","request":"abx0"})", R"({"type":"renewed","certificate":17})"}) {
    EXPECT_EQ(refusal(text), ErrorCode::malformed) << text;
  }
  const std::string digits(2 * certificate_bytes + 2, 'a');
  EXPECT_EQ(refusal(R"({"type":"renew","request":")" + digits + "\"}"), ErrorCode::limit);
  const auto old = decode(R"({"type":"welcome"})");
  ASSERT_TRUE(old.ok());
  EXPECT_FALSE(std::get<Welcome>(*old).renews) << "a server of before it was invented";
}

TEST(ControlMessageTest, UnknownKeysAndMissingTextsDoNotMatter) {
  const auto decoded =
      decode(R"({"later":{"deep":[1,2]},"type":"granted","stream":2,"busid":"1-1"})");
  ASSERT_TRUE(decoded.ok()) << decoded.error().message;
  const auto& granted = std::get<Granted>(*decoded);
  EXPECT_EQ(granted.busid, "1-1");
  EXPECT_EQ(granted.label, "");
  EXPECT_TRUE(granted.pipeline);
  EXPECT_FALSE(granted.continues) << "a server of before it was invented";
}

TEST(ControlMessageTest, AnUnknownTypeIsAProtocolErrorThatQuotesItSafely) {
  const auto decoded = decode("{\"type\":\"new\\nthing" + std::string(200, 'x') + "\"}");
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(decoded.error().code, ErrorCode::protocol);
  EXPECT_THAT(decoded.error().message, HasSubstr("\"new?thing"));
  EXPECT_LT(decoded.error().message.size(), 150U);
}

TEST(ControlMessageTest, WhatIsNoMessageIsMalformed) {
  for (const char* text : {"",
                           " ",
                           "null",
                           "[]",
                           "1",
                           "\"hello\"",
                           "{",
                           "{}",
                           R"({"type":1})",
                           R"({"type":"hello",})",
                           R"({"type":"hello"}x)",
                           R"({"type":"hello","user":7})",
                           R"({"type":"released"})",
                           R"({"type":"released","stream":"1"})",
                           R"({"type":"released","stream":0})",
                           R"({"type":"released","stream":-1})",
                           R"({"type":"released","stream":65536})",
                           R"({"type":"released","stream":1.5})",
                           R"({"type":"released","stream":1e400})",
                           R"({"type":"granted","stream":1,"pipeline":1})",
                           R"({"type":"granted","stream":1,"continues":1})",
                           R"({"type":"goodbye","restarting":"yes"})",
                           R"({"type":"restarting","within_s":-1})",
                           R"({"type":"welcome","resume_grace_s":-1})",
                           R"({"type":"welcome","resume_grace_s":1.5})",
                           R"({"type":"welcome","resume_grace_s":"60"})",
                           "{\"type\":\"goodbye\",\"reason\":\"\xFF\"}"}) {
    EXPECT_EQ(refusal(text), ErrorCode::malformed) << text;
  }
}

TEST(ControlMessageTest, EveryTruncationIsMalformed) {
  const Bytes whole = encode(Granted{7, "1-1", "Kasse", "5A2F", "soften", true});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(decode_control_message(ByteView(whole).first(size)).ok()) << size;
  }
}

TEST(ControlMessageTest, SizesAndDepthAreLimited) {
  const auto with_user = [](std::size_t size) {
    return R"({"type":"hello","user":")" + std::string(size, 'u') + "\"}";
  };
  EXPECT_TRUE(decode(with_user(limits::name_bytes)).ok());
  EXPECT_EQ(refusal(with_user(limits::name_bytes + 1)), ErrorCode::limit);
  EXPECT_EQ(refusal(R"({"type":"goodbye","reason":")" +
                    std::string(limits::link_text_bytes + 1, 'r') + "\"}"),
            ErrorCode::limit);
  EXPECT_TRUE(decode(R"({"type":"welcome","resume_grace_s":3600})").ok());
  EXPECT_EQ(refusal(R"({"type":"welcome","resume_grace_s":3601})"), ErrorCode::limit);
  const std::string small = R"({"type":"goodbye"})";
  EXPECT_TRUE(
      decode(small + std::string(limits::link_control_message_bytes - small.size(), ' ')).ok());
  EXPECT_EQ(
      refusal(small + std::string(limits::link_control_message_bytes - small.size() + 1, ' ')),
      ErrorCode::limit);
  const auto nested = [](std::size_t depth) {
    return R"({"type":"goodbye","x":)" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_TRUE(decode(nested(limits::link_control_message_depth - 1)).ok());
  EXPECT_EQ(refusal(nested(limits::link_control_message_depth + 1)), ErrorCode::limit);
  EXPECT_EQ(refusal(nested(7000)), ErrorCode::limit);
}

TEST(ControlMessageTest, OwnTextsAreCutAndRepairedSoThatTheOtherEndTakesThem) {
  // One byte past the limit in the middle of "ü" (two bytes).
  const auto hello =
      round_trip(Hello{"s", std::string(limits::name_bytes - 1, 'a') + "ü", "M\xFCller",
                       std::string(500, '\xFF'), std::string(1000, '"')});
  EXPECT_EQ(hello.client_name, std::string(limits::name_bytes - 1, 'a'));
  EXPECT_EQ(hello.user, "M\xEF\xBF\xBDller");
  EXPECT_LE(hello.domain.size(), limits::name_bytes);
  EXPECT_EQ(hello.terminal_server, std::string(limits::name_bytes, '"'));
  EXPECT_EQ(round_trip(Goodbye{std::string(5000, '\x01')}).reason,
            std::string(limits::link_text_bytes, ' '))
      << "control characters do not reach a log";
}

}  // namespace
}  // namespace tillbridge::link
