// The Swissbit USB TSE on the wire: an INFO sector, command and answer blocks, and what stands in
// them. Both directions: a simulated stick decodes what a POS encodes, and the other way round.
// PROTOCOL.md says where each fact comes from and which ones are inferred.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::tse::swissbit {

/// INFO, COMM, the pointer block and each block of the store.
inline constexpr std::size_t sector_bytes = 512;

// --- where things are
inline constexpr const char* info_file = "TSE_INFO.DAT";
inline constexpr const char* comm_file = "TSE_COMM.DAT";
/// "TSE_TAR.001" for 1. Clients probe 1 to 99 and stop at the first that is missing.
[[nodiscard]] std::string tar_file(unsigned number);
inline constexpr unsigned most_tar_files = 99;
/// Clients count this many blocks (1 GiB) to a TAR file: block b of the store is block
/// b % tar_file_blocks of file 1 + b / tar_file_blocks. A small simulated stick has one file only.
inline constexpr std::uint64_t tar_file_blocks = 2'097'152;

/// Block 8 of the device says where the files are, for clients without a file system.
inline constexpr std::uint64_t pointer_block = 8;
struct Pointers {
  std::uint32_t info = 0, comm = 0, store = 0;  ///< blocks of the device
};
[[nodiscard]] Bytes encode(const Pointers& pointers);
[[nodiscard]] Result<Pointers> parse_pointers(ByteView sector);

// --- INFO
enum class State : std::uint8_t { uninitialized = 0, initialized = 1, decommissioned = 2 };

/// A live view: it changes with every command and with time, so it must never come from a cache.
struct Info {
  std::string customization =
      "GMISRLS";                      ///< seller's id and RLS (release) or DEV; at most 20 bytes
  std::uint32_t capacity_blocks = 0;  ///< of the store (place inferred)
  std::uint32_t used_blocks = 0;      ///< of the store
  bool time_valid = false, self_test_passed = false;
  bool ctss_active = false;  ///< the interface that signs (place inferred)
  State state = State::uninitialized;
  bool import_running = false;  ///< a transaction step is open and waits for its data
  bool puk_changed = false, admin_pin_changed = false, time_admin_pin_changed = false;
  std::uint32_t seconds_to_self_test = 0, seconds_to_time = 0;
  std::uint32_t open_transactions = 0, most_open_transactions = 0;  ///< (places inferred)
  std::uint32_t signatures = 0, most_signatures = 0;
  std::uint32_t clients = 0, most_clients = 0;
  std::uint64_t certificate_end_s = 0;  ///< Unix
  /// A full export: the store from its first block, with the archive's two blocks of zeros.
  std::uint64_t export_bytes = 0;
  std::uint32_t hardware_version = 0;  ///< (place inferred)
  std::uint32_t firmware_version = 0;
  Bytes public_point;  ///< 04, X, Y
  std::array<std::uint8_t, 32> serial{};
  std::string certification_id;  ///< "BSI-K-TR-0412-2020"; at most 63 bytes
};
[[nodiscard]] Bytes encode(const Info& info);
/// Any 512 bytes are safe; ErrorCode::malformed when they are no INFO sector.
[[nodiscard]] Result<Info> parse_info(ByteView sector);

// --- commands
enum class Opcode : std::uint8_t {
  login = 0x20,
  logout = 0x21,  ///< inferred
  change_puk = 0x23,
  change_pin = 0x24,
  self_test = 0x40,
  register_client = 0x41,
  deregister_client = 0x42,
  list_clients = 0x43,
  enable_ctss = 0x60,
  disable_ctss = 0x61,
  initialize = 0x70,
  decommission = 0x71,  ///< inferred
  set_time = 0x80,
  fetch_answer = 0x83,
  list_transactions = 0x85,
  read_certificate = 0x86,
  open_step = 0x90,
  open_step_91 = 0x91,  ///< the same; other clients use it
  close_step = 0x95,
};
[[nodiscard]] const char* name_of(Opcode opcode);

enum class User : std::uint8_t { admin = 1, time_admin = 2 };
enum class Step : std::uint8_t { start = 0, update = 1, finish = 2 };

inline constexpr std::size_t client_id_bytes = 30;  ///< at most
inline constexpr std::size_t puk_digits = 6, pin_digits = 5;
/// The type goes into the command block, beside the client id.
inline constexpr std::size_t process_type_bytes = 100;

struct Login {
  User user{};
  std::string pin;
};
struct Logout {
  User user{};
};
struct ChangePuk {
  std::string old_puk, new_puk;
};
struct ChangePin {
  User user{};
  std::string old_pin, new_pin;
};
/// Passes only for a registered client.
struct SelfTest {
  std::string client;
};
struct RegisterClient {
  std::string client;
};
struct DeregisterClient {
  std::string client;
};
struct ListClients {
  std::uint32_t skip = 0;
};
struct EnableCtss {};
struct DisableCtss {};
struct Initialize {};
struct Decommission {};
struct SetTime {
  std::uint64_t unix_s = 0;
};
/// Asks for an answer whose status is AnswerState::waits_for_fetch.
struct FetchAnswer {};
struct ListTransactions {
  std::uint32_t skip = 0;
  std::string client;  ///< empty: of all clients
};
struct ReadCertificate {
  std::uint32_t offset = 0;
};
/// First half of a signature. The answer names the block of the store to which the process data,
/// padded with zeros to whole blocks, is then written.
struct OpenStep {
  Step step{};
  std::string client;
  std::uint64_t transaction = 0;  ///< 0 for a start
  std::uint64_t data_bytes = 0;
  std::string type;
  bool opcode_91 = false;
};
/// Second half: signs and answers with a ClosedStep.
struct CloseStep {};

using Command =
    std::variant<Login, Logout, ChangePuk, ChangePin, SelfTest, RegisterClient, DeregisterClient,
                 ListClients, EnableCtss, DisableCtss, Initialize, Decommission, SetTime,
                 FetchAnswer, ListTransactions, ReadCertificate, OpenStep, CloseStep>;

/// A block for TSE_COMM.DAT. Texts longer than their limits are our own bug and asserted.
[[nodiscard]] Bytes encode(const Command& command);

// --- how a command ended
/// The card's status codes. Others may come: text_of() explains what it can.
enum class CommandStatus : std::uint16_t {
  ok = 0x0000,
  no_time = 0x1002,
  no_step_open = 0x1004,
  syntax = 0x1005,
  data_missing = 0x1006,  ///< of a step's process data; the close may be tried again
  bad_parameter = 0x1007,
  not_started = 0x1008,
  too_many_transactions = 0x1009,
  certificate_expired = 0x100A,
  no_last_transaction = 0x100C,
  not_allowed = 0x100D,
  signatures_used_up = 0x100E,
  not_authorised = 0x100F,
  too_many_clients = 0x1010,
  unknown_client = 0x1011,
  unexported_data = 0x1012,
  client_has_open_transactions = 0x1013,
  open_transactions = 0x1014,
  nothing_to_fetch = 0x1015,
  export_running = 0x1016,
  store_full = 0x1017,
  puk_must_be_changed = 0x1050,
  pin_must_be_changed = 0x1051,
  ctss_off = 0x1053,
  self_test_required = 0x1054,    ///< none since power-up, or it is too old
  self_test_not_passed = 0x1055,  ///< there was one, and it failed
  already_initialized = 0x10FD,
  decommissioned = 0x10FE,
  not_initialized = 0x10FF,
  login_failed = 0x1100,  ///< plus the tries that are left
  pin_blocked = 0x1201,
  not_logged_in = 0x1202,
  self_test_part_failed = 0x1300,  ///< plus the part
  unknown_command = 0xF000,
  signature_error = 0xFF00,
};
[[nodiscard]] constexpr std::uint16_t number_of(CommandStatus status) {
  return static_cast<std::uint16_t>(status);
}
[[nodiscard]] constexpr CommandStatus login_failed(std::uint8_t tries_left) {
  return static_cast<CommandStatus>(0x1100U + tries_left);
}
/// For 1100 to 11FF.
[[nodiscard]] std::optional<std::uint8_t> tries_left(CommandStatus status);
/// One sentence for a person: what is wrong and what to do. Works for every number.
[[nodiscard]] std::string text_of(CommandStatus status);

/// A block written to TSE_COMM.DAT that is a command, whatever its content is worth.
struct CommandFrame {
  std::uint8_t opcode = 0;
  ByteView parameters;
  ByteView bytes;  ///< with the length: what a repeated frame repeats
};
/// Nothing: the length is not 2 to 510, so the stick takes no notice.
[[nodiscard]] std::optional<CommandFrame> parse_frame(ByteView sector);
/// The command, or with which status the stick refuses it: unknown_command, syntax, bad_parameter.
[[nodiscard]] std::variant<Command, CommandStatus> parse_command(const CommandFrame& frame);

// --- answers
enum class AnswerState : std::uint8_t {
  none = 0x00,  ///< no answer since power-up
  busy = 0xF3,
  waits_for_fetch = 0xFD,  ///< ready, but FetchAnswer must be sent for it
  complete = 0xFF,
};

/// What TSE_COMM.DAT reads as. `counter` rises by one with each command that the stick took: a host
/// that finds it as it was before its command sees that the command was ignored (another user of
/// the stick was faster), one that finds it smaller that the stick lost power.
struct Answer {
  std::uint32_t counter = 0;
  AnswerState state = AnswerState::none;
  CommandStatus status = CommandStatus::ok;
  Bytes data;  ///< at most answer_data_bytes; only of a complete answer
};
inline constexpr std::size_t answer_data_bytes =
    sector_bytes - 4 - 1 - 2 - 2;  ///< counter, state, length, status
[[nodiscard]] Bytes encode(const Answer& answer);
/// ErrorCode::malformed: an unknown state or a length that does not fit.
[[nodiscard]] Result<Answer> parse_answer(ByteView sector);

// --- the answers' data
struct OpenedStep {
  std::uint64_t block = 0;  ///< of the store
};
[[nodiscard]] Bytes encode(const OpenedStep& opened);
[[nodiscard]] Result<OpenedStep> parse_opened_step(ByteView data);

struct ClosedStep {
  std::uint64_t transaction = 0;
  std::array<std::uint8_t, 32> serial{};
  std::uint64_t time_s = 0, counter = 0;
  Bytes signature;
};
[[nodiscard]] Bytes encode(const ClosedStep& closed);
[[nodiscard]] Result<ClosedStep> parse_closed_step(ByteView data);

/// Lists come in pages: ask with `skip` until a page is empty. 15 slots of 32 bytes fill a block,
/// though clients expect up to 16.
inline constexpr std::size_t clients_per_page = 15, transactions_per_page = 62;
[[nodiscard]] Bytes encode_clients(const std::vector<std::string>& page);
[[nodiscard]] Result<std::vector<std::string>> parse_clients(ByteView data);
[[nodiscard]] Bytes encode_transactions(const std::vector<std::uint64_t>& page);
[[nodiscard]] Result<std::vector<std::uint64_t>> parse_transactions(ByteView data);

/// The certificates as one PEM text, in chunks: ask with a rising offset until a chunk is empty or
/// the status is bad_parameter.
inline constexpr std::size_t certificate_chunk_bytes = answer_data_bytes - 2;
[[nodiscard]] Bytes encode_certificate_chunk(ByteView chunk);
[[nodiscard]] Result<Bytes> parse_certificate_chunk(ByteView data);

// --- the transport state
struct FactoryCredentials {
  std::string puk, admin_pin, time_admin_pin;
};
inline constexpr std::string_view default_seed = "SwissbitSwissbit";
/// What a new stick is delivered with. Some sellers have a seed of their own.
[[nodiscard]] FactoryCredentials factory_credentials(const std::array<std::uint8_t, 32>& serial,
                                                     std::string_view seed = default_seed);

}  // namespace tillbridge::tse::swissbit
