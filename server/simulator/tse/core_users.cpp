// Users, PINs and PUKs. Every try is counted in the store before it is answered.

#include <utility>

#include "channel/bytes/limits.hpp"
#include "server/simulator/tse/core_state.hpp"

namespace tillbridge::simulator::tse {
namespace {

using What = LoginResult::What;

std::size_t index(User user) {
  return static_cast<std::size_t>(user);
}

bool is_secret(std::string_view text) {
  return !text.empty() && text.size() <= limits::tse_pin_bytes;
}

LoginResult refused(Refusal refusal, std::uint8_t tries_left) {
  return {What::refused, tries_left, refusal};
}

/// Compares, and takes a try or gives all back.
What try_secret(const std::string& secret, std::string_view given, std::uint8_t& tries,
                std::uint8_t most_tries) {
  if (tries == 0) return What::blocked;
  if (given != secret) {
    --tries;
    return What::wrong;
  }
  tries = most_tries;
  return What::ok;
}

}  // namespace

bool TseCore::in_transport_state(User user) const {
  return !state_->kept.accounts[index(user)].pin_set;
}
bool TseCore::puk_in_transport_state(User user) const {
  return !state_->kept.accounts[index(user)].puk_set;
}
bool TseCore::logged_in(User user) const {
  return state_->powered.logged_in[index(user)];
}
std::uint8_t TseCore::tries_left(User user) const {
  return state_->kept.accounts[index(user)].pin_tries;
}
std::uint8_t TseCore::puk_tries_left(User user) const {
  return state_->kept.accounts[index(user)].puk_tries;
}

Done TseCore::set_pins(User user, std::string_view puk, std::string_view pin, Instant now) {
  state_->begin(now);
  Kept next = state_->kept;
  if (next.life_cycle == LifeCycle::disabled) return Refusal::disabled;
  Account& account = next.accounts[index(user)];
  if (account.pin_set || account.puk_set) return Refusal::already_initialized;
  if (!is_secret(puk) || (!pin.empty() && !is_secret(pin))) return Refusal::bad_parameter;
  account.puk = puk;
  account.puk_set = true;
  if (!pin.empty()) {
    account.pin = pin;
    account.pin_set = true;
  }
  return state_->sign_extended(std::move(next), "setPins",
                               tlv(0x81, state_->options.user_name[index(user)]), now);
}

LoginResult TseCore::login(User user, std::string_view pin, Instant now) {
  state_->begin(now);
  Kept next = state_->kept;
  Account& account = next.accounts[index(user)];
  if (account.pin.empty()) return refused(Refusal::pins_not_set, account.pin_tries);
  const What what = try_secret(account.pin, pin, account.pin_tries, state_->options.pin_tries);
  const std::uint8_t tries = account.pin_tries;

  Bytes data = tlv(0x81, state_->options.user_name[index(user)]);
  append_tlv(data, 0x82, Bytes{static_cast<std::uint8_t>(user == User::admin ? 0 : 1)});
  append_tlv(data, 0x83, Bytes{static_cast<std::uint8_t>(what == What::ok ? 0xff : 0x00)});
  const auto logged =
      state_->sign_system(std::move(next), "AuthenticateUser", std::move(data), now);
  if (!logged) return refused(logged.refusal(), tries_left(user));
  if (what == What::ok) state_->powered.logged_in[index(user)] = true;
  return {what, tries, {}};
}

Done TseCore::logout(User user, Instant now) {
  state_->begin(now);
  bool& logged_in = state_->powered.logged_in[index(user)];
  if (!logged_in) return Refusal::not_logged_in;
  Bytes data = tlv(0x81, state_->options.user_name[index(user)]);
  append_tlv(data, 0x82, Bytes{0});  // TR-03151: cause user
  const auto logged = state_->sign_system(state_->kept, "LogOut", std::move(data), now);
  if (logged) logged_in = false;
  return logged;
}

LoginResult TseCore::unblock(User user, std::string_view puk, std::string_view new_pin,
                             Instant now) {
  state_->begin(now);
  Kept next = state_->kept;
  Account& account = next.accounts[index(user)];
  if (account.puk.empty()) return refused(Refusal::pins_not_set, account.puk_tries);
  if (!is_secret(new_pin)) return refused(Refusal::bad_parameter, account.puk_tries);
  const What what = try_secret(account.puk, puk, account.puk_tries, state_->options.puk_tries);
  if (what == What::ok) {
    account.pin = new_pin;
    account.pin_set = true;
    account.pin_tries = state_->options.pin_tries;
  }
  const std::uint8_t tries = account.puk_tries;
  Bytes data = tlv(0x81, state_->options.user_name[index(user)]);
  append_tlv(data, 0x82, Bytes{static_cast<std::uint8_t>(what == What::ok ? 0 : 1)});
  const auto logged = state_->sign_system(std::move(next), "UnblockUser", std::move(data), now);
  if (!logged) return refused(logged.refusal(), puk_tries_left(user));
  return {what, tries, {}};
}

LoginResult TseCore::change_pin(User user, std::string_view old_pin, std::string_view new_pin,
                                Instant now) {
  state_->begin(now);
  Kept next = state_->kept;
  Account& account = next.accounts[index(user)];
  if (next.life_cycle == LifeCycle::disabled) return refused(Refusal::disabled, account.pin_tries);
  if (account.pin.empty()) return refused(Refusal::pins_not_set, account.pin_tries);
  if (!is_secret(new_pin)) return refused(Refusal::bad_parameter, account.pin_tries);
  const What what = try_secret(account.pin, old_pin, account.pin_tries, state_->options.pin_tries);
  if (what == What::ok) {
    account.pin = new_pin;
    account.pin_set = true;
  }
  return state_->secret_changed(std::move(next), what, user, "changePin", now);
}

LoginResult TseCore::change_puk(User user, std::string_view old_puk, std::string_view new_puk,
                                Instant now) {
  state_->begin(now);
  Kept next = state_->kept;
  Account& account = next.accounts[index(user)];
  if (next.life_cycle == LifeCycle::disabled) return refused(Refusal::disabled, account.puk_tries);
  if (account.puk.empty()) return refused(Refusal::pins_not_set, account.puk_tries);
  if (!is_secret(new_puk)) return refused(Refusal::bad_parameter, account.puk_tries);
  const What what = try_secret(account.puk, old_puk, account.puk_tries, state_->options.puk_tries);
  if (what == What::ok) {
    account.puk = new_puk;
    account.puk_set = true;
  }
  return state_->secret_changed(std::move(next), what, user, "changePuk", now);
}

LoginResult TseCore::State::secret_changed(Kept next, LoginResult::What what, User user,
                                           const char* operation, Instant now) {
  const bool is_puk = std::string_view(operation) == "changePuk";
  const auto tries = [is_puk, user](const Kept& of) {
    const Account& account = of.accounts[index(user)];
    return is_puk ? account.puk_tries : account.pin_tries;
  };
  const std::uint8_t left = tries(next);
  const auto stored = what == What::ok
                          ? sign_extended(std::move(next), operation,
                                          tlv(0x81, options.user_name[index(user)]), now)
                          : commit(std::move(next));
  if (!stored) return refused(stored.refusal(), tries(kept));
  return {what, left, {}};
}

}  // namespace tillbridge::simulator::tse
