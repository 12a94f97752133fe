// A decoded PDU in the words of rdpeusb_vectors.json.
#pragma once

#include <nlohmann/json.hpp>

#include "channel/rdpeusb/pdu/message.hpp"

namespace tillbridge::conformance {

/// The PDU's fields under the specification's names, lengths and counts computed from the values;
/// null for the outcomes that are no PDU (Ignored, BadRequest, UnknownFunction).
[[nodiscard]] nlohmann::json fields_of(const rdpeusb::pdu::FromServer& pdu);
[[nodiscard]] nlohmann::json fields_of(const rdpeusb::pdu::FromTill& pdu);

[[nodiscard]] std::string to_hex(ByteView bytes);
[[nodiscard]] Bytes from_hex(const std::string& hex);

}  // namespace tillbridge::conformance
