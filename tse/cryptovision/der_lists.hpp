// The DER lists of a cryptovision stick: its keys, and which client signs with which key.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "tse/evidence/keys.hpp"

namespace tillbridge::tse::cryptovision {

/// GetSerialNumbers: a key and which logs it signs.
struct KeyUse {
  SerialNumber serial{};
  bool transaction_logs = false, system_logs = false, audit_logs = false;
  bool operator==(const KeyUse&) const = default;
};
[[nodiscard]] Bytes encode(const std::vector<KeyUse>& keys);
[[nodiscard]] Result<std::vector<KeyUse>> parse_key_uses(ByteView der);

/// GetERSMappings.
struct ClientMapping {
  std::string client;
  SerialNumber serial{};
  bool operator==(const ClientMapping&) const = default;
};
/// `old_firmware`: its length bytes are wrong from 127 and 255 bytes on.
[[nodiscard]] Bytes encode(const std::vector<ClientMapping>& mappings, bool old_firmware = false);
/// Also reads what the old firmware makes.
[[nodiscard]] Result<std::vector<ClientMapping>> parse_client_mappings(ByteView der);

/// GetConfigData 1: SEQUENCE { OID 0.4.0.127.0.7.1.1.4.1.n }.
[[nodiscard]] Bytes encode_signature_algorithm(Hash hash);
[[nodiscard]] Result<Hash> parse_signature_algorithm(ByteView der);

}  // namespace tillbridge::tse::cryptovision
