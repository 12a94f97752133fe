#include "pos/clock.hpp"

#include <chrono>
#include <thread>

namespace tillbridge::pos {
namespace {

class SystemClock final : public Clock {
 public:
  [[nodiscard]] Instant now() override {
    return std::chrono::duration_cast<Instant>(std::chrono::steady_clock::now().time_since_epoch());
  }
  void wait(Duration duration) override { std::this_thread::sleep_for(duration); }
  [[nodiscard]] std::uint64_t unix_s() override {
    const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>(since_epoch).count());
  }
};

}  // namespace

std::unique_ptr<Clock> system_clock() {
  return std::make_unique<SystemClock>();
}

}  // namespace tillbridge::pos
