#include "tests/simulation/shop.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "pos/cashier.hpp"
#include "pos/connection.hpp"
#include "server/simulator/factory.hpp"
#include "server/usb/log.hpp"
#include "server/usb/usb_server.hpp"
#include "tests/simulation/ledger.hpp"
#include "tests/simulation/pos_host.hpp"
#include "tests/simulation/terminal.hpp"
#include "tests/simulation/till.hpp"

namespace tillbridge::simulation {
namespace {

using namespace std::chrono_literals;
using pos::Family;

const std::string till_name = "kasse-01", serial = "5A2F00000001";
constexpr std::uint16_t link_port = 4711;

/// The leases as the server's store has them, over its deaths.
class LeaseBook final : public server::Observer {
 public:
  void lease_begun(const server::PresentStick& stick) override {
    const server::LeaseRecord& record = stick.lease->record();
    if (!dead)
      leases_[record.stick] = {record.stick, record.till, record.session, record.continuity};
  }
  void lease_ended(const server::LeaseRecord& record) override {
    if (!dead && record.end != server::LeaseEnd::server_restarts) leases_.erase(record.stick);
  }
  void kept_ended(const server::KeptLease& kept, server::LeaseEnd /*how*/) override {
    if (!dead) leases_.erase(kept.stick);
  }
  [[nodiscard]] std::vector<server::KeptLease> open() const {
    std::vector<server::KeptLease> leases;
    for (const auto& [stick, lease] : leases_) leases.push_back(lease);
    return leases;
  }
  bool dead = false;  ///< nobody writes into it any more

 private:
  std::map<std::string, server::KeptLease> leases_;
};

/// The program of the USB server. Destroying it is kill -9.
class Server {
 public:
  Server(World& world, Ledger& ledger, const std::shared_ptr<simulator::Device>& stick,
         const server::Config& config, LeaseBook& book)
      : book_(book), usb_(loop_, config) {
    std::vector<std::unique_ptr<simulator::Device>> devices;
    auto device = std::make_unique<LentDevice>(stick, ledger, world);
    device_ = device.get();
    devices.push_back(std::move(device));
    usb_.registry().add(std::make_unique<server::SimulatedSource>(loop_, std::move(devices)));
    book_.dead = false;
    usb_.observe(book_);
    usb_.keep(book_.open());
    if (const auto failure = usb_.start()) throw std::runtime_error(failure->error.message);
  }
  ~Server() {
    book_.dead = true;
    device_->die();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  Server(Server&&) = delete;
  Server& operator=(Server&&) = delete;

  /// SIGTERM.
  void stop(std::function<void()> stopped) { usb_.stop(std::move(stopped)); }

 private:
  LeaseBook& book_;
  LentDevice* device_ = nullptr;  // the source's
  transport::Loop loop_;
  server::UsbServer usb_;
};

std::map<pos::Secret, std::string> pins_of(Family family) {
  using pos::Secret;
  switch (family) {
    case Family::cryptovision:
      return {{Secret::admin_pin, "11111111"},
              {Secret::admin_puk, "1111111111"},
              {Secret::time_pin, "22222222"},
              {Secret::time_puk, "2222222222"}};
    case Family::swissbit:
      return {
          {Secret::admin_pin, "11111"}, {Secret::admin_puk, "111111"}, {Secret::time_pin, "22222"}};
    case Family::diebold:
      break;
  }
  return {
      {Secret::admin_pin, "11111"}, {Secret::time_pin, "22222"}, {Secret::transport_pin, "12345"}};
}

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
  /// Neither a link nor a program is away longer than the grace time, and no program dies.
  [[nodiscard]] bool strict() const { return weather_ <= Weather::restarts; }
  /// A serial line's clients wait for 2 s, not for a minute.
  [[nodiscard]] bool patient() const {
    return family_ != Family::diebold || weather_ == Weather::calm;
  }

  void open_session();
  void end_session();
  void start_server();

  // weather
  void begin_weather();
  void next_cut();
  void next_hole(Duration least, Duration most);
  void next_till_death();
  void next_server_death();
  void next_restart();
  void server_comes_back(const std::function<void()>& then);
  void again(Duration least, Duration most, const std::function<void()>& what);

  // the POS
  bool set_up();
  void sign_receipts();
  void sign(std::size_t number, bool last);
  /// Until the POS can sign again; false after so long that something must be broken.
  bool recover();
  void finish_open(pos::Cashier& cashier);
  void check_logs();
  void check_witness();

  World world_;
  Network network_{world_};
  PosHost pos_{world_};
  Ledger ledger_{world_};
  Weather weather_;
  Sabotage sabotage_;
  Outcome outcome_;
  Family family_;
  std::shared_ptr<simulator::Device> stick_;
  server::Config config_;
  LeaseBook book_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<Rdp> rdp_;
  std::unique_ptr<Terminal> terminal_;
  std::unique_ptr<Till> till_;
  bool weathered_ = false;     ///< the weather is over
  bool long_absence_ = false;  ///< of the server

  pos::Access access_;
  std::unique_ptr<pos::Tse> tse_;
  std::unique_ptr<pos::Cashier> cashier_;
  std::uint64_t first_counter_ = 0;
  std::vector<std::string> signed_, not_signed_, unknown_;  ///< process data
};

Shop::Shop(std::uint32_t seed, Weather weather, Sabotage sabotage)
    : world_(seed),
      weather_(weather),
      sabotage_(sabotage),
      family_(static_cast<Family>(world_.below(3))),
      access_([this] {
        pos::Access::Settings settings;
        settings.secrets = pins_of(family_);
        settings.environment = false;
        return settings;
      }()) {
  server::log::set_sink([this](server::log::Level level, const std::string& message) {
    if (level != server::log::Level::debug) world_.tell("server", message);
  });
  simulator::DeviceOptions options;
  options.kind = pos::name_of(family_);
  options.serial = serial;
  options.size_mib = 16;
  options.seed = seed;
  auto device = simulator::make_device(options);
  if (!device) throw std::runtime_error(device.error().message);
  stick_ = std::move(*device);
  const char* const models[] = {"1209:0003", "1209:0004", "1209:0005"};
  const std::string pipeline = world_.one_in(4) ? "off" : "on";
  auto config = server::parse_config(
      "[link]\nlisten = \"127.0.0.1:4711\"\ncertificate = \"server.crt\"\nkey = \"server.key\"\n"
      "authority = \"authority.crt\"\n[libusb]\nenabled = false\n[[map]]\nstick = \"" +
          std::string(models[static_cast<std::size_t>(family_)]) + ":" + serial + "\"\ntill = \"" +
          till_name + "\"\npipeline = \"" + pipeline + "\"\n",
      "tillbridged.toml");
  if (!config) throw std::runtime_error(config.error().message);
  config_ = std::move(*config);
}

Shop::~Shop() {
  // The POS first: it gives its stick back, which the session has to hear.
  cashier_.reset();
  tse_.reset();
  pos_.use(nullptr);
  till_.reset();
  terminal_.reset();
  server_.reset();
  server::log::set_sink({});
}

// --- programs

void Shop::start_server() {
  server_ = std::make_unique<Server>(world_, ledger_, stick_, config_, book_);
}

void Shop::open_session() {
  rdp_ = std::make_shared<Rdp>(world_);
  till_ = std::make_unique<Till>(world_, till_name, link_port, rdp_);
  terminal_ = std::make_unique<Terminal>(world_, ledger_, rdp_);
  pos_.use(terminal_.get());
}

void Shop::end_session() {
  outcome_.arrivals += terminal_->arrivals();
  outcome_.departures += terminal_->departures();
  pos_.use(nullptr);
  terminal_.reset();
}

// --- weather

void Shop::again(Duration least, Duration most, const std::function<void()>& what) {
  const int rarer = weather_ == Weather::storm ? 4 : 1;  // there are five of them
  world_.after(rarer * world_.between(least, most), [this, what] {
    if (!weathered_) what();
  });
}

void Shop::begin_weather() {
  Network::Conditions conditions;
  const bool slow = world_.one_in(3);
  conditions.latency_most = slow ? 60ms : 5ms;
  if (world_.one_in(4)) conditions.window = 2000;
  const bool rough = weather_ == Weather::half_open || weather_ == Weather::storm ||
                     (weather_ >= Weather::outages && world_.one_in(2));
  conditions.half_open = rough;
  conditions.slow_of_ten = rough ? 2 : 0;
  network_.set(conditions);
  const bool storm = weather_ == Weather::storm;
  if (weather_ == Weather::cuts || weather_ == Weather::half_open || storm) next_cut();
  if (weather_ == Weather::holes) next_hole(100ms, 30s);
  if (weather_ == Weather::outages || storm) next_hole(100ms, 120s);
  if (weather_ == Weather::till_deaths || storm) next_till_death();
  if (weather_ == Weather::server_deaths || storm) next_server_death();
  if (weather_ == Weather::restarts || storm) next_restart();
  // However much there is to recover from, it has an end.
  world_.after(4min, [this] {
    weathered_ = true;
    network_.heal();
  });
  if (sabotage_ != Sabotage::none) network_.sabotage(sabotage_, world_.below(200));
}

void Shop::next_cut() {
  const bool often = weather_ == Weather::cuts;
  again(50ms, often ? 500ms : 8s, [this] {
    outcome_.cuts += 1;
    network_.cut();
    next_cut();
  });
}

void Shop::next_hole(Duration least, Duration most) {
  again(100ms, 20s, [this, least, most] {
    const Duration time = world_.between(least, world_.one_in(3) ? most : 5s);
    world_.tell("weather", "nothing passes for " + std::to_string(time / 1ms) + " ms");
    outcome_.cuts += 1;
    network_.swallow_for(time);
    world_.after(time, [this, least, most] { next_hole(least, most); });
  });
}

void Shop::next_till_death() {
  again(500ms, 15s, [this] {
    outcome_.till_deaths += 1;
    const bool killed = world_.one_in(2);
    world_.tell("weather", killed ? "the till is killed" : "the till's RDP connection ends");
    const auto come_back = [this] {
      world_.after(world_.between(50ms, world_.one_in(5) ? 90s : 3s), [this] {
        if (terminal_) end_session();
        open_session();
        next_till_death();
      });
    };
    if (killed) {
      till_.reset();
      world_.after(world_.between(0us, 40ms), [this] {
        if (terminal_) end_session();
      });
      come_back();
      return;
    }
    till_->stop([this, come_back] {
      world_.after(0us, [this, come_back] {
        till_.reset();
        if (terminal_) end_session();
        come_back();
      });
    });
  });
}

void Shop::next_server_death() {
  again(500ms, 15s, [this] {
    if (!server_) return next_server_death();
    outcome_.server_deaths += 1;
    world_.tell("weather", "the USB server is killed");
    server_.reset();
    server_comes_back([this] { next_server_death(); });
  });
}

void Shop::next_restart() {
  again(100ms, 8s, [this] {
    if (!server_) return next_restart();
    outcome_.restarts += 1;
    world_.tell("weather", "the USB server is told to end");
    server_->stop([this, its = server_.get()] {
      world_.after(0us, [this, its] {
        if (server_.get() != its) return;  // killed meanwhile
        world_.tell("weather", "the USB server has ended");
        server_.reset();
        server_comes_back([this] { next_restart(); });
      });
    });
  });
}

void Shop::server_comes_back(const std::function<void()>& then) {
  const bool long_absence = !strict() && world_.one_in(8);
  long_absence_ = long_absence_ || long_absence;
  world_.after(world_.between(20ms, 3s) + (long_absence ? 70s : 0s), [this, then] {
    start_server();
    then();
  });
}

// --- the POS

bool Shop::set_up() {
  if (!world_.run_until([&] { return terminal_->has_stick(); }, world_.now() + 60s)) {
    world_.violation("the stick does not come into the session");
    return false;
  }
  pos::Options options;
  options.usbip = "127.0.0.1:3240";
  auto chosen = pos::choose_tse(options, {}, pos_);
  if (!chosen) {
    world_.violation("the POS does not find its stick: " + chosen.failure().message);
    return false;
  }
  tse_ = std::move(*chosen);
  const auto told = [this](const std::string& text) { world_.tell("pos", text); };
  cashier_ = std::make_unique<pos::Cashier>(*tse_, access_, told);
  pos::Deed done = tse_->connect();
  if (done) done = tse_->set_up(till_name, access_, told);
  if (done) done = cashier_->open(till_name);
  if (!done) {
    world_.violation("the stick cannot be set up: " + done.failure().message);
    return false;
  }
  const auto counter = tse_->signature_counter();
  if (counter) first_counter_ = *counter;
  return true;
}

void Shop::sign_receipts() {
  const std::size_t count = 3 + world_.below(6);
  for (std::size_t number = 1; number <= count && world_.violated().empty(); ++number) {
    pos_.wait(world_.between(0us, world_.one_in(4) ? 20s : 1s));
    sign(number, false);
  }
}

void Shop::sign(std::size_t number, bool last) {
  const std::string data = *pos::process_data("Kassenbeleg-V1", static_cast<std::int64_t>(number));
  outcome_.receipts += 1;
  world_.tell("pos", "receipt " + std::to_string(number));
  const auto receipt = cashier_->sign({till_name, "Kassenbeleg-V1", data});
  if (receipt) {
    if (const Status good = tse::check_receipt(*receipt); !good) {
      world_.violation("a receipt is wrong: " + good.error().message);
    }
    outcome_.verified += 1;
    signed_.push_back(data);
    return;
  }
  world_.tell("pos", "no receipt: " + receipt.failure().message);
  outcome_.failed += 1;
  if (receipt.failure().what == pos::Trouble::signature_unknown) {
    outcome_.unknown += 1;
    unknown_.push_back(data);
  } else {
    not_signed_.push_back(data);
  }
  if (last || (strict() && patient())) {
    world_.violation("a receipt failed: " + receipt.failure().message);
    return;
  }
  if (!recover()) world_.violation("the POS cannot sign any more");
}

bool Shop::recover() {
  const Instant end = world_.now() + 15min;
  while (world_.now() < end && world_.violated().empty()) {
    pos::Deed ready = tse_->connect();
    if (ready) ready = cashier_->open(till_name);
    if (ready) {
      finish_open(*cashier_);
      return true;
    }
    world_.tell("pos", "cannot sign: " + ready.failure().message);
    pos_.wait(500ms);
  }
  return false;
}

void Shop::finish_open(pos::Cashier& cashier) {
  const auto open = tse_->open_transactions();
  if (!open) return;
  for (const std::uint64_t transaction : *open) {
    (void)cashier.finish(transaction, pos::aborted_receipt(till_name));
  }
}

void Shop::check_logs() {
  const auto logs = tse_->logs_above(first_counter_);
  if (!logs) return world_.violation("the stick does not show its log: " + logs.failure().message);
  std::map<std::string, std::size_t> finished;
  for (const auto& log : *logs) {
    const auto* const content = std::get_if<tse::TransactionLog>(&log.content);
    if (content == nullptr || content->step != tse::TransactionStep::finish) continue;
    finished[std::string(content->process_data.begin(), content->process_data.end())] += 1;
  }
  for (const std::string& data : signed_) {
    if (finished[data] == 0) world_.violation("a receipt is not in the stick's log: " + data);
    if (finished[data] > 1) world_.violation("a receipt is in the stick's log twice: " + data);
  }
  for (const std::string& data : not_signed_) {
    if (finished[data] > 0) world_.violation("signed, and the POS was told that not: " + data);
  }
  for (const std::string& data : unknown_) {
    if (finished[data] > 1) world_.violation("a receipt is in the stick's log twice: " + data);
  }
}

void Shop::check_witness() {
  const simulator::Witness& witness = stick_->bench().witness;
  outcome_.signatures = witness.signatures();
  const std::uint64_t own = strict() && patient() ? 0 : ledger_.asked_again();
  if (witness.repeated_frames() > own) world_.violation("the stick saw a frame twice");
  if (witness.counter_gaps() > 0) world_.violation("the signature counter has a gap");
  if (witness.power_cycles() > 0) world_.violation("the stick lost its power");
  if (witness.bus_resets() > 0) world_.violation("the stick was reset");
  if (strict() && patient() && witness.class_resets() > 0) {
    world_.violation("a class driver had to reset the stick");
  }
}

// --- the run

Outcome Shop::run() {
  start_server();
  open_session();
  if (set_up()) {
    ledger_.set_strict(strict());
    ledger_.allow_command_ends(weather_ >= Weather::outages);
    begin_weather();
    sign_receipts();
    weathered_ = true;
    network_.heal();
    if (world_.violated().empty()) {
      // Whatever was away comes back: programs, connections, the stick.
      world_.run_for(250s);
      if (!world_.run_until([&] { return terminal_ && terminal_->has_stick(); },
                            world_.now() + 120s)) {
        world_.violation("the stick does not come back");
      } else if (!recover()) {
        world_.violation("the POS cannot sign any more, although the weather is fine again");
      } else {
        sign(1000, true);
        check_logs();
      }
    }
  }
  check_witness();
  if (terminal_) end_session();
  const bool stays = strict() || (weather_ == Weather::server_deaths && !long_absence_);
  if (stays && outcome_.departures > 0) world_.violation("the stick left the session");
  if (weather_ == Weather::server_deaths && patient() && outcome_.failed > outcome_.server_deaths) {
    world_.violation("more receipts failed than the server died");
  }
  outcome_.violation = world_.violated();
  outcome_.connections = network_.connections_made();
  outcome_.sabotaged = network_.sabotaged();
  outcome_.transfers = ledger_.reached();
  outcome_.lost_transfers = ledger_.lost();
  outcome_.command_ends = ledger_.command_ends();
  outcome_.virtual_ms = static_cast<std::uint64_t>(world_.now() / 1ms);
  outcome_.fingerprint = world_.fingerprint();
  if (!outcome_.violation.empty()) outcome_.violation += std::string("; ") + pos::name_of(family_);
  return outcome_;
}

}  // namespace

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
    case Weather::storm:
      break;
  }
  return "storm";
}

Outcome simulate(std::uint32_t seed, Weather weather, Sabotage sabotage) {
  Shop shop(seed, weather, sabotage);
  return shop.run();
}

}  // namespace tillbridge::simulation
