#include "channel/bytes/result.hpp"

#include <memory>

#include <gtest/gtest.h>

namespace tillbridge {
namespace {

Result<int> half(int value) {
  if (value % 2 != 0) return fail(ErrorCode::malformed, "odd");
  return value / 2;
}

TEST(Result, HoldsAValueOrAnError) {
  EXPECT_EQ(*half(4), 2);
  const Result<int> bad = half(3);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::malformed);
  EXPECT_EQ(bad.error().message, "odd");
}

TEST(Result, MovesWhatCannotBeCopied) {
  Result<std::unique_ptr<int>> owner(std::make_unique<int>(7));
  const std::unique_ptr<int> taken = std::move(owner).value();
  EXPECT_EQ(*taken, 7);
}

TEST(Result, StatusIsOkByDefault) {
  EXPECT_TRUE(Status());
  EXPECT_EQ(Status(fail(ErrorCode::io, "disk")).error().message, "disk");
}

}  // namespace
}  // namespace tillbridge
