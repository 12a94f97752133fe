#include "server/simulator/tse/swissbit_status.hpp"

namespace tillbridge::simulator::tse {

using swissbit::CommandStatus;

CommandStatus status_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::not_initialized:
      return CommandStatus::not_initialized;
    case Refusal::already_initialized:
      return CommandStatus::already_initialized;
    case Refusal::no_time:
      return CommandStatus::no_time;
    case Refusal::self_test_required:
      return CommandStatus::self_test_required;
    case Refusal::self_test_failed:
      return CommandStatus::self_test_not_passed;
    case Refusal::not_active:
      return CommandStatus::not_allowed;
    case Refusal::disabled:
      return CommandStatus::decommissioned;
    case Refusal::certificate_expired:
      return CommandStatus::certificate_expired;
    case Refusal::signatures_used_up:
      return CommandStatus::signatures_used_up;
    case Refusal::store_full:
      return CommandStatus::store_full;
    case Refusal::storage_failed:
      return CommandStatus::signature_error;
    case Refusal::not_logged_in:
    case Refusal::not_authorised:
      // One status for both: clients take it as the sign to log in.
      return CommandStatus::not_authorised;
    case Refusal::unknown_client:
      return CommandStatus::unknown_client;
    case Refusal::too_many_clients:
      return CommandStatus::too_many_clients;
    case Refusal::client_has_open_transactions:
      return CommandStatus::client_has_open_transactions;
    case Refusal::no_such_transaction:
      return CommandStatus::not_started;
    case Refusal::not_clients_transaction:
      return CommandStatus::not_allowed;
    case Refusal::too_many_transactions:
      return CommandStatus::too_many_transactions;
    case Refusal::open_transactions:
      return CommandStatus::open_transactions;
    case Refusal::unexported_data:
      return CommandStatus::unexported_data;
    case Refusal::no_data:
      return CommandStatus::no_last_transaction;
    case Refusal::too_many_records:
    case Refusal::bad_parameter:
      return CommandStatus::bad_parameter;
    case Refusal::pins_not_set:
      return CommandStatus::pin_must_be_changed;
  }
  return CommandStatus::not_allowed;
}

CommandStatus status_of(const Done& done) {
  return done ? CommandStatus::ok : status_of(done.refusal());
}

CommandStatus status_of(const LoginResult& result) {
  switch (result.what) {
    case LoginResult::What::ok:
      return CommandStatus::ok;
    case LoginResult::What::wrong:
      return swissbit::login_failed(result.tries_left);
    case LoginResult::What::blocked:
      return CommandStatus::pin_blocked;
    case LoginResult::What::unknown_user:
      return CommandStatus::bad_parameter;
    case LoginResult::What::refused:
      return status_of(result.refusal);
  }
  return CommandStatus::not_allowed;
}

}  // namespace tillbridge::simulator::tse
