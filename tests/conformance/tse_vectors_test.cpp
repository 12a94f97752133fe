// Every log message of tse_vectors.json, byte for byte: read, written again, and verified.
#include <algorithm>
#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tse/evidence/keys.hpp"
#include "tse/evidence/log_message.hpp"

namespace tillbridge::conformance {
namespace {

using nlohmann::json;
using namespace tillbridge::tse;

Bytes from_hex(const std::string& hex) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}
Bytes bytes_of(const std::string& text) {
  return {text.begin(), text.end()};
}

struct Vector {
  std::string name;
  Curve curve{};
  Hash hash{};
  Bytes number, point, serial, signed_part, signature, log;
};

std::vector<Vector> load() {
  const std::map<std::string, Curve> curves = {{"secp256r1", Curve::p256},
                                               {"secp384r1", Curve::p384},
                                               {"brainpoolP256r1", Curve::brainpool_p256r1},
                                               {"brainpoolP384r1", Curve::brainpool_p384r1}};
  const std::map<std::string, Hash> hashes = {{"sha256", Hash::sha256}, {"sha384", Hash::sha384}};
  std::ifstream file(TILLBRIDGE_SOURCE_DIR "/tests/conformance/tse_vectors.json");
  std::vector<Vector> vectors;
  for (const json& item : json::parse(file)) {
    const auto bytes = [&](const char* key) { return from_hex(item.at(key)); };
    vectors.push_back({item.at("name"), curves.at(item.at("curve")), hashes.at(item.at("hash")),
                       bytes("private_hex"), bytes("point_hex"), bytes("serial_hex"),
                       bytes("signed_hex"), bytes("signature_hex"), bytes("log_hex")});
  }
  return vectors;
}

const Vector& named(const std::vector<Vector>& vectors, const std::string& name) {
  return *std::find_if(vectors.begin(), vectors.end(),
                       [&](const Vector& vector) { return vector.name == name; });
}

/// What the vectors say, written down by hand: so that reading and writing cannot be wrong in the
/// same way.
std::map<std::string, LogMessage> expected_messages() {
  const std::string sale = "Beleg^21.42_0.00_0.00_0.00_0.00^21.42:Bar";
  const auto transaction = [&](TransactionStep step, std::uint64_t number, bool empty) {
    TransactionLog log;
    log.step = step;
    log.client = "till-01";
    log.number = number;
    if (!empty) {
      log.process_data = bytes_of(sale);
      log.process_type = "Kassenbeleg-V1";
    }
    return log;
  };
  const auto message = [](auto content, std::uint64_t counter, std::uint64_t time_s) {
    LogMessage made;
    made.content = std::move(content);
    made.counter = counter;
    made.time_s = time_s;
    return made;
  };
  using enum TransactionStep;
  std::map<std::string, LogMessage> messages;
  messages["start, empty process data"] = message(transaction(start, 1, true), 7, 1767225600);
  messages["finish, P-256"] = message(transaction(finish, 128, false), 894, 1767225603);
  messages["finish, brainpoolP256r1"] = message(transaction(finish, 2, false), 9, 1767225603);
  messages["finish, brainpoolP384r1"] = message(transaction(finish, 3, false), 200, 1767225603);
  TransactionLog pieces = transaction(finish, 4, false);
  pieces.pieces = {16, 25};
  messages["finish, segmented process data (indefinite length)"] = message(pieces, 11, 1767225604);
  messages["system UpdateTime"] =
      message(SystemLog{"UpdateTime", from_hex("81046955b90082046955c710"), {}}, 12, 1767229200);
  LogMessage login =
      message(SystemLog{"AuthenticateUser", from_hex("810954696d6541646d696e8201018301ff"), {}}, 13,
              1767229200);
  login.time_format = TimeFormat::generalized_time;
  messages["system AuthenticateUser, GeneralizedTime"] = login;
  messages["audit"] = message(AuditLog{bytes_of("power up")}, 14, 1767229201);
  return messages;
}

TEST(TseVectors, AreAllThere) {
  const auto expected = expected_messages();
  const auto vectors = load();
  ASSERT_EQ(vectors.size(), 8U);
  for (const Vector& vector : vectors) EXPECT_TRUE(expected.contains(vector.name)) << vector.name;
}

TEST(TseVectors, AreWrittenByteForByte) {
  const auto vectors = load();
  for (auto [name, message] : expected_messages()) {
    const Vector& vector = named(vectors, name);
    message.hash = vector.hash;
    std::copy(vector.serial.begin(), vector.serial.end(), message.serial.begin());
    message.signature = vector.signature;
    EXPECT_EQ(signed_part(message), vector.signed_part) << name;
    EXPECT_EQ(encode(message), vector.log) << name;
  }
}

TEST(TseVectors, AreReadAndWrittenAgain) {
  for (const Vector& vector : load()) {
    const auto parsed = parse_log(vector.log);
    ASSERT_TRUE(parsed.ok()) << vector.name << ": " << parsed.error().message;
    EXPECT_EQ(parsed->signed_bytes, vector.signed_part) << vector.name;
    EXPECT_EQ(parsed->message.hash, vector.hash) << vector.name;
    EXPECT_THAT(parsed->message.serial, testing::ElementsAreArray(vector.serial)) << vector.name;
    EXPECT_EQ(encode(parsed->message), vector.log) << vector.name;
  }
}

TEST(TseVectors, HaveTheSignatureOfTheirKey) {
  for (const Vector& vector : load()) {
    const auto key = PublicKey::from_point(vector.curve, vector.point);
    ASSERT_TRUE(key.ok()) << vector.name;
    EXPECT_THAT(key->serial(), testing::ElementsAreArray(vector.serial)) << vector.name;
    EXPECT_TRUE(key->verify(vector.hash, vector.signed_part, vector.signature)) << vector.name;
    Bytes changed = vector.signed_part;
    changed.back() ^= 1U;
    EXPECT_FALSE(key->verify(vector.hash, changed, vector.signature)) << vector.name;
  }
}

TEST(TseVectors, CanBeSignedAnewWithTheirPrivateNumber) {
  for (const Vector& vector : load()) {
    const auto key = SigningKey::from_number(vector.curve, vector.number);
    ASSERT_TRUE(key.ok()) << vector.name << ": " << key.error().message;
    EXPECT_EQ(key->public_key().point(), vector.point) << vector.name;
    LogMessage message = parse_log(vector.log)->message;
    sign(message, *key);
    EXPECT_EQ(message.signature.size(), vector.signature.size()) << vector.name;
    EXPECT_TRUE(key->public_key().verify(vector.hash, vector.signed_part, message.signature))
        << vector.name;
  }
}

TEST(TseVectors, FlippedAnywhereDoNotVerify) {
  for (const Vector& vector : load()) {
    const auto key = PublicKey::from_point(vector.curve, vector.point);
    for (std::size_t at = 0; at < vector.log.size(); ++at) {
      Bytes log = vector.log;
      log[at] ^= static_cast<std::uint8_t>(1U << at % 8);
      const auto parsed = parse_log(log);
      if (!parsed) continue;
      EXPECT_FALSE(
          key->verify(parsed->message.hash, parsed->signed_bytes, parsed->message.signature) &&
          std::ranges::equal(parsed->message.serial, vector.serial))
          << vector.name << " byte " << at;
    }
  }
}

}  // namespace
}  // namespace tillbridge::conformance
