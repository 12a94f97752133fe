#include "server/usb/stick_identity.hpp"

#include <gtest/gtest.h>

#include "server/usb/log.hpp"

namespace tillbridge::server {
namespace {

StickIdentity stick(const std::string& serial, const std::string& path = "1-1.4") {
  usb::DeviceDescription description;
  description.device.vendor_id = 0x1209;
  description.device.product_id = 0x000A;
  description.serial = serial;
  description.path = path;
  return StickIdentity::of(description);
}

TEST(StickIdentity, IsTheSerialWhereverTheStickIs) {
  EXPECT_EQ(stick("5A2F"), stick("5A2F", "2-3"));
  EXPECT_EQ(stick("5A2F").text(), "1209:000a:5A2F");
  EXPECT_FALSE(stick("5A2F") == stick("5A30"));
}

TEST(StickIdentity, IsThePortOnlyWithoutASerial) {
  EXPECT_TRUE(stick("").by_port());
  EXPECT_EQ(stick("").text(), "1209:000a@1-1.4");
  EXPECT_FALSE(stick("") == stick("", "1-2"));
}

TEST(StickIdentity, BusidIsTheIdentityWhereItFits) {
  EXPECT_EQ(stick("5A2F00000001").busid(), "1209:000a:5A2F00000001");
  EXPECT_EQ(stick(std::string(21, 'A')).busid().size(), 31U);
}

TEST(StickIdentity, ALongSerialIsShortenedAndStaysItself) {
  const std::string serial(64, 'A');
  const std::string busid = stick(serial).busid();
  EXPECT_EQ(busid.size(), 31U);
  EXPECT_EQ(busid, stick(serial, "9-9").busid());
  EXPECT_NE(busid, stick(serial.substr(1) + "B").busid()) << "the hash is of the whole serial";
  EXPECT_NE(stick("a b").busid(), stick("a/b").busid())
      << "replaced characters do not make two sticks one";
  EXPECT_EQ(stick("a b").busid().find(' '), std::string::npos);
}

TEST(StickPattern, MatchesWhatItSays) {
  const auto matches = [](const std::string& pattern, const StickIdentity& identity) {
    const auto parsed = StickPattern::parse(pattern);
    EXPECT_TRUE(parsed.ok()) << pattern;
    return parsed.ok() && parsed->matches(identity);
  };
  EXPECT_TRUE(matches("1209:000A:5A2F", stick("5A2F"))) << "hexadecimal digits in either case";
  EXPECT_TRUE(matches("5A2F", stick("5A2F")));
  EXPECT_FALSE(matches("5a2f", stick("5A2F"))) << "a serial is exact";
  EXPECT_FALSE(matches("1209:000B:5A2F", stick("5A2F")));
  EXPECT_TRUE(matches("1209:000a@1-1.4", stick("")));
  EXPECT_FALSE(matches("1209:000a@1-1.4", stick("5A2F")))
      << "a stick with a serial is never told by its port";
  EXPECT_FALSE(matches("1209:000a@1-1.5", stick("")));
  EXPECT_TRUE(matches("A:B:C", stick("A:B:C"))) << "a serial with colons";
}

TEST(StickPattern, RefusesWhatNamesNoSingleStick) {
  EXPECT_FALSE(StickPattern::parse("").ok());
  EXPECT_FALSE(StickPattern::parse("1209:0001").ok());
  EXPECT_FALSE(StickPattern::parse("1209:0001:").ok());
  EXPECT_FALSE(StickPattern::parse("1209:0001-5A2F").ok());
  EXPECT_FALSE(StickPattern::parse(std::string(500, 'A')).ok());
}

TEST(Log, TextFromOutsideCannotForgeLines) {
  EXPECT_EQ(log::printable("kasse-03"), "kasse-03");
  EXPECT_EQ(log::printable("a\nb\x1b[31m\x7f"), "a?b?[31m?");
  EXPECT_EQ(log::printable("M\xc3\xbcller \xe2\x82\xac"), "M\xc3\xbcller \xe2\x82\xac");
  EXPECT_EQ(log::printable("\xc2\x9b"
                           "31m\xff\xc3"),
            "??31m??")
      << "C1 controls and malformed UTF-8";
  EXPECT_EQ(log::printable(std::string(1000, 'x')).size(), 128U + 3U);
}

}  // namespace
}  // namespace tillbridge::server
