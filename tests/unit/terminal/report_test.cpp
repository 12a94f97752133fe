#include "server/terminal/report.hpp"

#include <gtest/gtest.h>

namespace tillbridge::terminal {
namespace {

TEST(OneLine, KeepsAClientFromForgingLines) {
  EXPECT_EQ(one_line("device 1 announced: K\xC3\xA4se"), "device 1 announced: K\xC3\xA4se");
  EXPECT_EQ(one_line("stick\n[error] all is lost\r\x1B[2J\x7F"), "stick?[error] all is lost??[2J?");
  EXPECT_EQ(one_line("\xC2\x9B"
                     "31m\xC2\xA0"),
            "?31m\xC2\xA0")
      << "U+009B begins a sequence, too";
  EXPECT_EQ(one_line(std::string("a\0b", 3)), "a?b");
  EXPECT_EQ(one_line(""), "");
}

TEST(OneLine, HasALimit) {
  EXPECT_EQ(one_line(std::string(2048, 'x')), std::string(2048, 'x'));
  EXPECT_EQ(one_line(std::string(100'000, 'x')), std::string(2048, 'x') + "...");
  const std::string half = std::string(2047, 'x') + "\xC3\xA4" + "y";
  EXPECT_EQ(one_line(half), std::string(2047, 'x') + "\xC3\xA4...") << "no half character";
}

}  // namespace
}  // namespace tillbridge::terminal
