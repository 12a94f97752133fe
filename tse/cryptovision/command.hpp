// What a cryptovision stick is asked and what it answers: commands, parameters, results.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::tse::cryptovision {

enum class CommandCode : std::uint16_t {
  start = 0x00,              ///< -> text firmware, bytes unique id (16)
  get_pin_states = 0x01,     ///< -> bytes(4): in transport state, see PinStates
  initialize_pins = 0x02,    ///< V1: PUK, PIN of admin, then of time admin; V2: user, PUK
  authenticate_user = 0x03,  ///< user, PIN -> byte LoginOutcome, number tries left
  unblock_user = 0x04,       ///< user, PUK, new PIN -> byte LoginOutcome
  logout = 0x05,             ///< user
  initialize = 0x06,
  update_time = 0x07,         ///< bytes(4..8) Unix seconds
  get_serial_numbers = 0x08,  ///< -> bytes, see der_lists.hpp
  map_ers_to_key = 0x09,      ///< client, serial(32); empty: removes the mapping
  start_transaction =
      0x0A,  ///< client, data, type, additional -> txnr, counter, time, signature, serial
  update_transaction = 0x0B,  ///< txnr, client, data, type -> counter, time, signature, serial
  finish_transaction = 0x0C,  ///< txnr, client, data, type, additional -> as update
  export_data = 0x0D,         ///< ExportRequest -> bulk
  get_certificates = 0x0E,    ///< -> bytes: a TAR without trailer
  read_log_message = 0x0F,    ///< -> bytes: the last log message
  erase = 0x10,
  get_config_data = 0x11,  ///< ConfigItem
  get_status = 0x12,       ///< StatusItem
  deactivate = 0x13,
  activate = 0x14,
  disable = 0x15,
  export_more_data = 0x16,    ///< serial, counter already held, most records -> bulk
  get_ers_mappings = 0x17,    ///< -> bytes, see der_lists.hpp
  get_key_data = 0x18,        ///< KeyItem, serial
  get_wear_indicator = 0x19,  ///< -> number
  update_certificate = 0x1A,
  delete_data_up_to = 0x1B,  ///< serial, counter
  update_firmware = 0x63,
  shutdown = 0xFF,
};

/// "StartTransaction"; nullptr for a code that is none.
[[nodiscard]] const char* name_of(CommandCode code);

enum class ConfigItem : std::uint16_t {
  version = 0,
  signature_algorithm = 1,  ///< bytes: DER
  update_variants = 2,
  most_keys = 3,
  most_clients = 4,
  most_transactions = 5,
  time_sync_interval = 6,  ///< seconds
  time_format = 7,         ///< 3: unixTime
  certification_id = 8,    ///< text
};

enum class StatusItem : std::uint16_t {
  clients = 0,
  open_transaction_count = 1,
  open_transactions = 2,  ///< list of numbers
  transaction_counter = 3,
  life_cycle = 4,
  log_memory_bytes = 5,
  free_log_memory_bytes = 6,
};

enum class KeyItem : std::uint16_t {
  signature_counter = 0,
  certificate_expiry = 1,  ///< Unix seconds
  public_key = 2,
};

enum class LifeCycle : std::uint16_t {
  not_initialized = 1,
  no_time = 2,
  active = 3,
  deactivated = 4,
  disabled = 5,
};

enum class LoginOutcome : std::uint8_t {
  ok = 0,
  failed = 1,
  blocked = 2,
  unknown_user = 3,
  error = 4
};

/// R of an answer from 8000.
enum class Failure : std::uint16_t {
  element_communication = 0x8000,
  bad_command = 0x8001,
  bad_response = 0x8002,
  system_operation_signing = 0x8003,
  log_retrieval = 0x8004,
  storage = 0x8005,
  disabled = 0x8006,
  not_authorised = 0x8007,
  not_authenticated = 0x8008,
  not_initialized = 0x8009,
  time_update = 0x800A,
  unknown_user = 0x800B,
  start_failed = 0x800C,
  certificate_expired = 0x800D,
  no_such_transaction = 0x800E,
  update_failed = 0x800F,
  finish_failed = 0x8010,
  time_not_set = 0x8011,
  unknown_client = 0x8012,
  no_key = 0x8013,
  not_deactivated = 0x8014,
  no_data = 0x8015,
  too_many_records = 0x8016,
  unexported_data = 0x8017,
  parameter_mismatch = 0x8018,
  id_not_found = 0x8019,
  transaction_number_not_found = 0x801A,
  deactivated = 0x801B,
  transport = 0x801C,
  not_started = 0x801D,
  no_storage = 0x801E,
};
/// What it means, for a person: "not authenticated". Unknown codes: "error 8042".
[[nodiscard]] std::string text_of(Failure failure);

// --- parameters

struct Parameter {
  enum class Type : std::uint8_t { byte = 1, bytes = 2, number = 3, text = 4, numbers = 5 };
  /// By type: u8, Bytes, u16, text (ASCII), list of u32.
  std::variant<std::uint8_t, Bytes, std::uint16_t, std::string, std::vector<std::uint32_t>> value;

  [[nodiscard]] Type type() const { return static_cast<Type>(value.index() + 1); }
  [[nodiscard]] static Parameter byte(std::uint8_t value) { return {value}; }
  [[nodiscard]] static Parameter number(std::uint16_t value) { return {value}; }
  [[nodiscard]] static Parameter bytes(ByteView value) {
    return {Bytes(value.begin(), value.end())};
  }
  [[nodiscard]] static Parameter text(std::string_view value) { return {std::string(value)}; }
  [[nodiscard]] static Parameter numbers(std::vector<std::uint32_t> value) {
    return {std::move(value)};
  }
  /// Big-endian in a byte array of `size` bytes: transaction numbers (4), counters, times.
  [[nodiscard]] static Parameter big_endian(std::uint64_t value, std::size_t size);
  bool operator==(const Parameter&) const = default;
};
using Parameters = std::vector<Parameter>;
/// A big-endian number as clients send it: as many bytes as it needs, leading zeros allowed.
/// Nothing: empty, or more than 64 bits.
[[nodiscard]] std::optional<std::uint64_t> number_of(ByteView big_endian);

inline constexpr std::size_t parameter_header_bytes = 1 /* type */ + 2 /* length */;
/// The bytes of all of them, without a length in front.
[[nodiscard]] Bytes encode(const Parameters& parameters);
/// The length of each must fit its type. ErrorCode::malformed, or limit above
/// limits::cryptovision_parameters.
[[nodiscard]] Result<Parameters> parse_parameters(ByteView bytes);

/// Takes parameters one after the other; one that is missing or of another type fails the reader.
class ParameterReader {
 public:
  explicit ParameterReader(const Parameters& parameters) : parameters_(parameters) {}
  std::uint8_t byte();
  std::uint16_t number();
  Bytes bytes();
  /// An empty byte array too: what the vendor's Java sends for a text that is not there.
  std::string text();
  std::vector<std::uint32_t> numbers();
  /// A byte array of 1 to 8 bytes as a number. Also takes a `number` (some answers come as either).
  std::uint64_t big_endian();
  [[nodiscard]] std::optional<Parameter::Type> next_type() const;
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool finished() const { return ok_ && next_ == parameters_.size(); }

 private:
  template <typename T>
  T take();
  const Parameters& parameters_;
  std::size_t next_ = 0;
  bool ok_ = true;
};

// --- commands

inline constexpr std::size_t command_header_bytes =
    2 /* 5C54 */ + 2 /* code */ + 2 /* length of the parameters */;
struct Command {
  std::uint16_t code = 0;
  Bytes parameters;  ///< parse_parameters()
};
[[nodiscard]] Bytes encode_command(CommandCode code, const Parameters& parameters = {});
[[nodiscard]] Result<Command> parse_command(ByteView data);

struct ExportRequest {
  static constexpr std::uint32_t any_transaction = 0xFFFFFFFF;
  std::string client;  ///< empty: all
  std::uint32_t transaction = any_transaction;
  std::optional<std::uint32_t> from, to;  ///< transaction numbers
  std::optional<std::uint64_t> from_time_s, to_time_s;
  std::uint32_t most_records = 0;  ///< 0: any number
};
[[nodiscard]] Parameters parameters_of(const ExportRequest& request);
[[nodiscard]] Result<ExportRequest> parse_export_request(const Parameters& parameters);

/// GetPinStates: true means still in transport state.
struct PinStates {
  bool admin_pin = false, admin_puk = false, time_admin_pin = false, time_admin_puk = false;
};
[[nodiscard]] Parameters parameters_of(const PinStates& states);
[[nodiscard]] Result<PinStates> parse_pin_states(const Parameters& parameters);

/// What a signature brought. `transaction`: of StartTransaction only.
struct SignedAnswer {
  std::optional<std::uint32_t> transaction;
  std::uint64_t counter = 0;
  std::uint64_t time_s = 0;
  Bytes signature;
  Bytes serial;
};
[[nodiscard]] Parameters parameters_of(const SignedAnswer& answer);
[[nodiscard]] Result<SignedAnswer> parse_signed_answer(const Parameters& parameters,
                                                       bool with_transaction);

// --- answers

inline constexpr std::uint16_t result_bulk = 0x9000;
inline constexpr std::size_t bulk_header_bytes = 2 /* 9000 */ + 8 /* total */;

/// The whole answer as bytes, R first, before it is cut into frames of most_response_bytes.
[[nodiscard]] Bytes encode_answer(const Parameters& parameters);
[[nodiscard]] Bytes encode_failure(Failure failure);
[[nodiscard]] Bytes bulk_header(std::uint64_t total_bytes);

/// Host side: puts an answer together out of its frames. Feed the data of the first frame, then of
/// each fetch_more, until complete().
class AnswerAssembler {
 public:
  enum class Kind : std::uint8_t { parameters, failure, bulk };

  /// `most_bytes`: more than that is refused with ErrorCode::limit.
  explicit AnswerAssembler(std::uint64_t most_bytes) : most_bytes_(most_bytes) {}
  /// An error: the frame cannot belong to this answer; it is then of no more use.
  [[nodiscard]] Status add(ByteView frame_data);
  [[nodiscard]] bool complete() const;

  [[nodiscard]] Kind kind() const { return kind_; }
  [[nodiscard]] Failure failure() const { return failure_; }
  /// Of bulk and parameters: bytes that belong to the answer in all, and those not there yet.
  [[nodiscard]] std::uint64_t total_bytes() const { return total_; }
  [[nodiscard]] std::uint64_t missing_bytes() const { return total_ - data_.size(); }
  /// Parameter bytes, or the archive without its trailer.
  [[nodiscard]] const Bytes& data() const { return data_; }
  [[nodiscard]] Result<Parameters> parameters() const { return parse_parameters(data_); }

 private:
  std::uint64_t most_bytes_;
  bool begun_ = false;
  Kind kind_ = Kind::parameters;
  Failure failure_{};
  std::uint64_t total_ = 0;
  Bytes data_;
};

}  // namespace tillbridge::tse::cryptovision
