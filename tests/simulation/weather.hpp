// What happens to a shop besides receipts.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "tests/simulation/network.hpp"
#include "tests/simulation/server_program.hpp"
#include "tests/simulation/workplace.hpp"

namespace tillbridge::simulation {

enum class Weather : std::uint8_t {
  calm,           ///< nothing
  cuts,           ///< connections break every 50 to 500 ms, both ends notice soon
  half_open,      ///< one end does not notice; bytes of old connections arrive late, hellos too
  holes,          ///< nothing passes, for up to 30 s at a time
  restarts,       ///< the USB server is told to end and started again
  outages,        ///< nothing passes, shorter and longer than the grace time
  till_deaths,    ///< a till's program dies, or its RDP connection ends, and comes back
  server_deaths,  ///< the USB server's program dies and is started again
  pulls,          ///< a stick is pulled and plugged in again, also while the USB server is away
  storm,          ///< all of it
};
[[nodiscard]] const char* name_of(Weather weather);
/// Neither a link nor a program is away longer than the grace time, no program dies, and no stick
/// is pulled: nothing may be lost.
[[nodiscard]] constexpr bool is_harmless(Weather weather) {
  return weather <= Weather::restarts;
}

/// What there is that can break.
struct Things {
  World& world;
  Network& network;
  std::vector<std::unique_ptr<Stick>> sticks;
  std::vector<std::unique_ptr<Workplace>> workplaces;
  std::unique_ptr<ServerProgram> server;  ///< nullptr: not started
  std::function<void()> start_server;
};

class Meteorologist {
 public:
  Meteorologist(Things& things, Weather weather, Outcome& outcome)
      : things_(things), world_(things.world), weather_(weather), outcome_(outcome) {}

  /// From now on it happens, until `end` at the latest.
  void begin(Instant end);
  /// Nothing more happens; whatever is away comes back within `recovery`.
  void end();
  static constexpr std::chrono::seconds recovery{250};

  /// The USB server was away longer than the grace time.
  [[nodiscard]] bool long_absence() const noexcept { return long_absence_; }

 private:
  void cut();
  void hole(Duration least, Duration most);
  void till_dies();
  void server_dies();
  void server_restarts();
  void server_comes_back(const std::function<void()>& then);
  void pull();
  void later(Duration least, Duration most, const std::function<void()>& what);
  [[nodiscard]] Workplace& one_till();
  /// Of a shop with several tills one or all.
  [[nodiscard]] std::string one_or_all();

  Things& things_;
  World& world_;
  Weather weather_;
  Outcome& outcome_;
  bool over_ = false, long_absence_ = false;
};

}  // namespace tillbridge::simulation
