// Life cycle, time, self test, clients.

#include <algorithm>
#include <utility>

#include "server/simulator/tse/core_state.hpp"

namespace tillbridge::simulator::tse {

Done TseCore::initialize(Instant now) {
  state_->begin(now);
  if (const auto refusal = state_->admin_refusal()) return *refusal;
  if (state_->kept.life_cycle != LifeCycle::not_initialized) return Refusal::already_initialized;
  if (const auto refusal = state_->self_test_refusal(now)) return *refusal;
  Kept next = state_->kept;
  next.life_cycle = LifeCycle::active;
  return state_->sign_system(std::move(next), "Initialize", tlv(0x81, state_->options.description),
                             now);
}

Done TseCore::set_time(std::uint64_t unix_s, Instant now) {
  State& its = *state_;
  its.begin(now);
  if (its.kept.life_cycle == LifeCycle::disabled) return Refusal::disabled;
  if (!logged_in(User::admin) && !logged_in(User::time_admin)) return Refusal::not_logged_in;
  if (unix_s == 0 || unix_s > UINT32_MAX) return Refusal::bad_parameter;
  if (const auto refusal = its.self_test_refusal(now)) return *refusal;
  // The recorded card writes both times as 4 raw bytes and signs at the new one.
  Bytes data;
  append_tlv(data, 0x81, raw_time(its.log_time_s(now)));
  append_tlv(data, 0x82, raw_time(unix_s));
  const auto log = its.sign(its.kept, evidence::SystemLog{"UpdateTime", std::move(data), {}},
                            unix_s, State::Room::whole);
  if (!log) return log.refusal();
  its.powered.time = Powered::TimeOfDay{unix_s, its.simulated(now)};
  return done();
}

Done TseCore::self_test(Instant now, bool fails) {
  State& its = *state_;
  its.begin(now);
  its.powered.self_test = fails ? Powered::SelfTest::failed : Powered::SelfTest::passed;
  its.powered.self_test_at = its.simulated(now);
  if (its.options.extended_system_logs) {
    // What it found holds, whether there is room for its log or not.
    const Bytes result{static_cast<std::uint8_t>(fails ? 0x00 : 0xff)};
    Bytes data;
    append_tlv(data, 0x81, result);
    static_cast<void>(its.sign_system(its.kept, "selfTest", std::move(data), now));
  }
  return fails ? Done(Refusal::self_test_failed) : done();
}

Done TseCore::register_client(std::string_view client, Instant now) {
  State& its = *state_;
  its.begin(now);
  if (const auto refusal = its.admin_refusal()) return *refusal;
  if (!is_client_id(client)) return Refusal::bad_parameter;
  if (const auto refusal = its.self_test_refusal(now)) return *refusal;
  Kept next = its.kept;
  if (std::find(next.clients.begin(), next.clients.end(), client) != next.clients.end())
    return done();
  if (next.clients.size() >= its.options.most_clients) return Refusal::too_many_clients;
  next.clients.emplace_back(client);
  return its.sign_extended(std::move(next), "registerClient", tlv(0x81, client), now);
}

Done TseCore::deregister_client(std::string_view client, Instant now) {
  State& its = *state_;
  its.begin(now);
  if (const auto refusal = its.admin_refusal()) return *refusal;
  if (const auto refusal = its.self_test_refusal(now)) return *refusal;
  Kept next = its.kept;
  const auto found = std::find(next.clients.begin(), next.clients.end(), client);
  if (found == next.clients.end()) return Refusal::unknown_client;
  const auto& open = next.open_transactions;
  if (std::any_of(open.begin(), open.end(), [client](const auto& o) { return o.client == client; }))
    return Refusal::client_has_open_transactions;
  next.clients.erase(found);
  return its.sign_extended(std::move(next), "deregisterClient", tlv(0x81, client), now);
}

// Products log these two by names of their own; "enterSecureState" and "exitSecureState" stand in
// exports of one of them.
Done TseCore::deactivate(Instant now) {
  state_->begin(now);
  if (const auto refusal = state_->admin_refusal()) return *refusal;
  Kept next = state_->kept;
  if (next.life_cycle == LifeCycle::not_initialized) return Refusal::not_initialized;
  if (next.life_cycle != LifeCycle::active) return Refusal::not_active;
  next.life_cycle = LifeCycle::deactivated;
  return state_->sign_extended(std::move(next), "enterSecureState", {}, now);
}

Done TseCore::activate(Instant now) {
  state_->begin(now);
  if (const auto refusal = state_->admin_refusal()) return *refusal;
  Kept next = state_->kept;
  if (next.life_cycle == LifeCycle::not_initialized) return Refusal::not_initialized;
  if (next.life_cycle == LifeCycle::active) return done();
  if (const auto refusal = state_->self_test_refusal(now)) return *refusal;
  next.life_cycle = LifeCycle::active;
  return state_->sign_extended(std::move(next), "exitSecureState", {}, now);
}

Done TseCore::disable(Instant now) {
  State& its = *state_;
  its.begin(now);
  if (const auto refusal = its.admin_refusal()) return *refusal;
  if (its.kept.life_cycle == LifeCycle::not_initialized) return Refusal::not_initialized;
  Kept next = its.kept;
  next.life_cycle = LifeCycle::disabled;
  Bytes data;
  append_tlv(data, 0x81, raw_time(its.log_time_s(now)));
  const auto logged =
      its.sign_system(std::move(next), "DisableSecureElement", std::move(data), now);
  if (logged) its.powered.logged_in = {};
  return logged;
}

Done TseCore::set_front_end_flags(std::uint32_t flags) {
  if (flags == state_->kept.front_end_flags) return done();
  Kept next = state_->kept;
  next.front_end_flags = flags;
  return state_->commit(std::move(next));
}

}  // namespace tillbridge::simulator::tse
