#include "tse/cryptovision/command.hpp"

#include <array>
#include <cassert>
#include <cstdio>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::tse::cryptovision {
namespace {

constexpr std::uint16_t command_mark = 0x5C54;
constexpr std::uint16_t first_failure = 0x8000;

constexpr std::array<std::pair<CommandCode, const char*>, 30> commands{{
    {CommandCode::start, "Start"},
    {CommandCode::get_pin_states, "GetPinStates"},
    {CommandCode::initialize_pins, "InitializePins"},
    {CommandCode::authenticate_user, "AuthenticateUser"},
    {CommandCode::unblock_user, "UnblockUser"},
    {CommandCode::logout, "Logout"},
    {CommandCode::initialize, "Initialize"},
    {CommandCode::update_time, "UpdateTime"},
    {CommandCode::get_serial_numbers, "GetSerialNumbers"},
    {CommandCode::map_ers_to_key, "MapERStoKey"},
    {CommandCode::start_transaction, "StartTransaction"},
    {CommandCode::update_transaction, "UpdateTransaction"},
    {CommandCode::finish_transaction, "FinishTransaction"},
    {CommandCode::export_data, "ExportData"},
    {CommandCode::get_certificates, "GetCertificates"},
    {CommandCode::read_log_message, "ReadLogMessage"},
    {CommandCode::erase, "Erase"},
    {CommandCode::get_config_data, "GetConfigData"},
    {CommandCode::get_status, "GetStatus"},
    {CommandCode::deactivate, "Deactivate"},
    {CommandCode::activate, "Activate"},
    {CommandCode::disable, "Disable"},
    {CommandCode::export_more_data, "ExportMoreData"},
    {CommandCode::get_ers_mappings, "GetERSMappings"},
    {CommandCode::get_key_data, "GetKeyData"},
    {CommandCode::get_wear_indicator, "GetWearIndicator"},
    {CommandCode::update_certificate, "UpdateCertificate"},
    {CommandCode::delete_data_up_to, "DeleteDataUpTo"},
    {CommandCode::update_firmware, "UpdateFirmware"},
    {CommandCode::shutdown, "Shutdown"},
}};

constexpr std::array<const char*, 31> failures{
    "the secure element does not answer",
    "bad command",
    "bad response",
    "signing a system operation failed",
    "the log message could not be read",
    "storage failure",
    "the TSE is disabled",
    "not authorised",
    "not authenticated",
    "not initialised",
    "setting the time failed",
    "unknown user",
    "starting the transaction failed",
    "the certificate has expired",
    "no such transaction",
    "updating the transaction failed",
    "finishing the transaction failed",
    "the time is not set",
    "unknown client",
    "no key",
    "not deactivated",
    "no data",
    "too many records",
    "there is data that was not exported",
    "parameters do not match",
    "id not found",
    "transaction number not found",
    "deactivated",
    "transport failure",
    "not started",
    "no storage",
};

Error bad(const char* what) {
  return fail(ErrorCode::malformed, what);
}

void write(ByteWriter& writer, const Parameter& parameter) {
  writer.u8(static_cast<std::uint8_t>(parameter.type()));
  const auto length = [&](std::size_t size) {
    assert(size <= 0xFFFF);
    writer.u16be(static_cast<std::uint16_t>(size));
  };
  switch (parameter.type()) {
    case Parameter::Type::byte:
      length(1);
      writer.u8(std::get<0>(parameter.value));
      break;
    case Parameter::Type::bytes:
      length(std::get<1>(parameter.value).size());
      writer.bytes(std::get<1>(parameter.value));
      break;
    case Parameter::Type::number:
      length(2);
      writer.u16be(std::get<2>(parameter.value));
      break;
    case Parameter::Type::text: {
      const std::string& text = std::get<3>(parameter.value);
      length(text.size());
      writer.bytes(Bytes(text.begin(), text.end()));
      break;
    }
    case Parameter::Type::numbers:
      length(4 * std::get<4>(parameter.value).size());
      for (const std::uint32_t number : std::get<4>(parameter.value)) writer.u32be(number);
      break;
  }
}

std::optional<Parameter> parameter_of(std::uint8_t type, ByteView value) {
  ByteReader reader(value);
  switch (static_cast<Parameter::Type>(type)) {
    case Parameter::Type::byte:
      if (value.size() != 1) return std::nullopt;
      return Parameter::byte(reader.u8());
    case Parameter::Type::bytes:
      return Parameter::bytes(value);
    case Parameter::Type::number:
      if (value.size() != 2) return std::nullopt;
      return Parameter::number(reader.u16be());
    case Parameter::Type::text:
      return Parameter{std::string(value.begin(), value.end())};
    case Parameter::Type::numbers: {
      if (value.size() % 4 != 0) return std::nullopt;
      std::vector<std::uint32_t> numbers;
      while (reader.remaining() > 0) numbers.push_back(reader.u32be());
      return Parameter::numbers(std::move(numbers));
    }
  }
  return std::nullopt;
}

/// A number of an export: absent, or all ones in any width, means no bound.
std::optional<std::uint64_t> bound(std::optional<std::uint64_t> value) {
  if (!value || *value == 0xFFFFFFFFU || *value == 0xFFFFFFFFFFFFFFFFU) return std::nullopt;
  return value;
}

/// Clients send numbers with as many bytes as they need, and an empty array for none.
std::optional<std::uint64_t> optional_number(ParameterReader& reader) {
  const Bytes bytes = reader.bytes();
  if (bytes.empty()) return std::nullopt;
  return number_of(bytes);
}

}  // namespace

const char* name_of(CommandCode code) {
  for (const auto& [known, name] : commands) {
    if (known == code) return name;
  }
  return nullptr;
}

std::string text_of(Failure failure) {
  const auto code = static_cast<std::uint16_t>(failure);
  const std::size_t index = code - std::size_t{first_failure};
  if (code >= first_failure && index < failures.size()) return failures.at(index);
  std::array<char, 16> text{};
  (void)std::snprintf(text.data(), text.size(), "error %04X", static_cast<unsigned>(code));
  return text.data();
}

Parameter Parameter::big_endian(std::uint64_t value, std::size_t size) {
  assert(size >= 1 && size <= 8);
  Bytes bytes(size);
  for (std::size_t i = size; i > 0; --i) {
    bytes[i - 1] = static_cast<std::uint8_t>(value & 0xFFU);
    value >>= 8U;
  }
  return {std::move(bytes)};
}

std::optional<std::uint64_t> number_of(ByteView big_endian) {
  while (big_endian.size() > 8 && big_endian.front() == 0) big_endian = big_endian.subspan(1);
  if (big_endian.empty() || big_endian.size() > 8) return std::nullopt;
  std::uint64_t value = 0;
  for (const std::uint8_t byte : big_endian) value = (value << 8U) | byte;
  return value;
}

Bytes encode(const Parameters& parameters) {
  ByteWriter writer;
  for (const Parameter& parameter : parameters) write(writer, parameter);
  return writer.finish();
}

Result<Parameters> parse_parameters(ByteView bytes) {
  ByteReader reader(bytes);
  Parameters parameters;
  while (reader.remaining() > 0) {
    if (parameters.size() >= limits::cryptovision_parameters) {
      return fail(ErrorCode::limit, "too many parameters");
    }
    const std::uint8_t type = reader.u8();
    const std::uint16_t length = reader.u16be();
    const ByteView value = reader.take(length);
    if (!reader.ok()) return bad("a parameter ends before its length");
    auto parameter = parameter_of(type, value);
    if (!parameter) return bad("a parameter's length or type is none");
    parameters.push_back(*std::move(parameter));
  }
  return parameters;
}

// --- ParameterReader

template <typename T>
T ParameterReader::take() {
  if (ok_ && next_ < parameters_.size()) {
    if (const T* value = std::get_if<T>(&parameters_[next_].value)) {
      ++next_;
      return *value;
    }
  }
  ok_ = false;
  return T();
}

std::uint8_t ParameterReader::byte() {
  return take<std::uint8_t>();
}
std::uint16_t ParameterReader::number() {
  return take<std::uint16_t>();
}
Bytes ParameterReader::bytes() {
  return take<Bytes>();
}
std::vector<std::uint32_t> ParameterReader::numbers() {
  return take<std::vector<std::uint32_t>>();
}

std::string ParameterReader::text() {
  // The vendor's Java sends an empty byte array for a text that is not there.
  if (next_type() == Parameter::Type::bytes && std::get<Bytes>(parameters_[next_].value).empty()) {
    ++next_;
    return {};
  }
  return take<std::string>();
}

std::uint64_t ParameterReader::big_endian() {
  if (next_type() == Parameter::Type::number) return number();
  const auto value = number_of(bytes());
  if (!value) ok_ = false;
  return value.value_or(0);
}

std::optional<Parameter::Type> ParameterReader::next_type() const {
  if (!ok_ || next_ >= parameters_.size()) return std::nullopt;
  return parameters_[next_].type();
}

// --- commands

Bytes encode_command(CommandCode code, const Parameters& parameters) {
  const Bytes bytes = encode(parameters);
  assert(bytes.size() <= 0xFFFF);
  ByteWriter writer(command_header_bytes + bytes.size());
  writer.u16be(command_mark);
  writer.u16be(static_cast<std::uint16_t>(code));
  writer.u16be(static_cast<std::uint16_t>(bytes.size()));
  writer.bytes(bytes);
  return writer.finish();
}

Result<Command> parse_command(ByteView data) {
  ByteReader reader(data);
  const std::uint16_t mark = reader.u16be();
  Command command;
  command.code = reader.u16be();
  const std::uint16_t length = reader.u16be();
  const ByteView parameters = reader.take(length);
  if (!reader.finished() || mark != command_mark) return bad("this is no command");
  command.parameters.assign(parameters.begin(), parameters.end());
  return command;
}

Parameters parameters_of(const ExportRequest& request) {
  constexpr std::uint64_t no_bound = 0xFFFFFFFF;
  return {Parameter::text(request.client),
          Parameter::big_endian(request.transaction, 4),
          Parameter::big_endian(request.from.value_or(0), 4),
          Parameter::big_endian(request.to.value_or(no_bound), 4),
          Parameter::big_endian(request.from_time_s.value_or(0), 4),
          Parameter::big_endian(request.to_time_s.value_or(no_bound), 4),
          Parameter::big_endian(request.most_records, 4)};
}

Result<ExportRequest> parse_export_request(const Parameters& parameters) {
  ParameterReader reader(parameters);
  ExportRequest request;
  request.client = reader.text();
  const auto transaction = bound(optional_number(reader));
  const auto from = bound(optional_number(reader));
  const auto to = bound(optional_number(reader));
  request.from_time_s = bound(optional_number(reader));
  request.to_time_s = bound(optional_number(reader));
  const auto records = bound(optional_number(reader));
  if (!reader.finished()) return bad("an export has seven parameters");
  for (const auto& number : {transaction, from, to, records}) {
    if (number && *number > 0xFFFFFFFFU) return bad("a number of the export has over 32 bits");
  }
  const auto narrow = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
  if (transaction) request.transaction = narrow(*transaction);
  if (from && *from != 0) request.from = narrow(*from);
  if (to) request.to = narrow(*to);
  if (request.from_time_s == 0U) request.from_time_s.reset();
  if (records) request.most_records = narrow(*records);
  return request;
}

Parameters parameters_of(const PinStates& states) {
  const auto flag = [](bool value) { return static_cast<std::uint8_t>(value ? 1 : 0); };
  return {Parameter::bytes(Bytes{flag(states.admin_pin), flag(states.admin_puk),
                                 flag(states.time_admin_pin), flag(states.time_admin_puk)})};
}

Result<PinStates> parse_pin_states(const Parameters& parameters) {
  ParameterReader reader(parameters);
  const Bytes bytes = reader.bytes();
  if (!reader.finished() || bytes.size() != 4) return bad("the PIN states are no four bytes");
  return PinStates{bytes[0] != 0, bytes[1] != 0, bytes[2] != 0, bytes[3] != 0};
}

Parameters parameters_of(const SignedAnswer& answer) {
  Parameters parameters;
  if (answer.transaction) parameters.push_back(Parameter::big_endian(*answer.transaction, 4));
  parameters.push_back(Parameter::big_endian(answer.counter, 4));
  parameters.push_back(Parameter::big_endian(answer.time_s, 8));
  parameters.push_back(Parameter::bytes(answer.signature));
  parameters.push_back(Parameter::bytes(answer.serial));
  return parameters;
}

Result<SignedAnswer> parse_signed_answer(const Parameters& parameters, bool with_transaction) {
  ParameterReader reader(parameters);
  SignedAnswer answer;
  std::uint64_t transaction = 0;
  if (with_transaction) transaction = reader.big_endian();
  answer.counter = reader.big_endian();
  answer.time_s = reader.big_endian();
  answer.signature = reader.bytes();
  answer.serial = reader.bytes();
  if (!reader.finished() || transaction > 0xFFFFFFFFU) return bad("this is no signed answer");
  if (with_transaction) answer.transaction = static_cast<std::uint32_t>(transaction);
  return answer;
}

// --- answers

Bytes encode_answer(const Parameters& parameters) {
  const Bytes bytes = encode(parameters);
  assert(bytes.size() < first_failure);
  ByteWriter writer(2 + bytes.size());
  writer.u16be(static_cast<std::uint16_t>(bytes.size()));
  writer.bytes(bytes);
  return writer.finish();
}

Bytes encode_failure(Failure failure) {
  ByteWriter writer(2);
  writer.u16be(static_cast<std::uint16_t>(failure));
  return writer.finish();
}

Bytes bulk_header(std::uint64_t total_bytes) {
  ByteWriter writer(bulk_header_bytes);
  writer.u16be(result_bulk);
  writer.u64be(total_bytes);
  return writer.finish();
}

Status AnswerAssembler::add(ByteView frame_data) {
  if (complete()) return fail(ErrorCode::protocol, "the answer was complete before this frame");
  ByteReader reader(frame_data);
  if (!begun_) {
    const std::uint16_t result = reader.u16be();
    if (!reader.ok()) return bad("an answer without a result");
    if (result == result_bulk) {
      kind_ = Kind::bulk;
      total_ = reader.u64be();
      if (!reader.ok()) return bad("a bulk answer without its size");
    } else if (result >= first_failure) {
      kind_ = Kind::failure;
      failure_ = static_cast<Failure>(result);
      reader.skip(reader.remaining());
    } else {
      total_ = result;
    }
    if (total_ > most_bytes_) {
      return fail(ErrorCode::limit,
                  "an answer of " + std::to_string(total_) + " bytes is over the limit");
    }
    begun_ = true;
  } else if (frame_data.empty()) {
    return fail(ErrorCode::protocol,
                "the answer ended " + std::to_string(missing_bytes()) + " bytes early");
  }
  const ByteView part = reader.rest();
  if (part.size() > missing_bytes()) return bad("an answer longer than it said");
  data_.insert(data_.end(), part.begin(), part.end());
  return {};
}

bool AnswerAssembler::complete() const {
  return begun_ && (kind_ == Kind::failure || data_.size() == total_);
}

}  // namespace tillbridge::tse::cryptovision
