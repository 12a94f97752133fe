#include "server/usb/refusals.hpp"

#include <gtest/gtest.h>

#include "server/usb/limits.hpp"

namespace tillbridge::server {
namespace {

using std::chrono::seconds;

TEST(RefusalsTest, OnlyWhatIsNewIsNews) {
  Refusals refusals;
  Instant now{};
  EXPECT_TRUE(refusals.news("192.0.2.7:1000", "kasse-01", "revoked", now));
  for (int port = 1001; port < 1100; ++port) {
    now += seconds(5);
    EXPECT_FALSE(refusals.news("192.0.2.7:" + std::to_string(port), "kasse-01", "revoked", now));
  }
  EXPECT_TRUE(refusals.news("192.0.2.7:1", "kasse-01", "too many tills", now));
  EXPECT_TRUE(refusals.news("192.0.2.7:1", "kasse-02", "revoked", now)) << "another till";
  EXPECT_TRUE(refusals.news("192.0.2.8:1", "kasse-01", "too many tills", now)) << "from elsewhere";
  EXPECT_FALSE(refusals.news("192.0.2.7:2", "kasse-01", "too many tills", now));
  refusals.forget("192.0.2.7:3", "kasse-01");
  EXPECT_TRUE(refusals.news("192.0.2.7:4", "kasse-01", "too many tills", now)) << "it was let in";
  now += limits::refusal_remembered;
  EXPECT_TRUE(refusals.news("192.0.2.7:5", "kasse-01", "too many tills", now)) << "it was away";
}

TEST(RefusalsTest, StrangersDoNotFillTheMemory) {
  Refusals refusals;
  for (std::size_t peer = 0; peer < 4 * limits::refused_peers; ++peer) {
    EXPECT_TRUE(
        refusals.news("host" + std::to_string(peer) + ":1", "", "no", Instant{} + seconds(peer)));
  }
  const std::string last = "host" + std::to_string(4 * limits::refused_peers - 1);
  EXPECT_FALSE(
      refusals.news(last + ":2", "", "no", Instant{} + seconds(4 * limits::refused_peers)));
}

}  // namespace
}  // namespace tillbridge::server
