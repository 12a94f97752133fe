// Opening a TSE, its clock, and what can be asked of it.

#include "server/simulator/tse/core.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "server/simulator/tse/core_state.hpp"

namespace tillbridge::simulator::tse {
namespace {

Status check_options(const CoreOptions& options) {
  const auto wrong = [](const char* what) {
    return fail(ErrorCode::config, std::string("A simulated TSE cannot have ") + what + ".");
  };
  if (!(options.clock_rate > 0) || !std::isfinite(options.clock_rate))
    return wrong("a clock rate that is not above 0");
  if (options.pin_tries == 0 || options.puk_tries == 0) return wrong("no tries for a PIN or PUK");
  if (options.certificate_begin < 0 || options.certificate_end <= options.certificate_begin)
    return wrong("a certificate that ends before it begins");
  for (const std::string& name : options.user_name)
    if (name.empty() || name.size() > limits::name_bytes)
      return wrong("a user without a short name");
  // More pieces than that, and a log would exceed limits::tse_log_bytes.
  if (options.process_data_piece_bytes > 0 && options.process_data_piece_bytes < 64)
    return wrong("process data in pieces below 64 bytes");
  return {};
}

TransportCredentials transport_credentials(const CoreOptions& options,
                                           const evidence::SerialNumber& serial) {
  if (options.transport_credentials) return options.transport_credentials(serial);
  TransportCredentials credentials;
  for (std::size_t user = 0; user < user_count; ++user) {
    credentials.pin[user] = options.transport_pin[user];
    credentials.puk[user] = options.transport_puk[user];
  }
  return credentials;
}

}  // namespace

TseCore::State::State(CoreOptions with_options, std::unique_ptr<Store> with_store,
                      evidence::SigningKey with_key)
    : options(std::move(with_options)),
      store(std::move(with_store)),
      key(std::move(with_key)),
      key_pem(key.to_pem()),
      serial(key.public_key().serial()),
      clock_rate(options.clock_rate) {
  powered.audit_log_due = options.audit_log_at_start;
}

TseCore::TseCore(std::unique_ptr<State> state) : state_(std::move(state)) {}
TseCore::~TseCore() = default;

Result<std::unique_ptr<TseCore>> TseCore::open(CoreOptions options, std::unique_ptr<Store> store) {
  if (auto status = check_options(options); !status) return status.error();
  const bool fresh = !store->state().has_value();
  auto state = fresh ? State::make(std::move(options), std::move(store))
                     : State::load(std::move(options), std::move(store));
  if (!state) return state.error();
  return std::unique_ptr<TseCore>(new TseCore(std::move(*state)));
}

Result<std::unique_ptr<TseCore::State>> TseCore::State::make(CoreOptions options,
                                                             std::unique_ptr<Store> store) {
  auto key = evidence::SigningKey::generate(options.curve);
  if (!key) return key.error();
  evidence::ChainOptions chain_options;
  chain_options.not_before = options.certificate_begin;
  chain_options.not_after = options.certificate_end;
  auto chain = evidence::make_chain(*key, chain_options);
  if (!chain) return chain.error();

  auto state = std::make_unique<State>(std::move(options), std::move(store), std::move(*key));
  const CoreOptions& its = state->options;
  auto head = make_head(its, *chain, state->serial);
  if (!head) return head.error();
  if (head->size() >= its.store_bytes)
    return fail(ErrorCode::config, "The store of a simulated TSE needs more than " +
                                       std::to_string(head->size()) + " bytes.");
  state->head = std::move(*head);
  state->chain = std::move(*chain);
  state->certificate_end_s = its.certificate_end;
  state->kept.last_time_s = static_cast<std::uint64_t>(its.certificate_begin);
  const TransportCredentials credentials = transport_credentials(its, state->serial);
  for (std::size_t user = 0; user < user_count; ++user) {
    Account& account = state->kept.accounts[user];
    account.pin = credentials.pin[user];
    account.puk = credentials.puk[user];
    account.pin_tries = its.pin_tries;
    account.puk_tries = its.puk_tries;
  }
  const std::string text = state_text(state->kept, its, state->key_pem, state->head.size());
  if (auto status = state->store->commit(text, state->head); !status) return status.error();
  return state;
}

Result<std::unique_ptr<TseCore::State>> TseCore::State::load(CoreOptions options,
                                                             std::unique_ptr<Store> store) {
  auto stored = parse_state(*store->state(), options);
  if (!stored) return stored.error();
  const auto damaged = [](const std::string& what) {
    return fail(ErrorCode::config, "The simulated TSE's store is damaged: " + what);
  };
  if (stored->head_bytes > store->log_bytes()) return damaged("its log ends within its head.");
  auto state =
      std::make_unique<State>(std::move(options), std::move(store), std::move(stored->key));
  state->kept = std::move(stored->kept);
  state->head.resize(stored->head_bytes);
  if (auto status = state->store->read_log(0, state->head); !status) return status.error();
  auto chain = chain_of_head(state->head);
  if (!chain) return damaged("its certificates cannot be read, " + chain.error().message + ".");
  state->chain = std::move(*chain);
  const auto certified = evidence::PublicKey::from_certificate(state->chain.front());
  if (!certified || certified->point() != state->key.public_key().point())
    return damaged("its key does not belong to its certificate.");
  const auto end = evidence::certificate_end(state->chain.front());
  if (!end) return damaged("its certificate has no end.");
  state->certificate_end_s = *end;

  auto logs = read_index(*state->store, state->head.size(), state->serial);
  if (!logs) return logs.error();
  state->logs = std::move(*logs);
  // Only what was exported may be missing from the beginning, and nothing from the end.
  const Kept& kept = state->kept;
  const std::uint64_t first =
      state->logs.empty() ? kept.signature_counter + 1 : state->logs.front().counter;
  const std::uint64_t last =
      state->logs.empty() ? kept.signature_counter : state->logs.back().counter;
  if (last != kept.signature_counter)
    return damaged("its last log has signature counter " + std::to_string(last) +
                   ", its state says " + std::to_string(kept.signature_counter) + ".");
  if (first == 0 || first - 1 > kept.exported_counter)
    return damaged("logs before signature counter " + std::to_string(first) +
                   " are missing and were never exported.");
  return state;
}

void TseCore::power_cycle() {
  state_->powered = {};
  state_->powered.audit_log_due = state_->options.audit_log_at_start;
}

// --- clock

Duration TseCore::State::simulated(Instant now) const {
  const double elapsed = static_cast<double>((now - real_base).count()) * clock_rate;
  return simulated_base + Duration(static_cast<Duration::rep>(elapsed));
}

void TseCore::set_clock_rate(double rate, Instant now) {
  if (!(rate > 0) || !std::isfinite(rate)) return;
  state_->simulated_base = state_->simulated(now);
  state_->real_base = now;
  state_->clock_rate = rate;
}

std::uint64_t TseCore::State::log_time_s(Instant now) const {
  if (!powered.time) return kept.last_time_s;
  const Duration since = simulated(now) - powered.time->set_at;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since).count();
  return powered.time->unix_s + static_cast<std::uint64_t>(std::max<std::int64_t>(0, seconds));
}

Duration TseCore::State::left(Duration since, Duration validity, Instant now) const {
  return std::max(Duration{0}, since + validity - simulated(now));
}

bool TseCore::State::has_time(Instant now) const {
  if (!powered.time) return false;
  return options.time_valid.count() == 0 ||
         left(powered.time->set_at, options.time_valid, now).count() > 0;
}

bool TseCore::State::self_test_passed(Instant now) const {
  if (powered.self_test == Powered::SelfTest::not_done) return !options.needs_self_test;
  if (powered.self_test == Powered::SelfTest::failed) return false;
  return options.self_test_valid.count() == 0 ||
         left(powered.self_test_at, options.self_test_valid, now).count() > 0;
}

namespace {

std::uint32_t whole_seconds(Duration left) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left).count();
  // Below a second it still holds, and 0 would say that it does not.
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(seconds, 1, UINT32_MAX - 1));
}

}  // namespace

std::uint32_t TseCore::seconds_to_time(Instant now) const {
  if (!state_->has_time(now)) return 0;
  const Duration validity = state_->options.time_valid;
  if (validity.count() == 0) return UINT32_MAX;
  return whole_seconds(state_->left(state_->powered.time->set_at, validity, now));
}

std::uint32_t TseCore::seconds_to_self_test(Instant now) const {
  if (!state_->self_test_passed(now)) return 0;
  const Duration validity = state_->options.self_test_valid;
  const bool never =
      validity.count() == 0 || state_->powered.self_test == Powered::SelfTest::not_done;
  if (never) return UINT32_MAX;
  return whole_seconds(state_->left(state_->powered.self_test_at, validity, now));
}

// --- questions

LifeCycle TseCore::life_cycle() const {
  return state_->kept.life_cycle;
}
bool TseCore::has_time(Instant now) const {
  return state_->has_time(now);
}
std::optional<std::uint64_t> TseCore::time_s(Instant now) const {
  if (!state_->has_time(now)) return std::nullopt;
  return state_->log_time_s(now);
}
bool TseCore::self_test_passed(Instant now) const {
  return state_->self_test_passed(now);
}
std::uint64_t TseCore::signature_counter() const {
  return state_->kept.signature_counter;
}
std::uint64_t TseCore::transaction_counter() const {
  return state_->kept.transaction_counter;
}
std::uint64_t TseCore::signatures_left() const {
  const std::uint64_t most = state_->options.most_signatures;
  return most - std::min(most, state_->kept.signature_counter);
}
const std::vector<std::string>& TseCore::clients() const {
  return state_->kept.clients;
}
std::vector<OpenTransaction> TseCore::open_transactions() const {
  return state_->kept.open_transactions;
}
const evidence::PublicKey& TseCore::public_key() const {
  return state_->key.public_key();
}
evidence::SerialNumber TseCore::serial() const {
  return state_->serial;
}
const std::vector<Bytes>& TseCore::chain() const {
  return state_->chain;
}
std::int64_t TseCore::certificate_end() const {
  return state_->certificate_end_s;
}
const CoreOptions& TseCore::options() const {
  return state_->options;
}
std::uint32_t TseCore::front_end_flags() const {
  return state_->kept.front_end_flags;
}

}  // namespace tillbridge::simulator::tse
