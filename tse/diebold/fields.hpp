// What the parameters of requests and responses mean. For each response both directions: the
// device builds it with parameters_of(), the client reads it with parse_*().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "tse/diebold/frame.hpp"

namespace tillbridge::tse::diebold {

using Parameters = std::vector<std::string>;

/// Decimal digits only; nothing for anything else or above 2^63 - 1.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);
/// "31.12.2026 23:59:59", UTC.
[[nodiscard]] std::string time_text(std::int64_t unix_s);
[[nodiscard]] std::optional<std::int64_t> parse_time(std::string_view text);

/// Command 206 takes at most this many bytes of process data at a time.
inline constexpr std::size_t process_data_packet_bytes = 512;
/// The parameters of each command 206 that brings this process data; none for no data.
[[nodiscard]] std::vector<Parameters> process_data_packets(ByteView data);

/// 001.
struct DeviceStatus {
  DeviceError error = DeviceError::none;
  std::uint8_t state = 0;  ///< state_bit
};
[[nodiscard]] Parameters parameters_of(const DeviceStatus& status);
[[nodiscard]] Result<DeviceStatus> parse_status(const Response& response);

/// 000.
struct CountryInfo {
  std::uint64_t api_major = 2, api_minor = 2, country = 23, hardware = hardware_stick;
};
[[nodiscard]] Parameters parameters_of(const CountryInfo& info);
[[nodiscard]] Result<CountryInfo> parse_country_info(const Response& response);

/// 002 of a stick: firmware and loader.
struct FirmwareInfo {
  std::uint64_t major = 1, minor = 3, build = 497;
  std::uint64_t loader_major = 1, loader_minor = 1, loader_build = 497;
};
[[nodiscard]] Parameters parameters_of(const FirmwareInfo& info);
[[nodiscard]] Result<FirmwareInfo> parse_firmware_info(const Response& response);

/// 004: a piece of what a buffer holds. All pieces together are a whole response frame.
struct BufferPacket {
  std::uint64_t buffer = 0, sequence = 0;
  bool more = false;
  Bytes data;
};
[[nodiscard]] Parameters parameters_of(const BufferPacket& packet);
[[nodiscard]] Result<BufferPacket> parse_buffer_packet(const Response& response);

/// 102. Bytes.
struct MemoryInfo {
  std::uint64_t capacity = 0, free = 0;
};
[[nodiscard]] Parameters parameters_of(const MemoryInfo& info);
[[nodiscard]] Result<MemoryInfo> parse_memory_info(const Response& response);

/// 108.
struct DeviceInfo {
  std::string serial;  ///< hexadecimal
  std::uint64_t slots = 1, occupied = 1, in_maintenance = 0, inserted = 1;
  std::string board_version = "A";
  std::string ip_address;
};
[[nodiscard]] Parameters parameters_of(const DeviceInfo& info);
[[nodiscard]] Result<DeviceInfo> parse_device_info(const Response& response);

/// 109.
struct SlotInfo {
  std::uint8_t slot = 0;  ///< slot_bit
  std::uint8_t tse = 0;   ///< tse_bit
  std::uint64_t crypto_vendor = 0;
  std::string crypto_info;
  std::uint64_t capacity = 0, free = 0;
  std::int64_t certificate_end_s = 0;
  std::uint64_t signatures_left = 0;
  std::string algorithm;  ///< "ecdsa-plain-SHA384"
  std::uint64_t crypto_firmware_type = 1;
  std::string description;
};
[[nodiscard]] Parameters parameters_of(const SlotInfo& info);
/// Old firmware leaves capacity and free space empty and sends nine fields only: both are 0 then,
/// the others at their defaults.
[[nodiscard]] Result<SlotInfo> parse_slot_info(const Response& response);

/// 112.
enum class SelfTestResult : std::uint8_t { passed = 1, failed = 2, unknown_client = 3 };
[[nodiscard]] Result<SelfTestResult> parse_self_test(const Response& response);

/// 201, 203, 205.
struct Signature {
  std::int64_t time_s = 0;
  std::uint64_t transaction = 0;  ///< 201 only
  Bytes serial;                   ///< 201 only; 32 bytes
  std::uint64_t counter = 0;
  Bytes signature;  ///< r and s
};
[[nodiscard]] Parameters start_parameters(const Signature& signature);
[[nodiscard]] Parameters end_parameters(const Signature& signature);
/// By the response's command.
[[nodiscard]] Result<Signature> parse_signature(const Response& response);

/// 400, 402, 403, 404.
enum class LoginResult : std::uint8_t { ok = 1, wrong = 2, blocked = 3 };
struct LoginAnswer {
  LoginResult result{};
  std::uint64_t tries_left = 0;
};
[[nodiscard]] Parameters parameters_of(const LoginAnswer& answer);
/// An answer without a number of tries counts as 0 left when it failed: nobody should try again.
[[nodiscard]] Result<LoginAnswer> parse_login(const Response& response);

/// 500 and 504.
struct Count {
  std::uint64_t most = 0, current = 0;
};
[[nodiscard]] Parameters parameters_of(const Count& count);
[[nodiscard]] Result<Count> parse_count(const Response& response);

/// 507, 508, 307: one number.
[[nodiscard]] Result<std::uint64_t> parse_single_number(const Response& response);
/// 506.
[[nodiscard]] Result<std::vector<std::uint64_t>> parse_numbers(const Response& response);
/// 300 to 306, 308: base64 values. 300 to 303: one archive with its trailer. 304: certificates from
/// leaf to root, DER. 305: serial number. 306: one log message. 308: serial number and public key.
[[nodiscard]] Result<std::vector<Bytes>> parse_binaries(const Response& response);

}  // namespace tillbridge::tse::diebold
