#include "tse/diebold/command.hpp"

#include <array>
#include <utility>

namespace tillbridge::tse::diebold {
namespace {

constexpr std::array<std::pair<Command, const char*>, 48> commands{{
    {Command::country_info, "country and hardware"},
    {Command::status, "status"},
    {Command::firmware_info, "firmware"},
    {Command::set_status_reports, "status reports on or off"},
    {Command::fetch_buffer, "fetch buffer"},
    {Command::initialize, "initialise"},
    {Command::set_time, "set time"},
    {Command::memory_info, "memory"},
    {Command::update_firmware, "update firmware"},
    {Command::disable, "disable"},
    {Command::register_client, "register client"},
    {Command::deregister_client, "deregister client"},
    {Command::device_info, "device"},
    {Command::slot_info, "slot"},
    {Command::enter_maintenance, "enter maintenance"},
    {Command::leave_maintenance, "leave maintenance"},
    {Command::self_test, "self test"},
    {Command::start, "start transaction"},
    {Command::start_end, "start transaction, end"},
    {Command::update, "update transaction"},
    {Command::update_end, "update transaction, end"},
    {Command::finish, "finish transaction"},
    {Command::finish_end, "finish transaction, end"},
    {Command::process_data, "process data"},
    {Command::abandon, "abandon transaction command"},
    {Command::export_all, "export all"},
    {Command::export_transaction, "export transaction"},
    {Command::export_transactions, "export transactions"},
    {Command::export_period, "export period"},
    {Command::export_certificates, "export certificates"},
    {Command::export_serials, "export serial numbers"},
    {Command::export_last_log, "export last log"},
    {Command::delete_exported, "delete exported data"},
    {Command::export_public_key, "export public key"},
    {Command::reset_export, "reset export"},
    {Command::login, "log in"},
    {Command::logout, "log out"},
    {Command::unblock, "unblock user"},
    {Command::change_puk, "change PUK"},
    {Command::change_pin, "change PIN"},
    {Command::client_count, "number of clients"},
    {Command::clients, "clients"},
    {Command::update_variants, "update variants"},
    {Command::transaction_count, "number of transactions"},
    {Command::open_transactions, "open transactions"},
    {Command::time_interval, "time interval"},
    {Command::seconds_to_self_test, "seconds to self test"},
    {Command::set_client, "set client"},
}};

constexpr std::array<std::pair<DeviceError, const char*>, 35> errors{{
    {DeviceError::none, "no error"},
    {DeviceError::general, "general failure"},
    {DeviceError::power_failed, "the power failed during a command"},
    {DeviceError::unknown_command, "unknown command"},
    {DeviceError::command_too_long, "the command is too long"},
    {DeviceError::bad_end, "the command's end is broken"},
    {DeviceError::wrong_order, "not allowed at this point of the conversation"},
    {DeviceError::parameter_count, "wrong number of parameters"},
    {DeviceError::parameter_value, "a parameter's value is not allowed"},
    {DeviceError::not_initialized, "the TSE is not initialised"},
    {DeviceError::time_not_set, "the TSE's time is not set"},
    {DeviceError::certificate_expired, "the TSE's certificate has expired"},
    {DeviceError::disabled, "the TSE is disabled for good"},
    {DeviceError::command_failed, "the command failed"},
    {DeviceError::system_log_failed, "the TSE could not log a system operation"},
    {DeviceError::log_not_read, "the TSE could not read a log message"},
    {DeviceError::storage_failed, "the TSE's storage failed or is full"},
    {DeviceError::no_transaction, "no such transaction is open"},
    {DeviceError::client_not_set, "no client was named before"},
    {DeviceError::no_data, "there is no data for this"},
    {DeviceError::self_test_required, "the TSE needs a self test"},
    {DeviceError::no_log, "there is no log message yet"},
    {DeviceError::unsupported_card, "the crypto card is not supported"},
    {DeviceError::not_authorised, "the user who is logged in may not do this"},
    {DeviceError::not_authenticated, "nobody is logged in"},
    {DeviceError::unknown_user, "unknown user"},
    {DeviceError::description_missing, "a description is needed"},
    {DeviceError::description_given, "the manufacturer has set the description already"},
    {DeviceError::unknown_client, "the client is not registered"},
    {DeviceError::card_missing, "no crypto card in this slot"},
    {DeviceError::too_many_transactions, "too many open transactions"},
    {DeviceError::signatures_used_up, "the TSE's signatures are used up"},
    {DeviceError::too_many_clients, "too many registered clients"},
    {DeviceError::client_has_open_transactions, "the client has open transactions"},
    {DeviceError::open_transactions, "the TSE has open transactions"},
}};

template <typename Table, typename Value>
const char* find(const Table& table, Value value) {
  for (const auto& [known, text] : table) {
    if (known == value) return text;
  }
  return nullptr;
}

}  // namespace

std::optional<Command> known_command(std::uint16_t number) {
  const auto command = static_cast<Command>(number);
  if (find(commands, command) == nullptr) return std::nullopt;
  return command;
}

const char* name_of(Command command) {
  const char* name = find(commands, command);
  return name != nullptr ? name : "unknown command";
}

const char* text_of(DeviceError error) {
  const char* text = find(errors, error);
  return text != nullptr ? text : "unknown error";
}

}  // namespace tillbridge::tse::diebold
