#include "tests/simulation/shop.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "server/usb/log.hpp"

namespace tillbridge::simulation {
namespace {

using namespace std::chrono_literals;
using pos::Family;

class Shop {
 public:
  Shop(std::uint32_t seed, Weather weather, Sabotage sabotage);
  ~Shop();
  Shop(const Shop&) = delete;
  Shop& operator=(const Shop&) = delete;
  Shop(Shop&&) = delete;
  Shop& operator=(Shop&&) = delete;

  Outcome run();

 private:
  void furnish();
  [[nodiscard]] server::Config configuration();
  /// All POS at the same time.
  void each(const std::function<void(Workplace&)>& work);
  void sign_last(Stick& stick);
  void check_log(Stick& stick, Workplace& who);
  void check_witness(const Stick& stick);
  void sum_up();
  /// No receipt may fail with this stick, and nothing be asked of it twice. A serial line's
  /// clients wait for 2 s, not for a minute.
  [[nodiscard]] bool no_failures(const Stick& stick) const {
    return is_harmless(weather_) && (stick.family != Family::diebold || weather_ == Weather::calm);
  }

  World world_;
  Network network_{world_};
  Weather weather_;
  Sabotage sabotage_;
  Outcome outcome_;
  LeaseBook book_;
  Things things_{world_, network_, {}, {}, nullptr, {}};
  Meteorologist weather_maker_{things_, weather_, outcome_};
};

Shop::Shop(std::uint32_t seed, Weather weather, Sabotage sabotage)
    : world_(seed), weather_(weather), sabotage_(sabotage) {
  server::log::set_sink([this](server::log::Level level, const std::string& message) {
    if (level != server::log::Level::debug) world_.tell("server", message);
  });
  furnish();
  things_.start_server = [this, config = configuration()] {
    things_.server = std::make_unique<ServerProgram>(world_, things_.sticks, config, book_);
  };
}

Shop::~Shop() {
  things_.workplaces.clear();
  things_.server.reset();
  server::log::set_sink({});
}

// Mostly one till with one stick; else several of both, or two tills that share one.
void Shop::furnish() {
  const bool one = sabotage_ != Sabotage::none || !world_.one_in(3);
  const std::uint32_t tills = one ? 1 : 2 + world_.below(2);
  const bool shared =
      !one && !is_harmless(weather_) && weather_ != Weather::server_deaths && !world_.one_in(3);
  // Otherwise until the link is back, or the till has given up hope that it comes back.
  const Duration cancel_within = weather_ == Weather::calm ? 250ms : 200s;
  for (std::uint32_t number = 1; number <= tills; ++number) {
    const bool shares = shared && number <= 2;
    if (number == 1 || !shares || things_.sticks.empty()) {
      things_.sticks.push_back(
          std::make_unique<Stick>(world_, book_, static_cast<Family>(world_.below(3)), number));
    }
    Stick& stick = *things_.sticks.back();
    const Workplace::Rules rules{no_failures(stick), shares, cancel_within};
    things_.workplaces.push_back(
        std::make_unique<Workplace>(world_, number, stick, rules, outcome_));
  }
}

server::Config Shop::configuration() {
  std::string text =
      "[link]\nlisten = \"127.0.0.1:" + std::to_string(link_port) +
      "\"\ncertificate = \"server.crt\"\nkey = \"server.key\"\nauthority = \"authority.crt\"\n"
      "[libusb]\nenabled = false\n";
  // Of several tills that may have a stick the first one's mapping has to name a user.
  for (const auto& workplace : things_.workplaces) {
    text += "[[map]]\nstick = \"" + workplace->stick().identity + "\"\ntill = \"" +
            workplace->name() +
            (workplace == things_.workplaces.front() ? "\"\nuser = \"anna" : "") +
            "\"\npipeline = \"" + (world_.one_in(4) ? "off" : "on") + "\"\n";
  }
  auto config = server::parse_config(text, "tillbridged.toml");
  if (!config) throw std::runtime_error(config.error().message);
  return std::move(*config);
}

void Shop::each(const std::function<void(Workplace&)>& work) {
  if (things_.workplaces.size() == 1) return work(*things_.workplaces.front());
  std::vector<std::unique_ptr<Errand>> errands;
  for (const auto& workplace : things_.workplaces) {
    errands.push_back(std::make_unique<Errand>(world_, [&] { work(*workplace); }));
  }
}

// --- the run

Outcome Shop::run() {
  for (const auto& stick : things_.sticks) {
    if (weather_ == Weather::calm) stick->ledger.expect_calm(stick->family == Family::diebold);
  }
  things_.start_server();
  // Who shares a stick finds it set up.
  std::vector<const Stick*> set_up;
  for (const auto& workplace : things_.workplaces) {
    workplace->open_session();
    const Stick* stick = &workplace->stick();
    if (!set_up.empty() && set_up.back() == stick) continue;
    set_up.push_back(stick);
    workplace->set_up();
  }
  for (const auto& stick : things_.sticks) {
    stick->ledger.set_strict(is_harmless(weather_));
    stick->ledger.allow_command_ends(!is_harmless(weather_));
  }
  if (world_.violated().empty()) {
    weather_maker_.begin(world_.now() + 4min);
    if (sabotage_ != Sabotage::none) network_.sabotage(sabotage_, world_.below(200));
    each([](Workplace& workplace) { workplace.sign_receipts(); });
    weather_maker_.end();
  }
  if (world_.violated().empty()) {
    world_.run_for(Meteorologist::recovery);
    for (const auto& stick : things_.sticks) sign_last(*stick);
  }
  sum_up();
  return outcome_;
}

void Shop::sign_last(Stick& stick) {
  Workplace* who = nullptr;
  std::size_t claim_it = 0;
  for (const auto& workplace : things_.workplaces) {
    if (&workplace->stick() != &stick) continue;
    claim_it += workplace->has_stick() ? 1U : 0U;
    if (who == nullptr && workplace->sign_last()) who = workplace.get();
  }
  if (!world_.violated().empty()) return;
  if (claim_it > 1) world_.violation("two sessions have the stick " + stick.serial);
  if (who == nullptr) return world_.violation("nobody gets the stick " + stick.serial);
  check_log(stick, *who);
}

void Shop::check_log(Stick& stick, Workplace& who) {
  const PosHost::Here here(who.host());
  std::uint64_t first_counter = 0;
  std::vector<const Workplace::Receipts*> all;
  for (const auto& workplace : things_.workplaces) {
    if (&workplace->stick() != &stick) continue;
    first_counter = std::max(first_counter, workplace->first_counter());
    all.push_back(&workplace->receipts());
  }
  auto logs = who.tse().logs_above(first_counter);
  if (!logs) {
    // The weather's last half-open connection may be found only now, and a serial POS waits less
    // than that takes. Reading again changes nothing.
    world_.run_for(30s);
    logs = who.tse().logs_above(first_counter);
  }
  if (!logs) return world_.violation("the stick does not show its log: " + logs.failure().message);
  std::map<std::string, std::size_t> finished;
  for (const auto& log : *logs) {
    const auto* const content = std::get_if<tse::TransactionLog>(&log.content);
    if (content == nullptr || content->step != tse::TransactionStep::finish) continue;
    finished[std::string(content->process_data.begin(), content->process_data.end())] += 1;
  }
  for (const auto* receipts : all) {
    for (const std::string& data : receipts->verified) {
      if (finished[data] == 0) world_.violation("a receipt is not in the stick's log: " + data);
      if (finished[data] > 1) world_.violation("a receipt is in the stick's log twice: " + data);
    }
    for (const std::string& data : receipts->not_signed) {
      if (finished[data] > 0) world_.violation("signed, and the POS was told that not: " + data);
    }
    for (const std::string& data : receipts->unknown) {
      if (finished[data] > 1) world_.violation("a receipt is in the stick's log twice: " + data);
    }
  }
}

void Shop::check_witness(const Stick& stick) {
  const simulator::Witness& witness = stick.device->bench().witness;
  const std::uint64_t own = no_failures(stick) ? 0 : stick.ledger.asked_again();
  if (witness.repeated_frames() > own) world_.violation("the stick saw a frame twice");
  if (witness.counter_gaps() > 0) world_.violation("the signature counter has a gap");
  if (witness.power_cycles() > stick.ledger.pulls()) world_.violation("the stick lost its power");
  if (witness.bus_resets() > 0) world_.violation("the stick was reset");
  if (no_failures(stick) && witness.class_resets() > 0) {
    world_.violation("a class driver had to reset the stick");
  }
}

void Shop::sum_up() {
  bool serial = false;
  for (const auto& stick : things_.sticks) {
    check_witness(*stick);
    serial = serial || stick->family == Family::diebold;
    outcome_.signatures += stick->device->bench().witness.signatures();
    outcome_.transfers += stick->ledger.reached();
    outcome_.lost += stick->ledger.lost() + stick->ledger.failed();
    outcome_.command_ends += stick->ledger.command_ends();
  }
  for (const auto& workplace : things_.workplaces) workplace->end_session();
  outcome_.sticks = things_.sticks.size();
  outcome_.tills = things_.workplaces.size();
  const bool deaths = weather_ == Weather::server_deaths;
  const bool stays = is_harmless(weather_) || (deaths && !weather_maker_.long_absence());
  if (stays && outcome_.departures > 0) world_.violation("a stick left the session");
  if (deaths && !serial && outcome_.failed > outcome_.server_deaths * outcome_.tills) {
    world_.violation("more receipts failed than the server died");
  }
  outcome_.violation = world_.violated();
  outcome_.connections = network_.connections_made();
  outcome_.resumed = book_.resumed();
  outcome_.continued = book_.continued();
  outcome_.handed_over = book_.handed_over();
  outcome_.sabotaged = network_.sabotaged();
  outcome_.virtual_ms = static_cast<std::uint64_t>(world_.now() / 1ms);
  outcome_.fingerprint = world_.fingerprint();
}

}  // namespace

Outcome simulate(std::uint32_t seed, Weather weather, Sabotage sabotage) {
  Shop shop(seed, weather, sabotage);
  return shop.run();
}

}  // namespace tillbridge::simulation
