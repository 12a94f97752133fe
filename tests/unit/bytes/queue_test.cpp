#include "channel/bytes/queue.hpp"

#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include <gtest/gtest.h>

namespace tillbridge {
namespace {

TEST(Queue, IsFirstInFirstOutWhateverItsLength) {
  Queue<std::unique_ptr<int>> queue;
  int in = 0;
  int out = 0;
  // It grows, shrinks, and is never empty for long stretches, which is when places are used again.
  for (int round = 0; round < 2'000; ++round) {
    for (int i = 0; i < round % 7; ++i) queue.emplace_back(std::make_unique<int>(in++));
    for (int i = 0; i < round % 5 && queue.size() > 1; ++i) {
      ASSERT_EQ(*queue.front(), out++);
      queue.pop_front();
    }
    ASSERT_EQ(queue.size(), static_cast<std::size_t>(in - out));
    for (std::size_t i = 0; i < queue.size(); i += 17)
      ASSERT_EQ(*queue[i], out + static_cast<int>(i));
    if (!queue.empty()) {
      ASSERT_EQ(*queue.back(), in - 1);
    }
  }
  while (!queue.empty()) {
    ASSERT_EQ(*queue.front(), out++);
    queue.pop_front();
  }
  EXPECT_EQ(out, in);
}

TEST(Queue, LetsGoOfWhatWasTakenOut) {
  const auto element = std::make_shared<int>(1);
  Queue<std::shared_ptr<int>> queue;
  queue.push_back(element);
  queue.push_back(element);
  queue.pop_front();
  EXPECT_EQ(element.use_count(), 2);
  queue.clear();
  EXPECT_EQ(element.use_count(), 1);
  EXPECT_TRUE(queue.empty());
}

template <typename Map>
void comes_and_goes() {
  Map map;
  SpareNodes<Map> spares;
  const auto element = std::make_shared<int>(1);
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 12; ++i) {
      const auto place = spares.insert(map, round + i, element);
      EXPECT_EQ(place->first, round + i);
    }
    EXPECT_EQ(map.size(), 12U);
    // An element with this key is there already.
    EXPECT_EQ(*spares.insert(map, round, std::make_shared<int>(2))->second, 1);
    for (int i = 0; i < 12; ++i) spares.erase(map, map.find(round + i));
    EXPECT_TRUE(map.empty());
    EXPECT_EQ(element.use_count(), 1) << "a spare node keeps what it held";
  }
  spares.erase(map, map.end());
}

TEST(SpareNodes, AreFilledAnew) {
  comes_and_goes<std::map<int, std::shared_ptr<int>>>();
  comes_and_goes<std::unordered_map<int, std::shared_ptr<int>>>();
}

}  // namespace
}  // namespace tillbridge
