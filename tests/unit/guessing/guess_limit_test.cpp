#include "server/guessing/guess_limit.hpp"

#include <chrono>

#include <gtest/gtest.h>

namespace tillbridge::guessing {
namespace {

using namespace std::chrono_literals;

TEST(GuessLimitTest, CountsEachAddressAndAll) {
  GuessLimit limit(2, 3, 60s);
  EXPECT_FALSE(limit.wait("a", 0s));
  limit.count("a", 0s);
  limit.count("a", 10s);
  EXPECT_EQ(limit.wait("a", 20s), Duration(40s));
  EXPECT_FALSE(limit.wait("b", 20s));
  limit.count("b", 20s);
  EXPECT_EQ(limit.wait("c", 30s), Duration(30s)) << "all together";
  EXPECT_FALSE(limit.wait("a", 60s));
  EXPECT_EQ(network_of("192.0.2.7:51344"), "192.0.2.7");
  EXPECT_EQ(network_of("[2001:db8::7]:51344"), network_of("[2001:db8::ffff:8]:1"));
  EXPECT_NE(network_of("[2001:db8::7]:51344"), network_of("[2001:db9::7]:51344"));
}

}  // namespace
}  // namespace tillbridge::guessing
