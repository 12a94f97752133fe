#include "tests/conformance/rdpeusb_fields.hpp"

#include <string_view>

#include "channel/rdpeusb/pdu/describe.hpp"

namespace tillbridge::conformance {

namespace {

namespace pdu = rdpeusb::pdu;
using nlohmann::json;

struct ToJson {
  json operator()(std::uint32_t value) const { return value; }
  json operator()(const std::string& value) const { return value; }
  json operator()(const std::vector<std::string>& value) const { return value; }
  json operator()(const pdu::Opaque& value) const { return to_hex(value.bytes); }
  json operator()(const pdu::Payload& value) const { return to_hex(value.bytes); }
  json operator()(const pdu::Fields& value) const {
    json object = json::object();
    for (const pdu::Field& field : value) object[field.name] = std::visit(*this, field.value);
    return object;
  }
  json operator()(const std::vector<pdu::Fields>& value) const {
    json array = json::array();
    for (const pdu::Fields& fields : value) array.push_back((*this)(fields));
    return array;
  }
};

json fields_of(const pdu::Description& description) {
  return description.is_message ? ToJson{}(description.fields) : json();
}

}  // namespace

json fields_of(const pdu::FromServer& pdu) {
  return fields_of(pdu::describe(pdu));
}
json fields_of(const pdu::FromTill& pdu) {
  return fields_of(pdu::describe(pdu));
}

std::string to_hex(ByteView bytes) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string hex;
  for (const std::uint8_t byte : bytes) {
    hex.push_back(digits[byte >> 4U]);
    hex.push_back(digits[byte & 0xFU]);
  }
  return hex;
}

Bytes from_hex(const std::string& hex) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

}  // namespace tillbridge::conformance
