// Transactions of the Diebold Nixdorf stick. Each step is a command of two halves with its data in
// between: 200 to 207, and what there is to ask about them.

#include <algorithm>
#include <limits>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "server/simulator/tse/diebold_commands.hpp"
#include "tse/diebold/base64.hpp"

namespace tillbridge::simulator::tse {

using namespace evidence::diebold;  // the protocol that this file is about

namespace {

/// Where the core says "for ever", the stick says a day and an hour, as long as real self tests
/// last.
constexpr std::uint32_t for_ever_s = 25 * 3600;

}  // namespace

DieboldOutcome DieboldCommands::start(const Parameters& parameters) {
  return open_command(Step::start, 0, parameters);
}

DieboldOutcome DieboldCommands::update(const Parameters& parameters) {
  return continue_transaction(Step::update, parameters);
}

DieboldOutcome DieboldCommands::finish(const Parameters& parameters) {
  return continue_transaction(Step::finish, parameters);
}

DieboldOutcome DieboldCommands::continue_transaction(Step step, const Parameters& parameters) {
  const auto number = parse_number(parameters[0]);
  if (!number) return failed(DeviceError::parameter_value);
  return open_command(step, *number, std::span(parameters).subspan(1));
}

DieboldOutcome DieboldCommands::open_command(Step step, std::uint64_t transaction,
                                             std::span<const std::string> parameters) {
  if (open_ || maintenance_) return failed(DeviceError::wrong_order);
  if (client_.empty()) return failed(DeviceError::client_not_set);
  const auto size = parse_number(parameters[0]), additional = parse_number(parameters[2]);
  // How additional data would be sent is not known: nobody sends any.
  if (!size || *size > limits::tse_process_data_bytes || additional != std::uint64_t{0}) {
    return failed(DeviceError::parameter_value);
  }
  if (step != Step::start) {
    const auto open = core_.open_transactions();
    const bool known = std::any_of(open.begin(), open.end(), [transaction](const auto& other) {
      return other.number == transaction;
    });
    if (!known) return failed(DeviceError::no_transaction);
  }
  open_ = OpenCommand{step, transaction, static_cast<std::size_t>(*size), parameters[1], 0, {}};
  return {};
}

DieboldOutcome DieboldCommands::process_data(const Parameters& parameters) {
  if (!open_) return failed(DeviceError::wrong_order);
  const auto packet = parse_number(parameters[0]);
  auto data = from_base64(parameters[1]);
  if (!packet || !data || data->empty() || data->size() > process_data_packet_bytes ||
      data->size() > open_->announced_bytes - open_->data.size()) {
    return failed(DeviceError::parameter_value);
  }
  if (*packet != open_->packets) return failed(DeviceError::wrong_order);
  ++open_->packets;
  open_->data.insert(open_->data.end(), data->begin(), data->end());
  return {};
}

DieboldOutcome DieboldCommands::abandon(const Parameters& /*none*/) {
  if (!open_) return failed(DeviceError::wrong_order);
  open_.reset();
  return {};
}

DieboldOutcome DieboldCommands::start_end(const Parameters& /*none*/) {
  return end_command(Step::start);
}

DieboldOutcome DieboldCommands::update_end(const Parameters& /*none*/) {
  return end_command(Step::update);
}

DieboldOutcome DieboldCommands::finish_end(const Parameters& /*none*/) {
  return end_command(Step::finish);
}

DieboldOutcome DieboldCommands::end_command(Step step) {
  if (!open_ || open_->step != step || open_->data.size() != open_->announced_bytes) {
    return failed(DeviceError::wrong_order);
  }
  const OpenCommand& command = *open_;
  const auto result =
      step == Step::start ? core_.start(client_, command.data, command.type, now_)
      : step == Step::update
          ? core_.update(command.transaction, client_, command.data, command.type, now_)
          : core_.finish(command.transaction, client_, command.data, command.type, now_);
  // It stays open then, until its end works or it is abandoned.
  if (!result) return failed(error_of(result.refusal()));
  open_.reset();

  Signature signature;
  signature.time_s = static_cast<std::int64_t>(result->time_s);
  signature.transaction = result->transaction;
  const evidence::SerialNumber serial = core_.serial();
  signature.serial.assign(serial.begin(), serial.end());
  signature.counter = result->counter;
  signature.signature = result->signature;
  return answer(step == Step::start ? start_parameters(signature) : end_parameters(signature));
}

DieboldOutcome DieboldCommands::update_variants(const Parameters& /*none*/) {
  return answer({"1"});  // signed updates only
}

DieboldOutcome DieboldCommands::transaction_count(const Parameters& /*none*/) {
  return answer(parameters_of(
      Count{core_.options().most_open_transactions, core_.open_transactions().size()}));
}

DieboldOutcome DieboldCommands::open_transactions(const Parameters& parameters) {
  Parameters numbers;
  for (const OpenTransaction& open : core_.open_transactions()) {
    if (parameters.empty() || open.client == parameters[0]) {
      numbers.push_back(std::to_string(open.number));
    }
  }
  return answer(std::move(numbers));
}

DieboldOutcome DieboldCommands::time_interval(const Parameters& /*none*/) {
  const auto valid =
      std::chrono::duration_cast<std::chrono::seconds>(core_.options().time_valid).count();
  return answer({std::to_string(valid > 0 ? valid : for_ever_s)});
}

DieboldOutcome DieboldCommands::seconds_to_self_test(const Parameters& /*none*/) {
  const std::uint32_t left = core_.seconds_to_self_test(now_);
  const bool never = left == std::numeric_limits<std::uint32_t>::max();
  return answer({std::to_string(never ? for_ever_s : left)});
}

}  // namespace tillbridge::simulator::tse
