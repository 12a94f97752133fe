#include "tests/simulation/workplace.hpp"

#include <map>
#include <utility>

#include "pos/connection.hpp"

namespace tillbridge::simulation {

using namespace std::chrono_literals;
using pos::Family;

namespace {

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

pos::Access::Settings access_to(Family family) {
  pos::Access::Settings settings;
  settings.secrets = pins_of(family);
  settings.environment = false;
  return settings;
}

}  // namespace

Workplace::Workplace(World& world, unsigned number, Stick& stick, Rules rules, Outcome& outcome)
    : world_(world),
      name_("kasse-0" + std::to_string(number)),
      number_(number),
      stick_(stick),
      rules_(rules),
      outcome_(outcome),
      access_(access_to(stick.family)) {}

Workplace::~Workplace() {
  // The POS first: it gives its stick back, which the session has to hear.
  const PosHost::Here here(pos_);
  cashier_.reset();
  tse_.reset();
  till_.reset();
  end_session();
}

// --- programs

void Workplace::open_session() {
  end_session();
  rdp_ = std::make_shared<Rdp>(world_);
  till_ = std::make_unique<Till>(world_, name_, link_port, rdp_);
  terminal_ = std::make_unique<Terminal>(world_, stick_.ledger, name_, rules_.cancel_within, rdp_);
  pos_.use(terminal_.get());
}

void Workplace::end_session() {
  if (!terminal_) return;
  outcome_.arrivals += terminal_->arrivals();
  outcome_.departures += terminal_->departures();
  pos_.use(nullptr);
  terminal_.reset();
}

void Workplace::leave(bool killed, Duration absence) {
  if (std::exchange(away_, true)) return;
  world_.tell("weather", name_ + (killed ? " is killed" : " loses its RDP connection"));
  const auto gone = [this, absence] {
    till_.reset();
    end_session();
    world_.after(absence, [this] {
      away_ = false;
      open_session();
    });
  };
  if (killed) {
    till_.reset();
    world_.after(world_.between(0us, 40ms), gone);  // until the terminal server notices
  } else {
    till_->stop([this, gone] { world_.after(0us, gone); });
  }
}

// --- the POS

pos::Deed Workplace::connect() {
  const auto told = [this](const std::string& text) { world_.tell(name_ + " pos", text); };
  if (!tse_) {
    pos::Options options;
    options.usbip = "127.0.0.1:3240";
    auto chosen = pos::choose_tse(options, {}, pos_);
    if (!chosen) return chosen.failure();
    tse_ = std::move(*chosen);
    cashier_ = std::make_unique<pos::Cashier>(*tse_, *access_, told);
  }
  pos::Deed done = tse_->connect();
  if (done && !at_work_) {
    done = tse_->set_up(name_, *access_, told);
    at_work_ = static_cast<bool>(done);
  }
  if (done) done = cashier_->open(name_);
  if (done || (done.failure().what != pos::Trouble::last_pin_try &&
               done.failure().what != pos::Trouble::pin_blocked)) {
    return done;
  }
  // Logins whose answers were lost count as wrong, and the POS wants a person to make sure. One
  // does: the PIN is right.
  cashier_.reset();
  tse_.reset();
  access_.emplace(access_to(stick_.family));
  return done;
}

void Workplace::set_up() {
  const PosHost::Here here(pos_);
  if (!world_.run_until([this] { return has_stick(); }, world_.now() + 60s)) {
    return world_.violation("the stick does not come into the session of " + name_);
  }
  if (const pos::Deed done = connect(); !done) {
    return world_.violation("the stick cannot be set up: " + done.failure().message);
  }
  const auto counter = tse_->signature_counter();
  if (!counter) return world_.violation("the stick has no counter: " + counter.failure().message);
  first_counter_ = *counter;
}

void Workplace::sign_receipts() {
  const PosHost::Here here(pos_);
  const std::size_t count = 3 + world_.below(6);
  for (std::size_t done = 0; done < count && world_.violated().empty(); ++done) {
    pos_.wait(world_.between(0us, world_.one_in(4) ? 20s : 1s));
    if (rules_.shares) {
      world_.run_until([this] { return has_stick(); }, world_.now() + 30s);
      if (!has_stick() || !recover()) continue;
    }
    sign(rules_.no_failures);
    if (!rules_.shares || away_ || world_.one_in(2)) continue;
    leave(false, world_.between(1s, 20s));
    world_.run_until([this] { return !away_; }, Instant::max());
  }
}

void Workplace::sign(bool must_succeed) {
  const auto cents = static_cast<std::int64_t>(number_ * 10'000 + ++last_receipt_);
  const std::string data = *pos::process_data("Kassenbeleg-V1", cents);
  outcome_.receipts += 1;
  world_.tell(name_ + " pos", "receipt " + std::to_string(last_receipt_));
  const auto receipt = cashier_->sign({name_, "Kassenbeleg-V1", data});
  if (receipt) {
    if (const Status good = tse::check_receipt(*receipt); !good) {
      world_.violation("a receipt is wrong: " + good.error().message);
    }
    outcome_.verified += 1;
    receipts_.verified.push_back(data);
    return;
  }
  note(receipt.failure(), data);
  if (must_succeed) world_.violation("a receipt failed: " + receipt.failure().message);
  if (world_.violated().empty()) recover();
}

void Workplace::note(const pos::Failure& failure, const std::string& data) {
  world_.tell(name_ + " pos", "no receipt: " + failure.message);
  outcome_.failed += 1;
  if (failure.what == pos::Trouble::signature_unknown) {
    outcome_.unknown += 1;
    receipts_.unknown.push_back(data);
  } else {
    receipts_.not_signed.push_back(data);
  }
}

bool Workplace::recover() {
  const Instant end = world_.now() + 15min;
  while (world_.now() < end && world_.violated().empty()) {
    const pos::Deed ready = connect();
    if (ready) {
      finish_open();
      return true;
    }
    world_.tell(name_ + " pos", "cannot sign: " + ready.failure().message);
    if (rules_.shares && !has_stick()) return false;
    pos_.wait(500ms);
  }
  world_.violation("the POS of " + name_ + " cannot sign any more");
  return false;
}

void Workplace::finish_open() {
  const auto open = tse_->open_transactions();
  if (!open) return;
  for (const std::uint64_t transaction : *open) {
    (void)cashier_->finish(transaction, pos::aborted_receipt(name_));
  }
}

bool Workplace::sign_last() {
  const PosHost::Here here(pos_);
  world_.run_until([this] { return has_stick(); }, world_.now() + (rules_.shares ? 10s : 120s));
  if (!has_stick()) {
    if (!rules_.shares) world_.violation("the stick does not come back to " + name_);
    return false;
  }
  if (!recover()) return false;
  sign(true);
  return true;
}

}  // namespace tillbridge::simulation
