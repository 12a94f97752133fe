#include "server/simulator/tse/cryptovision_card.hpp"

#include <algorithm>
#include <utility>

#include "tse/cryptovision/frame.hpp"

namespace tillbridge::simulator::tse {

namespace protocol = evidence::cryptovision;

CoreOptions cryptovision_core_options() {
  CoreOptions options;
  options.curve = evidence::Curve::p256;
  options.hash = evidence::Hash::sha256;
  options.description = "tillbridge simulated cryptovision TSE";
  options.audit_log_at_start = true;
  // No source says how long; TimeSyncInterval tells the client.
  constexpr std::int64_t hours = 12;
  options.time_valid = std::chrono::hours(hours);
  return options;
}

Timing cryptovision_timing() {
  return {};  // 150 ms a signature, 2 ms for what signs nothing
}

// --- answers and their frames

Bytes CryptovisionCard::execute(ByteView data, Instant now) {
  abandon();
  exporting_ = false;
  Reply reply = dispatch(data, now);
  if (const Failure* failure = std::get_if<Failure>(&reply)) {
    return protocol::encode_failure(*failure);
  }
  if (Export* archive = std::get_if<Export>(&reply)) {
    exporting_ = true;
    return first_export_frame(std::move(*archive));
  }
  const Parameters& parameters = std::get<Parameters>(reply);
  // R counts in 15 bits.
  constexpr std::size_t most_bytes = 0x7FFF;
  if (protocol::encode(parameters).size() > most_bytes) {
    return protocol::encode_failure(Failure::bad_response);
  }
  Bytes answer = protocol::encode_answer(parameters);
  if (options_.miscounts_four_open_transactions && parameters.size() == 1 &&
      parameters[0].type() == protocol::Parameter::Type::numbers &&
      answer.size() == 2 + protocol::parameter_header_bytes + 16) {
    answer[1] = static_cast<std::uint8_t>(answer[1] + 4);
  }
  return first_frame(std::move(answer));
}

Bytes CryptovisionCard::first_frame(Bytes answer) {
  if (answer.size() <= protocol::most_response_bytes) return answer;
  const auto end = answer.begin() + protocol::most_response_bytes;
  Bytes first(answer.begin(), end);
  rest_ = Rest{std::move(answer), protocol::most_response_bytes};
  return first;
}

Bytes CryptovisionCard::first_export_frame(Export archive) {
  Bytes frame = protocol::bulk_header(archive.bytes());
  const std::uint64_t part = std::min<std::uint64_t>(
      archive.bytes(), protocol::most_response_bytes - protocol::bulk_header_bytes);
  frame.resize(frame.size() + static_cast<std::size_t>(part));
  if (!core_->read_export(archive, 0, std::span(frame).subspan(protocol::bulk_header_bytes))) {
    return protocol::encode_failure(Failure::log_retrieval);
  }
  if (part < archive.bytes()) rest_ = ExportRest{std::move(archive), part};
  return frame;
}

Bytes CryptovisionCard::next_frame() {
  if (Rest* rest = std::get_if<Rest>(&rest_)) {
    const std::size_t part =
        std::min(rest->bytes.size() - rest->position, protocol::most_response_bytes);
    const ByteView frame = ByteView(rest->bytes).subspan(rest->position, part);
    Bytes bytes(frame.begin(), frame.end());
    rest->position += part;
    if (rest->position == rest->bytes.size()) abandon();
    return bytes;
  }
  if (ExportRest* rest = std::get_if<ExportRest>(&rest_)) {
    const std::uint64_t part = std::min<std::uint64_t>(rest->archive.bytes() - rest->position,
                                                       protocol::most_response_bytes);
    Bytes bytes(static_cast<std::size_t>(part));
    // Logs were deleted meanwhile, or the machine below failed: the archive just ends.
    if (!core_->read_export(rest->archive, rest->position, bytes)) bytes.clear();
    rest->position += part;
    if (bytes.empty() || rest->position == rest->archive.bytes()) abandon();
    return bytes;
  }
  exporting_ = false;
  return {};
}

void CryptovisionCard::power_cycle() {
  core_->power_cycle();
  abandon();
  started_ = exporting_ = false;
}

// --- commands

CryptovisionCard::Reply CryptovisionCard::dispatch(ByteView data, Instant now) {
  const auto command = protocol::parse_command(data);
  if (!command) return Failure::bad_command;
  const auto code = static_cast<CommandCode>(command->code);
  if (protocol::name_of(code) == nullptr) return Failure::bad_command;
  const auto parameters = protocol::parse_parameters(command->parameters);
  if (!parameters) return Failure::bad_command;
  if (code == CommandCode::start) return start();
  if (!started_) return Failure::not_started;
  return carry_out(code, *parameters, now);
}

CryptovisionCard::Reply CryptovisionCard::carry_out(CommandCode code, const Parameters& parameters,
                                                    Instant now) {
  const ParameterReader reader(parameters);
  switch (code) {
    case CommandCode::start:
      return start();
    case CommandCode::get_pin_states:
      return pin_states();
    case CommandCode::initialize_pins:
      return initialize_pins(parameters, now);
    case CommandCode::authenticate_user:
      return authenticate(reader, now);
    case CommandCode::unblock_user:
      return unblock(reader, now);
    case CommandCode::logout:
      return log_out(reader, now);
    case CommandCode::initialize:
      return initialize(now);
    case CommandCode::update_time:
      return update_time(reader, now);
    case CommandCode::get_serial_numbers:
      return serial_numbers();
    case CommandCode::map_ers_to_key:
      return map_client(reader, now);
    case CommandCode::start_transaction:
      return start_transaction(reader, now);
    case CommandCode::update_transaction:
    case CommandCode::finish_transaction:
      return continue_transaction(code, reader, now);
    case CommandCode::export_data:
      return export_data(parameters);
    case CommandCode::export_more_data:
      return export_more(reader);
    case CommandCode::get_certificates:
      return Parameters{protocol::Parameter::bytes(core_->certificate_archive())};
    case CommandCode::read_log_message:
      return last_log();
    case CommandCode::erase:
      return erase(now);
    case CommandCode::delete_data_up_to:
      return delete_up_to(reader, now);
    case CommandCode::get_config_data:
      return config_data(reader);
    case CommandCode::get_status:
      return status(reader, now);
    case CommandCode::deactivate:
      return deactivate(now);
    case CommandCode::activate:
      return activate(now);
    case CommandCode::disable:
      return disable(now);
    case CommandCode::get_ers_mappings:
      return mappings();
    case CommandCode::get_key_data:
      return key_data(reader);
    case CommandCode::get_wear_indicator:
      return wear_indicator();
    case CommandCode::update_certificate:
    case CommandCode::update_firmware:
      return vendor_update();
    case CommandCode::shutdown:
      return shut_down(now);
  }
  return Failure::bad_command;
}

}  // namespace tillbridge::simulator::tse
