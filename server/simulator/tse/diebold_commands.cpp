#include "server/simulator/tse/diebold_commands.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "channel/bytes/limits.hpp"

namespace tillbridge::simulator::tse {

using namespace evidence::diebold;  // the protocol that this file is about

// --- results

DieboldOutcome failed(DeviceError error) {
  DieboldOutcome outcome;
  outcome.error = error;
  return outcome;
}

DieboldOutcome answer(Parameters parameters) {
  DieboldOutcome outcome;
  outcome.parameters = std::move(parameters);
  return outcome;
}

DeviceError error_of(Refusal refusal) {
  switch (refusal) {
    case Refusal::not_initialized:
      return DeviceError::not_initialized;
    case Refusal::no_time:
      return DeviceError::time_not_set;
    case Refusal::self_test_required:
    case Refusal::self_test_failed:
      return DeviceError::self_test_required;
    case Refusal::disabled:
      return DeviceError::disabled;
    case Refusal::certificate_expired:
      return DeviceError::certificate_expired;
    case Refusal::signatures_used_up:
      return DeviceError::signatures_used_up;
    case Refusal::store_full:
    case Refusal::storage_failed:
      return DeviceError::storage_failed;
    case Refusal::not_logged_in:
      return DeviceError::not_authenticated;
    case Refusal::not_authorised:
    case Refusal::pins_not_set:
      return DeviceError::not_authorised;
    case Refusal::unknown_client:
      return DeviceError::unknown_client;
    case Refusal::too_many_clients:
      return DeviceError::too_many_clients;
    case Refusal::client_has_open_transactions:
      return DeviceError::client_has_open_transactions;
    case Refusal::no_such_transaction:
    case Refusal::not_clients_transaction:
      return DeviceError::no_transaction;
    case Refusal::too_many_transactions:
      return DeviceError::too_many_transactions;
    case Refusal::open_transactions:
      return DeviceError::open_transactions;
    case Refusal::no_data:
      return DeviceError::no_data;
    case Refusal::bad_parameter:
      return DeviceError::parameter_value;
    case Refusal::already_initialized:
    case Refusal::not_active:
    case Refusal::unexported_data:
    case Refusal::too_many_records:
      return DeviceError::command_failed;
  }
  return DeviceError::general;
}

DieboldOutcome outcome_of(const Done& result) {
  return result ? DieboldOutcome{} : failed(error_of(result.refusal()));
}

DieboldOutcome outcome_of_system(const Done& result) {
  DieboldOutcome outcome = outcome_of(result);
  if (outcome.error == DeviceError::storage_failed) outcome.error = DeviceError::system_log_failed;
  return outcome;
}

// --- which command it is

const DieboldCommands::Entry* DieboldCommands::find(Command command) {
  using Self = DieboldCommands;
  static constexpr std::array<Entry, 48> entries{{
      {Command::country_info, 0, 0, &Self::country_info, false},
      {Command::status, 0, 0, &Self::report_status, false},
      {Command::firmware_info, 0, 0, &Self::firmware_info, false},
      {Command::set_status_reports, 1, 1, &Self::set_status_reports, false},
      {Command::fetch_buffer, 2, 2, &Self::fetch_buffer, false},
      {Command::initialize, 2, 2, &Self::initialize, true},
      {Command::set_time, 1, 1, &Self::set_time, false},
      {Command::memory_info, 0, 0, &Self::memory_info, false},
      {Command::update_firmware, 0, 8, &Self::update_firmware, false},
      {Command::disable, 1, 1, &Self::disable, true},
      {Command::register_client, 1, 1, &Self::register_client, true},
      {Command::deregister_client, 1, 1, &Self::deregister_client, true},
      {Command::device_info, 1, 1, &Self::device_info, true},
      {Command::slot_info, 1, 1, &Self::slot_info, true},
      {Command::enter_maintenance, 1, 1, &Self::enter_maintenance, true},
      {Command::leave_maintenance, 1, 1, &Self::leave_maintenance, true},
      {Command::self_test, 1, 1, &Self::self_test, true},
      {Command::start, 3, 3, &Self::start, false},
      {Command::start_end, 0, 0, &Self::start_end, false},
      {Command::update, 4, 4, &Self::update, false},
      {Command::update_end, 0, 0, &Self::update_end, false},
      {Command::finish, 4, 4, &Self::finish, false},
      {Command::finish_end, 0, 0, &Self::finish_end, false},
      {Command::process_data, 2, 2, &Self::process_data, false},
      {Command::abandon, 0, 0, &Self::abandon, false},
      {Command::export_all, 1, 1, &Self::export_all, true},
      {Command::export_transaction, 3, 3, &Self::export_transaction, true},
      {Command::export_transactions, 4, 4, &Self::export_transactions, true},
      {Command::export_period, 4, 4, &Self::export_period, true},
      {Command::export_certificates, 1, 1, &Self::export_certificates, true},
      {Command::export_serials, 1, 1, &Self::export_serials, true},
      {Command::export_last_log, 1, 1, &Self::export_last_log, true},
      {Command::delete_exported, 2, 2, &Self::delete_exported, true},
      {Command::export_public_key, 1, 1, &Self::export_public_key, true},
      {Command::reset_export, 1, 1, &Self::reset_export, true},
      {Command::login, 3, 3, &Self::login, true},
      {Command::logout, 2, 2, &Self::logout, true},
      {Command::unblock, 4, 4, &Self::unblock, true},
      {Command::change_puk, 4, 4, &Self::change_puk, true},
      {Command::change_pin, 4, 4, &Self::change_pin, true},
      {Command::client_count, 0, 0, &Self::client_count, false},
      {Command::clients, 1, 1, &Self::clients, true},
      {Command::update_variants, 0, 0, &Self::update_variants, false},
      {Command::transaction_count, 0, 0, &Self::transaction_count, false},
      {Command::open_transactions, 0, 1, &Self::open_transactions, false},
      {Command::time_interval, 0, 0, &Self::time_interval, false},
      {Command::seconds_to_self_test, 0, 0, &Self::seconds_to_self_test, false},
      {Command::set_client, 1, 1, &Self::set_client, false},
  }};
  const auto* found = std::find_if(entries.begin(), entries.end(), [command](const Entry& entry) {
    return entry.command == command;
  });
  return found == entries.end() ? nullptr : found;
}

DieboldOutcome DieboldCommands::carry_out(const Request& request, Instant now,
                                          bool self_test_fails) {
  now_ = now;
  self_test_fails_ = self_test_fails;
  DieboldOutcome outcome = dispatch(request);
  // Asking for the last error does not change it.
  const auto status = static_cast<std::uint16_t>(Command::status);
  if (request.command != status || outcome.error != DeviceError::none) error_ = outcome.error;
  return outcome;
}

DieboldOutcome DieboldCommands::dispatch(const Request& request) {
  const Entry* entry = find(static_cast<Command>(request.command));
  if (entry == nullptr) return failed(DeviceError::unknown_command);
  const std::size_t count = request.parameters.size();
  if (count < entry->fewest || count > entry->most) return failed(DeviceError::parameter_count);
  if (request.answer == AnswerMode::in_buffer) {
    // A piece of a buffer does not go into a buffer.
    if (entry->command == Command::fetch_buffer) return failed(DeviceError::wrong_order);
    if (request.buffer < 1 || request.buffer > limits::diebold_buffers) {
      return failed(DeviceError::parameter_value);
    }
    buffers_.erase(request.buffer);  // nobody shall take an older answer for this one
  }
  if (entry->first_is_slot) {
    if (const auto error = slot_error(request.parameters.front())) return failed(*error);
  }
  return (this->*entry->handler)(request.parameters);
}

std::optional<DeviceError> DieboldCommands::slot_error(const std::string& slot) const {
  constexpr std::uint64_t this_one = 1, most_slots = 10;  // a ConnectBox has more than one
  const auto number = parse_number(slot);
  if (!number || *number < this_one || *number > most_slots) return DeviceError::parameter_value;
  if (*number != this_one || options_.card == DieboldOptions::Card::missing) {
    return DeviceError::card_missing;
  }
  if (options_.card == DieboldOptions::Card::unsupported) return DeviceError::unsupported_card;
  return std::nullopt;
}

void DieboldCommands::power_failed(bool at_work) {
  error_ = at_work ? DeviceError::power_failed : DeviceError::none;
  status_reports_ = options_.status_reports;
  maintenance_ = false;
  client_.clear();
  open_.reset();
  buffers_.clear();
  whole_export_.reset();
}

DeviceStatus DieboldCommands::status() const {
  DeviceStatus status;
  status.error = error_;
  if (core_.life_cycle() == LifeCycle::active) status.state |= state_bit::fiscal_mode;
  if (open_) status.state |= state_bit::command_open;
  if (!core_.open_transactions().empty()) status.state |= state_bit::transaction_started;
  if (maintenance_) status.state |= state_bit::maintenance;
  return status;
}

// --- 000 to 004

DieboldOutcome DieboldCommands::country_info(const Parameters& /*none*/) {
  return answer(parameters_of(options_.country));
}

DieboldOutcome DieboldCommands::report_status(const Parameters& /*none*/) {
  return answer(parameters_of(status()));
}

DieboldOutcome DieboldCommands::firmware_info(const Parameters& /*none*/) {
  return answer(parameters_of(options_.firmware));
}

DieboldOutcome DieboldCommands::set_status_reports(const Parameters& parameters) {
  if (parameters[0] != "0" && parameters[0] != "1") return failed(DeviceError::parameter_value);
  status_reports_ = parameters[0] == "1";
  return {};
}

DieboldOutcome DieboldCommands::fetch_buffer(const Parameters& parameters) {
  const auto number = parse_number(parameters[0]), sequence = parse_number(parameters[1]);
  constexpr std::uint64_t last_sequence = 255;
  if (!number || *number > limits::diebold_buffers || !sequence || *sequence > last_sequence) {
    return failed(DeviceError::parameter_value);
  }
  const auto buffer = buffers_.find(static_cast<std::uint32_t>(*number));
  if (buffer == buffers_.end()) {
    // Why nothing came into the buffer is worth more than that it is empty.
    return failed(error_ != DeviceError::none ? error_ : DeviceError::no_data);
  }
  auto fetched = buffer->second.fetch(*sequence, options_.buffer_packet_bytes, core_, now_);
  if (const auto* error = std::get_if<DeviceError>(&fetched)) return failed(*error);
  auto& packet = std::get<BufferPacket>(fetched);
  packet.buffer = *number;
  return answer(parameters_of(packet));
}

// --- 100 to 112

DieboldOutcome DieboldCommands::initialize(const Parameters& parameters) {
  const bool given = !parameters[1].empty();
  if (given && options_.description_by_manufacturer) return failed(DeviceError::description_given);
  if (!given && !options_.description_by_manufacturer) {
    return failed(DeviceError::description_missing);
  }
  return outcome_of_system(core_.initialize(now_));
}

DieboldOutcome DieboldCommands::set_time(const Parameters& parameters) {
  const auto time = parse_time(parameters[0]);
  if (!time || *time < 0) return failed(DeviceError::parameter_value);
  return outcome_of_system(core_.set_time(static_cast<std::uint64_t>(*time), now_));
}

DieboldOutcome DieboldCommands::memory_info(const Parameters& /*none*/) {
  const std::uint64_t capacity = core_.options().store_bytes;
  const std::uint64_t used = std::min(capacity, core_.store_bytes_used());
  return answer(parameters_of(MemoryInfo{capacity, capacity - used}));
}

DieboldOutcome DieboldCommands::update_firmware(const Parameters& /*any*/) {
  return failed(DeviceError::command_failed);  // there is none to be had
}

DieboldOutcome DieboldCommands::disable(const Parameters& /*slot*/) {
  return outcome_of_system(core_.disable(now_));
}

DieboldOutcome DieboldCommands::device_info(const Parameters& /*slot*/) {
  DeviceInfo info;
  info.serial = options_.serial.serial;
  info.in_maintenance = maintenance_ ? 1 : 0;
  return answer(parameters_of(info));
}

DieboldOutcome DieboldCommands::slot_info(const Parameters& /*slot*/) {
  SlotInfo info;
  info.slot = slot_bit::inserted;
  info.slot |= maintenance_ ? slot_bit::maintenance : slot_bit::operational;
  const std::uint64_t capacity = core_.options().store_bytes;
  const std::uint64_t used = std::min(capacity, core_.store_bytes_used());
  if (core_.life_cycle() == LifeCycle::active) info.tse |= tse_bit::initialized;
  if (core_.life_cycle() == LifeCycle::disabled) info.tse |= tse_bit::disabled;
  if (used >= capacity / 10 * 9) info.tse |= tse_bit::nearly_full;
  info.crypto_info = options_.crypto_info;
  info.capacity = capacity;
  info.free = capacity - used;
  info.certificate_end_s = core_.certificate_end();
  info.signatures_left = core_.signatures_left();
  info.algorithm = evidence::algorithm_name(core_.options().hash);
  info.description = options_.tse_description;
  return answer(parameters_of(info));
}

DieboldOutcome DieboldCommands::enter_maintenance(const Parameters& /*slot*/) {
  if (open_) return failed(DeviceError::wrong_order);
  maintenance_ = true;
  return {};
}

DieboldOutcome DieboldCommands::leave_maintenance(const Parameters& /*slot*/) {
  maintenance_ = false;
  return {};
}

DieboldOutcome DieboldCommands::self_test(const Parameters& /*slot*/) {
  if (client_.empty()) return failed(DeviceError::client_not_set);
  const auto result = [](SelfTestResult value) {
    return answer({std::to_string(static_cast<unsigned>(value))});
  };
  if (!client_registered() && client_ != options_.production_client) {
    return result(SelfTestResult::unknown_client);
  }
  const Done tested = core_.self_test(now_, self_test_fails_);
  DieboldOutcome outcome = result(tested ? SelfTestResult::passed : SelfTestResult::failed);
  outcome.self_test = true;
  return outcome;
}

}  // namespace tillbridge::simulator::tse
