#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "channel/usb/descriptors.hpp"

namespace tillbridge::usb {
namespace {

std::string parsed(const Bytes& bytes) {
  const auto text = parse_string_descriptor(bytes);
  return text.ok() ? *text : "error: " + text.error().message;
}

TEST(StringDescriptor, Reads) {
  EXPECT_EQ(parsed({6, 3, 'S', 0, '1', 0}), "S1");
  EXPECT_EQ(parsed({2, 3}), "");
  EXPECT_EQ(parsed({4, 3, 0xE4, 0x00}), "\xC3\xA4");                      // a umlaut
  EXPECT_EQ(parsed({4, 3, 0xAC, 0x20}), "\xE2\x82\xAC");                  // euro sign
  EXPECT_EQ(parsed({6, 3, 0x3D, 0xD8, 0x00, 0xDE}), "\xF0\x9F\x98\x80");  // U+1F600
}

TEST(StringDescriptor, WhatFollowsItsLengthIsIgnored) {
  EXPECT_EQ(parsed({4, 3, 'A', 0, 'B', 0}), "A");
  EXPECT_EQ(parsed({5, 3, 'A', 0, 'B'}), "A") << "half a character";
}

TEST(StringDescriptor, UnpairedSurrogatesAreReplaced) {
  const std::string replacement = "\xEF\xBF\xBD";
  EXPECT_EQ(parsed({4, 3, 0x3D, 0xD8}), replacement);
  EXPECT_EQ(parsed({4, 3, 0x00, 0xDE}), replacement);
  EXPECT_EQ(parsed({6, 3, 0x3D, 0xD8, 'A', 0}), replacement + "A");
  EXPECT_EQ(parsed({8, 3, 0x3D, 0xD8, 0x3D, 0xD8, 0x00, 0xDE}), replacement + "\xF0\x9F\x98\x80");
}

TEST(StringDescriptor, MalformedIsAnError) {
  EXPECT_FALSE(parse_string_descriptor({}).ok());
  EXPECT_FALSE(parse_string_descriptor(Bytes{2}).ok());
  EXPECT_FALSE(parse_string_descriptor(Bytes{1, 3}).ok());
  EXPECT_FALSE(parse_string_descriptor(Bytes{4, 2, 'A', 0}).ok());
  EXPECT_FALSE(parse_string_descriptor(Bytes{6, 3, 'A', 0}).ok());
}

TEST(StringDescriptor, EncodesAndComesBack) {
  for (const std::string text : {"", "5A2F", "\xC3\xA4", "\xE2\x82\xAC", "x\xF0\x9F\x98\x80y"}) {
    EXPECT_EQ(parsed(encode_string_descriptor(text)), text);
  }
  EXPECT_EQ(encode_string_descriptor("A"), (Bytes{4, 3, 'A', 0}));
}

TEST(StringDescriptor, MalformedUtf8IsReplacedByteForByte) {
  const std::string replacement = "\xEF\xBF\xBD";
  const auto through = [](const std::string& text) {
    return parsed(encode_string_descriptor(text));
  };
  EXPECT_EQ(through("\xFF"
                    "A"),
            replacement + "A");
  EXPECT_EQ(through("\xC3"), replacement);
  EXPECT_EQ(through("\xC3"
                    "A"),
            replacement + "A");
  EXPECT_EQ(through("\xC0\x80"), replacement + replacement) << "overlong";
  EXPECT_EQ(through("\xED\xA0\x80"), replacement + replacement + replacement) << "surrogate";
}

TEST(StringDescriptor, IsCutAtWhatADescriptorHolds) {
  const Bytes bytes = encode_string_descriptor(std::string(200, 'x'));
  EXPECT_EQ(bytes.size(), 254U);
  EXPECT_EQ(bytes[0], 254);
  EXPECT_EQ(parsed(bytes), std::string(126, 'x'));

  std::string wide = std::string(125, 'x') + "\xF0\x9F\x98\x80";  // needs 127 units
  EXPECT_EQ(parsed(encode_string_descriptor(wide)), std::string(125, 'x')) << "never half a pair";
}

TEST(StringDescriptor, NeverLongerThanItsLimit) {
  Bytes bytes{254, 3};
  for (int i = 0; i < 126; ++i) bytes.insert(bytes.end(), {0xAC, 0x20});
  EXPECT_EQ(parsed(bytes).size(), limits::usb_string_bytes);
}

}  // namespace
}  // namespace tillbridge::usb
