// The commands, errors and state bits of the Diebold Nixdorf TSE. PROTOCOL.md has the parameters.
#pragma once

#include <cstdint>
#include <optional>

namespace tillbridge::tse::diebold {

enum class Command : std::uint16_t {
  country_info = 0,
  status = 1,
  firmware_info = 2,
  set_status_reports = 3,
  fetch_buffer = 4,

  initialize = 100,
  set_time = 101,
  memory_info = 102,
  update_firmware = 103,
  disable = 104,
  register_client = 106,
  deregister_client = 107,
  device_info = 108,
  slot_info = 109,
  enter_maintenance = 110,
  leave_maintenance = 111,
  self_test = 112,

  start = 200,
  start_end = 201,
  update = 202,
  update_end = 203,
  finish = 204,
  finish_end = 205,
  process_data = 206,
  abandon = 207,

  export_all = 300,
  export_transaction = 301,
  export_transactions = 302,
  export_period = 303,
  export_certificates = 304,
  export_serials = 305,
  export_last_log = 306,
  delete_exported = 307,
  export_public_key = 308,
  reset_export = 309,

  login = 400,
  logout = 401,
  unblock = 402,
  change_puk = 403,
  change_pin = 404,

  client_count = 500,
  clients = 502,
  update_variants = 503,
  transaction_count = 504,
  open_transactions = 506,
  time_interval = 507,
  seconds_to_self_test = 508,
  set_client = 509,
};
/// Nothing: no such command.
[[nodiscard]] std::optional<Command> known_command(std::uint16_t number);
/// "start transaction, end": for logs and messages.
[[nodiscard]] const char* name_of(Command command);

/// What command 001 reports. A failed command is never answered: this is all there is.
enum class DeviceError : std::uint16_t {
  none = 0x0000,
  general = 0x0001,
  power_failed = 0x0002,
  unknown_command = 0x0003,
  command_too_long = 0x0004,
  bad_end = 0x0005,
  wrong_order = 0x0006,
  parameter_count = 0x0007,
  parameter_value = 0x0008,
  not_initialized = 0x0100,
  time_not_set = 0x0101,
  certificate_expired = 0x0102,
  disabled = 0x0103,
  command_failed = 0x0104,
  system_log_failed = 0x0105,
  log_not_read = 0x0106,
  storage_failed = 0x0107,
  no_transaction = 0x0108,
  client_not_set = 0x010A,
  no_data = 0x010B,
  self_test_required = 0x010C,
  no_log = 0x010D,
  unsupported_card = 0x010F,
  not_authorised = 0x0110,     ///< logged in, but not as the right user
  not_authenticated = 0x0111,  ///< not logged in
  unknown_user = 0x0112,
  description_missing = 0x0113,  ///< the manufacturer left it to the operator
  description_given = 0x0114,    ///< the manufacturer set it already
  unknown_client = 0x0115,
  card_missing = 0x0116,
  too_many_transactions = 0x0117,
  signatures_used_up = 0x0118,
  too_many_clients = 0x0119,
  client_has_open_transactions = 0x011A,
  open_transactions = 0x011B,
};
/// A sentence without its full stop; "unknown error" for numbers not in the list.
[[nodiscard]] const char* text_of(DeviceError error);

namespace state_bit {
inline constexpr std::uint8_t fiscal_mode = 1U << 0U;   ///< initialised and not disabled
inline constexpr std::uint8_t command_open = 1U << 1U;  ///< between 200/202/204 and its end or 207
inline constexpr std::uint8_t transaction_started = 1U << 2U;
inline constexpr std::uint8_t maintenance = 1U << 3U;
inline constexpr std::uint8_t service = 1U << 4U;
}  // namespace state_bit

namespace slot_bit {
inline constexpr std::uint8_t inserted = 1U << 0U;
inline constexpr std::uint8_t operational = 1U << 1U;
inline constexpr std::uint8_t maintenance_requested = 1U << 2U;
inline constexpr std::uint8_t maintenance = 1U << 3U;
}  // namespace slot_bit

namespace tse_bit {
inline constexpr std::uint8_t initialized = 1U << 0U;
inline constexpr std::uint8_t disabled = 1U << 1U;
inline constexpr std::uint8_t nearly_full = 1U << 2U;
}  // namespace tse_bit

/// Command 000: which device it is.
inline constexpr std::uint32_t hardware_stick = 64, hardware_connect_box = 65;

}  // namespace tillbridge::tse::diebold
