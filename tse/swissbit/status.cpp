#include <string>

#include "tse/swissbit/protocol.hpp"

namespace tillbridge::tse::swissbit {
namespace {

std::string hexadecimal(std::uint32_t number) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string text;
  for (unsigned shift = 16; shift > 0; shift -= 4) text += digits[(number >> (shift - 4)) & 0xFU];
  return text;
}

const char* known_text(CommandStatus status) {
  switch (status) {
    case CommandStatus::ok:
      return "done";
    case CommandStatus::no_time:
      return "the TSE has no valid time; log in as time admin and set it";
    case CommandStatus::no_step_open:
      return "no transaction step is open; the TSE may have lost power in between, so look at the "
             "open transactions and begin the step again";
    case CommandStatus::syntax:
      return "the TSE does not understand the command's form";
    case CommandStatus::data_missing:
      return "the process data has not arrived at the TSE; write it and close the step again";
    case CommandStatus::bad_parameter:
      return "the TSE does not take one of the command's parameters";
    case CommandStatus::not_started:
      return "there is no open transaction with this number";
    case CommandStatus::too_many_transactions:
      return "too many transactions are open; finish some first";
    case CommandStatus::certificate_expired:
      return "the TSE's certificate has expired; it signs nothing any more and has to be replaced";
    case CommandStatus::no_last_transaction:
      return "there is no last transaction";
    case CommandStatus::not_allowed:
      return "the TSE does not allow this now";
    case CommandStatus::signatures_used_up:
      return "the TSE has made all the signatures it may make and has to be replaced";
    case CommandStatus::not_authorised:
      return "not logged in as the user who may do this";
    case CommandStatus::too_many_clients:
      return "too many clients are registered; deregister one first";
    case CommandStatus::unknown_client:
      return "the client is not registered at the TSE";
    case CommandStatus::unexported_data:
      return "the TSE holds data that was not exported yet; export it first";
    case CommandStatus::client_has_open_transactions:
      return "the client has open transactions; finish them first";
    case CommandStatus::open_transactions:
      return "the TSE has open transactions; finish them first";
    case CommandStatus::nothing_to_fetch:
      return "no answer waits to be fetched";
    case CommandStatus::export_running:
      return "an export is running; end it first";
    case CommandStatus::store_full:
      return "the TSE's store is full; export it, then replace the TSE";
    case CommandStatus::puk_must_be_changed:
      return "the PUK is still the one of the factory; change it first";
    case CommandStatus::pin_must_be_changed:
      return "the PIN is still the one of the factory; change it first";
    case CommandStatus::ctss_off:
      return "the signing interface is off; enable it as admin";
    case CommandStatus::self_test_required:
      return "the TSE needs a self test: it was powered up, or the last one is over 25 hours old";
    case CommandStatus::self_test_not_passed:
      return "the last self test failed; repeat it with a registered client";
    case CommandStatus::already_initialized:
      return "the TSE is initialised already";
    case CommandStatus::decommissioned:
      return "the TSE was decommissioned; only its data can still be read";
    case CommandStatus::not_initialized:
      return "the TSE is not initialised; set it up first";
    case CommandStatus::pin_blocked:
      return "too many wrong PINs: the user is blocked";
    case CommandStatus::not_logged_in:
      return "the user is not logged in";
    case CommandStatus::unknown_command:
      return "the TSE does not know the command";
    case CommandStatus::signature_error:
      return "the TSE could not sign; unplug it and plug it in again";
    default:
      return nullptr;
  }
}

}  // namespace

std::optional<std::uint8_t> tries_left(CommandStatus status) {
  const std::uint16_t number = number_of(status);
  if ((number & 0xFF00U) != number_of(CommandStatus::login_failed)) return std::nullopt;
  return static_cast<std::uint8_t>(number & 0xFFU);
}

std::string text_of(CommandStatus status) {
  const std::uint16_t number = number_of(status);
  const std::string code = " (TSE status " + hexadecimal(number) + ")";
  if (const auto left = tries_left(status)) {
    if (*left == 0) return "wrong PIN or PUK, and no try is left: it is blocked" + code;
    return "wrong PIN or PUK; " + std::to_string(*left) +
           (*left == 1 ? " try is left" : " tries are left") + code;
  }
  if ((number & 0xFF00U) == number_of(CommandStatus::self_test_part_failed)) {
    return "part " + std::to_string(number & 0xFFU) +
           " of the self test failed; unplug the TSE and plug it in again" + code;
  }
  const char* text = known_text(status);
  return (text != nullptr ? text : "the TSE refused the command") + code;
}

}  // namespace tillbridge::tse::swissbit
