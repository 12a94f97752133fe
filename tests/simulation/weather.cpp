#include "tests/simulation/weather.hpp"

#include <string>

namespace tillbridge::simulation {

using namespace std::chrono_literals;

const char* name_of(Weather weather) {
  switch (weather) {
    case Weather::calm:
      return "calm";
    case Weather::cuts:
      return "cuts";
    case Weather::half_open:
      return "half_open";
    case Weather::holes:
      return "holes";
    case Weather::restarts:
      return "restarts";
    case Weather::outages:
      return "outages";
    case Weather::till_deaths:
      return "till_deaths";
    case Weather::server_deaths:
      return "server_deaths";
    case Weather::pulls:
      return "pulls";
    case Weather::storm:
      break;
  }
  return "storm";
}

void Meteorologist::begin(Instant end) {
  Network::Conditions conditions;
  conditions.latency_most = world_.one_in(3) ? 60ms : 5ms;
  if (world_.one_in(4)) conditions.window = 2000;
  const bool storm = weather_ == Weather::storm;
  const bool rough =
      weather_ == Weather::half_open || storm || (!is_harmless(weather_) && world_.one_in(2));
  conditions.half_open = rough;
  conditions.slow_of_ten = rough ? 2 : 0;
  things_.network.set(conditions);
  if (weather_ == Weather::cuts || weather_ == Weather::half_open || storm) cut();
  if (weather_ == Weather::holes) hole(100ms, 30s);
  if (weather_ == Weather::outages || storm) hole(100ms, 120s);
  if (weather_ == Weather::till_deaths || storm) till_dies();
  if (weather_ == Weather::server_deaths || weather_ == Weather::pulls || storm) server_dies();
  if (weather_ == Weather::restarts || weather_ == Weather::pulls || storm) server_restarts();
  if (weather_ == Weather::pulls || storm) pull();
  // However much there is to recover from, it has an end.
  world_.at(end, [this] { this->end(); });
}

void Meteorologist::end() {
  over_ = true;
  things_.network.heal();
}

void Meteorologist::later(Duration least, Duration most, const std::function<void()>& what) {
  const int rarer = weather_ == Weather::storm ? 4 : 1;  // there are six of them
  world_.after(rarer * world_.between(least, most), [this, what] {
    if (!over_) what();
  });
}

Workplace& Meteorologist::one_till() {
  const auto count = static_cast<std::uint32_t>(things_.workplaces.size());
  return *things_.workplaces[count == 1 ? 0 : world_.below(count)];
}

std::string Meteorologist::one_or_all() {
  return world_.one_in(2) ? std::string() : one_till().name();
}

void Meteorologist::cut() {
  later(50ms, weather_ == Weather::cuts ? 500ms : 8s, [this] {
    outcome_.cuts += 1;
    things_.network.cut(one_or_all());
    cut();
  });
}

void Meteorologist::hole(Duration least, Duration most) {
  later(100ms, 20s, [this, least, most] {
    const Duration time = world_.between(least, world_.one_in(3) ? most : 5s);
    const std::string till = one_or_all();
    world_.tell("weather", "nothing passes for " + std::to_string(time / 1ms) +
                               " ms: " + (till.empty() ? "all" : till));
    outcome_.holes += 1;
    things_.network.swallow_for(time, till);
    world_.after(time, [this, least, most] { hole(least, most); });
  });
}

void Meteorologist::till_dies() {
  later(500ms, 15s, [this] {
    Workplace& till = one_till();
    if (!till.is_away()) {
      outcome_.till_deaths += 1;
      till.leave(world_.one_in(2), world_.between(50ms, world_.one_in(5) ? 90s : 3s));
    }
    till_dies();
  });
}

void Meteorologist::server_dies() {
  later(500ms, 15s, [this] {
    if (!things_.server) return server_dies();
    outcome_.server_deaths += 1;
    world_.tell("weather", "the USB server is killed");
    things_.server.reset();
    server_comes_back([this] { server_dies(); });
  });
}

void Meteorologist::server_restarts() {
  later(100ms, 8s, [this] {
    if (!things_.server) return server_restarts();
    outcome_.restarts += 1;
    world_.tell("weather", "the USB server is told to end");
    things_.server->stop([this, its = things_.server.get()] {
      world_.after(0us, [this, its] {
        if (things_.server.get() != its) return server_restarts();  // killed meanwhile
        world_.tell("weather", "the USB server has ended");
        things_.server.reset();
        server_comes_back([this] { server_restarts(); });
      });
    });
  });
}

void Meteorologist::server_comes_back(const std::function<void()>& then) {
  const bool long_absence = !is_harmless(weather_) && world_.one_in(8);
  long_absence_ = long_absence_ || long_absence;
  world_.after(world_.between(20ms, 3s) + (long_absence ? 70s : 0s), [this, then] {
    world_.tell("weather", "the USB server is started");
    things_.start_server();
    then();
  });
}

void Meteorologist::pull() {
  later(500ms, 20s, [this] {
    const auto count = static_cast<std::uint32_t>(things_.sticks.size());
    Stick& stick = *things_.sticks[count == 1 ? 0 : world_.below(count)];
    world_.tell("weather", "the stick " + stick.serial + " is pulled");
    outcome_.pulls += 1;
    if (things_.server) {
      things_.server->unplug(stick);
      // A server that is started meanwhile finds it plugged in.
      world_.after(world_.between(50ms, world_.one_in(5) ? 80s : 4s), [this, &stick] {
        if (things_.server) things_.server->plug(stick);
      });
    } else {
      simulator::Bench& bench = stick.device->bench();
      bench.witness.unplugged();
      bench.arrivals += 1;
      stick.ledger.pulled();
      stick.device->power_cycle(world_.now());
    }
    pull();
  });
}

}  // namespace tillbridge::simulation
