#include "tse/cryptovision/der_lists.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "tse/evidence/der.hpp"

namespace tillbridge::tse::cryptovision {
namespace {

constexpr std::uint8_t tag_transaction_logs = der::context(0), tag_system_logs = der::context(1),
                       tag_audit_logs = der::context(2);
constexpr std::uint8_t der_true = 0xFF;
/// 0.4.0.127.0.7.1.1.4.1: ecdsa-plain-signatures (TR-03111); one more arc names the hash.
constexpr std::array<std::uint8_t, 9> ecdsa_plain{0x04, 0x00, 0x7F, 0x00, 0x07,
                                                  0x01, 0x01, 0x04, 0x01};

Bytes element(std::uint8_t tag, ByteView content) {
  ByteWriter writer;
  der::write(writer, tag, content);
  return writer.finish();
}

ByteView expect(ByteReader& reader, std::uint8_t tag) {
  const der::Element element = der::read(reader);
  if (element.tag != tag || element.indefinite) reader.fail();
  return reader.ok() ? element.content : ByteView();
}

SerialNumber read_serial(ByteReader& reader) {
  SerialNumber serial{};
  const ByteView content = expect(reader, der::octet_string);
  if (content.size() == serial.size()) {
    std::copy(content.begin(), content.end(), serial.begin());
  } else {
    reader.fail();
  }
  return serial;
}

bool read_flag(ByteReader& reader, std::uint8_t tag) {
  const ByteView content = expect(reader, tag);
  if (content.size() != 1) reader.fail();
  return reader.ok() && content.front() != 0;
}

}  // namespace

Bytes encode(const std::vector<KeyUse>& keys) {
  ByteWriter list;
  for (const KeyUse& key : keys) {
    ByteWriter flags;
    const auto flag = [&](std::uint8_t tag, bool value) {
      der::write(flags, tag, Bytes{value ? der_true : std::uint8_t{0}});
    };
    flag(tag_transaction_logs, key.transaction_logs);
    flag(tag_system_logs, key.system_logs);
    flag(tag_audit_logs, key.audit_logs);
    ByteWriter entry;
    der::write(entry, der::octet_string, key.serial);
    der::write(entry, der::sequence, flags.view());
    der::write(list, der::sequence, entry.view());
  }
  return element(der::sequence, list.view());
}

Result<std::vector<KeyUse>> parse_key_uses(ByteView der) {
  ByteReader outer(der);
  ByteReader list(expect(outer, der::sequence));
  std::vector<KeyUse> keys;
  while (outer.ok() && list.ok() && list.remaining() > 0) {
    if (keys.size() >= limits::cryptovision_keys) {
      return fail(ErrorCode::limit, "the stick lists too many keys");
    }
    ByteReader entry(expect(list, der::sequence));
    KeyUse key;
    key.serial = read_serial(entry);
    ByteReader flags(expect(entry, der::sequence));
    key.transaction_logs = read_flag(flags, tag_transaction_logs);
    key.system_logs = read_flag(flags, tag_system_logs);
    key.audit_logs = read_flag(flags, tag_audit_logs);
    if (!entry.finished() || !flags.ok()) list.fail();
    keys.push_back(key);
  }
  if (!outer.finished() || !list.ok()) {
    return fail(ErrorCode::malformed, "the list of serial numbers is not in its DER form");
  }
  return keys;
}

Bytes encode(const std::vector<ClientMapping>& mappings, bool old_firmware) {
  ByteWriter list;
  for (const ClientMapping& mapping : mappings) {
    ByteWriter entry;
    der::write(entry, der::octet_string, Bytes(mapping.client.begin(), mapping.client.end()));
    der::write(entry, der::octet_string, mapping.serial);
    der::write(list, der::sequence, entry.view());
  }
  if (!old_firmware || list.size() < 127) return element(der::sequence, list.view());
  // One byte too early into the longer forms, and what they are longer by is counted as content.
  ByteWriter writer;
  writer.u8(der::sequence);
  if (list.size() < 255) {
    writer.u8(0x81);
    writer.u8(static_cast<std::uint8_t>(list.size() + 1));
  } else {
    writer.u8(0x82);
    writer.u16be(static_cast<std::uint16_t>(list.size() + 2));
  }
  writer.bytes(list.view());
  return writer.finish();
}

Result<std::vector<ClientMapping>> parse_client_mappings(ByteView der) {
  ByteReader list(der);
  // The outer length is not believed: the old firmware gets it wrong.
  if (list.u8() != der::sequence) list.fail();
  const std::uint8_t length = list.u8();
  if (length > 0x80) list.skip(length & 0x7FU);
  std::vector<ClientMapping> mappings;
  while (list.ok() && list.remaining() > 0) {
    if (mappings.size() >= limits::cryptovision_mappings) {
      return fail(ErrorCode::limit, "the stick lists too many clients");
    }
    ByteReader entry(expect(list, der::sequence));
    const ByteView client = expect(entry, der::octet_string);
    ClientMapping mapping;
    mapping.client.assign(client.begin(), client.end());
    mapping.serial = read_serial(entry);
    if (!entry.finished()) list.fail();
    mappings.push_back(std::move(mapping));
  }
  if (!list.ok()) {
    return fail(ErrorCode::malformed, "the list of clients is not in its DER form");
  }
  return mappings;
}

Bytes encode_signature_algorithm(Hash hash) {
  Bytes oid(ecdsa_plain.begin(), ecdsa_plain.end());
  oid.push_back(static_cast<std::uint8_t>(hash));
  return element(der::sequence, element(der::object_identifier, oid));
}

Result<Hash> parse_signature_algorithm(ByteView der) {
  ByteReader outer(der);
  ByteReader sequence(expect(outer, der::sequence));
  const ByteView oid = expect(sequence, der::object_identifier);
  if (!outer.ok() || !sequence.ok() || oid.size() != ecdsa_plain.size() + 1 ||
      !std::equal(ecdsa_plain.begin(), ecdsa_plain.end(), oid.begin())) {
    return fail(ErrorCode::malformed, "the signature algorithm is not ecdsa-plain");
  }
  const std::uint8_t arc = oid.back();
  const bool known = (arc >= 2 && arc <= 5) || (arc >= 8 && arc <= 11);
  if (!known) return fail(ErrorCode::malformed, "the signature algorithm names no known hash");
  return static_cast<Hash>(arc);
}

}  // namespace tillbridge::tse::cryptovision
