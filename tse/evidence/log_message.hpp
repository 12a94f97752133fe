// LogMessage: what a TSE signs and stores (BSI TR-03151 v1.0.1, section 2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "tse/evidence/keys.hpp"

namespace tillbridge::tse {

enum class TransactionStep : std::uint8_t { start, update, finish };
/// "StartTransaction", ...
[[nodiscard]] const char* operation_name(TransactionStep step);

struct TransactionLog {
  TransactionStep step = TransactionStep::start;
  std::string client;
  Bytes process_data;
  std::string process_type;
  std::optional<Bytes> additional_external, additional_internal;
  std::uint64_t number = 0;
  /// The signature covers the bytes of processData as they stand. Some products write it as an
  /// indefinite-length sequence of pieces: how long each is, together all of process_data. None:
  /// one primitive element.
  std::vector<std::uint32_t> pieces;
};

struct SystemLog {
  std::string operation;  ///< "UpdateTime", "AuthenticateUser", ... (TR-03151 appendix A)
  Bytes data;             ///< its inner TLVs
  std::optional<Bytes> additional;
};

struct AuditLog {
  Bytes data;  ///< vendor-specific
};

enum class TimeFormat : std::uint8_t { unix_time, utc_time, generalized_time };
/// "unixTime", "utcTime", "generalizedTime": as in a receipt's QR code.
[[nodiscard]] const char* name_of(TimeFormat format);

struct LogMessage {
  std::uint32_t version = 2;
  std::variant<TransactionLog, SystemLog, AuditLog> content;
  SerialNumber serial{};
  Hash hash = Hash::sha384;
  std::uint64_t counter = 0;
  TimeFormat time_format = TimeFormat::unix_time;
  std::uint64_t time_s = 0;  ///< Unix seconds, whatever the format
  Bytes signature;
};

/// Everything inside the outer SEQUENCE up to the signature: what is signed.
[[nodiscard]] Bytes signed_part(const LogMessage& message);
/// The whole message, with its signature.
[[nodiscard]] Bytes encode(const LogMessage& message);
/// `key`'s signature over signed_part(), in place.
void sign(LogMessage& message, const SigningKey& key);

struct ParsedLog {
  LogMessage message;
  Bytes signed_bytes;  ///< as they stood, for verifying
};
/// ErrorCode::malformed says where and what. Any bytes are safe.
[[nodiscard]] Result<ParsedLog> parse_log(ByteView log);

/// TR-03151 section 5.1: "Unixt_1767225600_Sig-7_Log-Tra_No-1_Start_Client-till-01.log". At most
/// tar_name_bytes: a client id that is longer is cut. '_' stands for what a file name cannot hold.
[[nodiscard]] std::string file_name(const LogMessage& message);
/// A client id or an operation as file_name() writes it, uncut.
[[nodiscard]] std::string file_name_part(std::string_view text);

}  // namespace tillbridge::tse
