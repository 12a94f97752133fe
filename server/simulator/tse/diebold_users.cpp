// Clients and users of the Diebold Nixdorf stick: 106, 107, 400 to 404, 500, 502, 509.

#include <algorithm>

#include "server/simulator/tse/diebold_commands.hpp"

namespace tillbridge::simulator::tse {

using namespace evidence::diebold;  // the protocol that this file is about
// LoginResult is the protocol's here; the core's answer is only read.
using CoreLogin = tillbridge::simulator::tse::LoginResult;

namespace {

DieboldOutcome outcome_of(const CoreLogin& login) {
  using Result = evidence::diebold::LoginResult;
  switch (login.what) {
    case CoreLogin::What::ok:
      return answer(parameters_of(LoginAnswer{Result::ok, login.tries_left}));
    case CoreLogin::What::wrong:
      return answer(parameters_of(LoginAnswer{Result::wrong, login.tries_left}));
    case CoreLogin::What::blocked:
      return answer(parameters_of(LoginAnswer{Result::blocked, 0}));
    case CoreLogin::What::unknown_user:
      return failed(DeviceError::unknown_user);
    case CoreLogin::What::refused:
      break;
  }
  return outcome_of_system(Done(login.refusal));
}

}  // namespace

bool DieboldCommands::client_registered() const {
  const auto& known = core_.clients();
  return std::find(known.begin(), known.end(), client_) != known.end();
}

std::optional<User> DieboldCommands::user(const std::string& name) const {
  if (name == options_.user[static_cast<std::size_t>(User::admin)]) return User::admin;
  if (name == options_.user[static_cast<std::size_t>(User::time_admin)]) return User::time_admin;
  return std::nullopt;
}

DieboldOutcome DieboldCommands::set_client(const Parameters& parameters) {
  constexpr std::size_t most_characters = 30;
  if (parameters[0].empty() || parameters[0].size() > most_characters) {
    return failed(DeviceError::parameter_value);
  }
  client_ = parameters[0];
  return {};
}

DieboldOutcome DieboldCommands::register_client(const Parameters& /*slot*/) {
  if (client_.empty()) return failed(DeviceError::client_not_set);
  return outcome_of_system(core_.register_client(client_, now_));
}

DieboldOutcome DieboldCommands::deregister_client(const Parameters& /*slot*/) {
  if (client_.empty()) return failed(DeviceError::client_not_set);
  return outcome_of_system(core_.deregister_client(client_, now_));
}

DieboldOutcome DieboldCommands::login(const Parameters& parameters) {
  const auto who = user(parameters[1]);
  if (!who) return failed(DeviceError::unknown_user);
  return outcome_of(core_.login(*who, parameters[2], now_));
}

DieboldOutcome DieboldCommands::logout(const Parameters& parameters) {
  const auto who = user(parameters[1]);
  if (!who) return failed(DeviceError::unknown_user);
  DieboldOutcome outcome = outcome_of_system(core_.logout(*who, now_));
  if (outcome.error == DeviceError::none) {
    outcome.parameters = {
        std::to_string(static_cast<unsigned>(evidence::diebold::LoginResult::ok))};
  }
  return outcome;
}

DieboldOutcome DieboldCommands::unblock(const Parameters& parameters) {
  const auto who = user(parameters[1]);
  if (!who) return failed(DeviceError::unknown_user);
  return outcome_of(core_.unblock(*who, parameters[2], parameters[3], now_));
}

DieboldOutcome DieboldCommands::change_puk(const Parameters& parameters) {
  const auto who = user(parameters[1]);
  if (!who) return failed(DeviceError::unknown_user);
  return outcome_of(core_.change_puk(*who, parameters[2], parameters[3], now_));
}

DieboldOutcome DieboldCommands::change_pin(const Parameters& parameters) {
  const auto who = user(parameters[1]);
  if (!who) return failed(DeviceError::unknown_user);
  return outcome_of(core_.change_pin(*who, parameters[2], parameters[3], now_));
}

DieboldOutcome DieboldCommands::client_count(const Parameters& /*none*/) {
  return answer(parameters_of(Count{core_.options().most_clients, core_.clients().size()}));
}

DieboldOutcome DieboldCommands::clients(const Parameters& /*slot*/) {
  return answer(core_.clients());
}

}  // namespace tillbridge::simulator::tse
