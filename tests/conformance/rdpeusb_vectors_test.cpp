// Every vector of rdpeusb_vectors.json decodes to its fields and encodes back to its bytes; nothing
// shorter passes for it.
#include <algorithm>
#include <fstream>
#include <map>
#include <memory>

#include <gtest/gtest.h>

#include "tests/conformance/rdpeusb_fields.hpp"

namespace tillbridge::conformance {
namespace {

namespace pdu = rdpeusb::pdu;
using nlohmann::json;

struct Vector {
  std::string name;
  bool from_server = false;
  std::string interface;
  Bytes bytes;
  json fields;
  json context;
};

const std::map<std::string, Vector>& vectors() {
  static const std::map<std::string, Vector> loaded = [] {
    std::ifstream file(TILLBRIDGE_SOURCE_DIR "/tests/conformance/rdpeusb_vectors.json");
    std::map<std::string, Vector> result;
    for (const json& entry : json::parse(file)) {
      const std::string name = entry.at("name");
      result[name] = Vector{name,
                            entry.at("direction") == "server_to_client",
                            entry.at("interface"),
                            from_hex(entry.at("hex")),
                            entry.at("fields"),
                            entry.value("context", json::object())};
    }
    return result;
  }();
  return loaded;
}

/// What the vector's receiver would know when it comes in.
pdu::TillContext till_context(const Vector& vector) {
  pdu::TillContext context;
  if (vector.interface == "usb_device") context.usb_device = vector.fields.at("InterfaceId");
  return context;
}

pdu::TerminalContext terminal_context(const Vector& vector) {
  pdu::TerminalContext context;
  const std::string response_to = vector.context.value("response_to", "");
  const pdu::Address address{vector.fields.at("InterfaceId"), vector.fields.at("MessageId")};
  context.capability_outstanding = response_to == "RIM_EXCHANGE_CAPABILITY_REQUEST";
  if (response_to == "QUERY_DEVICE_TEXT") context.text_query = address;
  if (response_to == "RIMCALL_QUERYINTERFACE") context.interface_query = address;
  if (vector.interface == "request_completion") {
    context.request_completion = address.interface;
    const json& asked = vectors().at(vector.context.at("answers")).fields;
    pdu::OutstandingRequest outstanding;
    outstanding.output_buffer_size = asked.at("OutputBufferSize");
    outstanding.io_control = asked.contains("IoControlCode");
    if (!outstanding.io_control) outstanding.function = asked.at("TsUrb").at("URB_Function");
    const std::uint32_t id = vector.fields.at("RequestId");
    context.outstanding = [id, outstanding](std::uint32_t request) {
      return request == id ? std::optional(outstanding) : std::nullopt;
    };
  }
  return context;
}

struct Encoder {
  pdu::Sender sender;

  template <typename T>
  Bytes operator()(const T& value) const {
    return pdu::encode(value);
  }
  Bytes operator()(const pdu::ChannelCreated& value) const { return pdu::encode(value, sender); }
  Bytes operator()(const pdu::BadRequest& /*outcome*/) const { return {}; }
  Bytes operator()(const pdu::UnknownFunction& /*outcome*/) const { return {}; }
  Bytes operator()(const pdu::Ignored& /*outcome*/) const { return {}; }
};

class RdpeusbVector : public testing::TestWithParam<std::string> {};

TEST_P(RdpeusbVector, DecodesToItsFieldsAndEncodesBack) {
  const Vector& vector = vectors().at(GetParam());
  if (vector.from_server) {
    const auto decoded = pdu::decode_from_server(vector.bytes, till_context(vector));
    ASSERT_TRUE(decoded.ok()) << decoded.error().message;
    EXPECT_EQ(fields_of(*decoded), vector.fields);
    EXPECT_EQ(to_hex(std::visit(Encoder{pdu::Sender::server}, *decoded)), to_hex(vector.bytes));
  } else {
    const auto decoded = pdu::decode_from_till(vector.bytes, terminal_context(vector));
    ASSERT_TRUE(decoded.ok()) << decoded.error().message;
    EXPECT_EQ(fields_of(*decoded), vector.fields);
    EXPECT_EQ(to_hex(std::visit(Encoder{pdu::Sender::till}, *decoded)), to_hex(vector.bytes));
  }
}

/// Whether a changed message still passes for the PDU of the vector (index) or any other.
std::optional<std::size_t> passes_as(const Vector& vector, ByteView bytes) {
  // A buffer of its own for each, so that a read past the end is seen by the sanitizer.
  const auto copy = std::make_unique<std::uint8_t[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.get());
  const ByteView view(copy.get(), bytes.size());
  if (vector.from_server) {
    const auto decoded = pdu::decode_from_server(view, till_context(vector));
    if (!decoded.ok() || fields_of(*decoded).is_null()) return std::nullopt;
    return decoded->index();
  }
  const auto decoded = pdu::decode_from_till(view, terminal_context(vector));
  if (!decoded.ok() || fields_of(*decoded).is_null()) return std::nullopt;
  return decoded->index();
}

TEST_P(RdpeusbVector, NoProperPrefixPasses) {
  const Vector& vector = vectors().at(GetParam());
  for (std::size_t size = 0; size < vector.bytes.size(); ++size) {
    const auto passed = passes_as(vector, ByteView(vector.bytes).first(size));
    if (vector.context.value("response_to", "") == "QUERY_DEVICE_TEXT" && size == 8) {
      // The first 8 bytes of the response are, byte for byte, the reply "function not supported".
      EXPECT_EQ(passed, pdu::FromTill(pdu::QueryInterfaceResponse{}).index());
      continue;
    }
    EXPECT_EQ(passed, std::nullopt) << "cut to " << size << " bytes";
  }
}

TEST_P(RdpeusbVector, TrailingByteIsRefused) {
  const Vector& vector = vectors().at(GetParam());
  Bytes longer = vector.bytes;
  longer.push_back(0);
  EXPECT_EQ(passes_as(vector, longer), std::nullopt);
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& [name, vector] : vectors()) all.push_back(name);
  return all;
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '.', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Vectors, RdpeusbVector, testing::ValuesIn(names()), test_name);

TEST(RdpeusbVectors, AreAllThere) {
  EXPECT_EQ(vectors().size(), 76U);
}

}  // namespace
}  // namespace tillbridge::conformance
