#include "tse/evidence/keys.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tse/evidence/base64.hpp"

namespace tillbridge::tse {
namespace {

using testing::HasSubstr;

constexpr std::int64_t start_of_2026 = 1767225600, year_s = 365 * 86400;
constexpr std::int64_t middle_of_2026 = start_of_2026 + year_s / 2;

Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

std::vector<Bytes> chain_of(const SigningKey& key) {
  return make_chain(key, {start_of_2026, start_of_2026 + year_s, "tillbridge test root"}).value();
}

TEST(Keys, SignOnEveryCurveWithEveryHash) {
  const Bytes data = bytes_of("21.42 EUR");
  for (const Curve curve : all_curves) {
    const auto key = SigningKey::generate(curve);
    ASSERT_TRUE(key.ok()) << name_of(curve) << ": " << key.error().message;
    EXPECT_EQ(key->public_key().point().size(), 1 + 2 * field_bytes(curve));
    for (const Hash hash : all_hashes) {
      const Bytes signature = key->sign(hash, data);
      const std::string what = std::string(name_of(curve)) + " " + algorithm_name(hash);
      EXPECT_EQ(signature.size(), 2 * field_bytes(curve)) << what;
      EXPECT_TRUE(key->public_key().verify(hash, data, signature)) << what;
      EXPECT_FALSE(key->public_key().verify(hash, bytes_of("21.43 EUR"), signature)) << what;
      const Hash other = hash == Hash::sha256 ? Hash::sha3_256 : Hash::sha256;
      EXPECT_FALSE(key->public_key().verify(other, data, signature)) << what;
    }
  }
}

TEST(Keys, RefuseSignaturesThatAreNoPairOfNumbers) {
  const auto key = SigningKey::generate(Curve::p256).value();
  const Bytes data = bytes_of("data");
  Bytes signature = key.sign(Hash::sha256, data);
  EXPECT_FALSE(key.public_key().verify(Hash::sha256, data, {}));
  EXPECT_FALSE(key.public_key().verify(Hash::sha256, data, Bytes(64, 0)));
  EXPECT_FALSE(key.public_key().verify(Hash::sha256, data, Bytes(64, 0xff)));
  signature.pop_back();
  EXPECT_FALSE(key.public_key().verify(Hash::sha256, data, signature));
}

TEST(Keys, ComeBackFromTheirFile) {
  for (const Curve curve : all_curves) {
    const auto key = SigningKey::generate(curve).value();
    EXPECT_THAT(key.to_pem(), HasSubstr("-----BEGIN PRIVATE KEY-----"));
    const auto again = SigningKey::from_pem(key.to_pem());
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(again->public_key().point(), key.public_key().point());
    EXPECT_EQ(again->public_key().curve(), curve);
  }
  EXPECT_FALSE(SigningKey::from_pem("").ok());
  EXPECT_FALSE(
      SigningKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").ok());
}

TEST(Keys, RefusePointsOffTheCurve) {
  const auto key = SigningKey::generate(Curve::p384).value();
  Bytes point = key.public_key().point();
  EXPECT_TRUE(PublicKey::from_point(Curve::p384, point).ok());
  EXPECT_FALSE(PublicKey::from_point(Curve::brainpool_p384r1, point).ok());
  point.back() ^= 1U;
  EXPECT_FALSE(PublicKey::from_point(Curve::p384, point).ok());
  EXPECT_FALSE(PublicKey::from_point(Curve::p384, {}).ok());
  EXPECT_FALSE(PublicKey::from_point(Curve::p256, Bytes(65, 4)).ok());
}

TEST(Keys, RefusePrivateNumbersOutsideTheCurvesOrder) {
  EXPECT_FALSE(SigningKey::from_number(Curve::p256, Bytes(32, 0)).ok());
  EXPECT_FALSE(SigningKey::from_number(Curve::p256, Bytes(32, 0xff)).ok());
  EXPECT_FALSE(SigningKey::from_number(Curve::p256, Bytes(31, 1)).ok());
  EXPECT_TRUE(SigningKey::from_number(Curve::p256, Bytes(32, 1)).ok());
}

TEST(Chain, LeadsFromTheKeyToARoot) {
  for (const Curve curve : all_curves) {
    const auto key = SigningKey::generate(curve).value();
    const auto chain = chain_of(key);
    ASSERT_EQ(chain.size(), 3U);
    EXPECT_TRUE(check_chain(chain, middle_of_2026).ok()) << name_of(curve);
    const auto leaf_key = PublicKey::from_certificate(chain[0]);
    ASSERT_TRUE(leaf_key.ok()) << leaf_key.error().message;
    EXPECT_EQ(leaf_key->point(), key.public_key().point());
    EXPECT_EQ(certificate_start(chain[0]).value(), start_of_2026);
    EXPECT_EQ(certificate_end(chain[0]).value(), start_of_2026 + year_s);
  }
}

TEST(Chain, IsFoundInAnyOrder) {
  const auto chain = chain_of(SigningKey::generate(Curve::p256).value());
  const auto foreign = chain_of(SigningKey::generate(Curve::p256).value());
  EXPECT_EQ(find_chain(chain[0], {chain[2], foreign[1], foreign[2], chain[0], chain[1]}), chain);
  EXPECT_EQ(find_chain(chain[0], {chain[2], foreign[1]}), std::vector<Bytes>{chain[0]});
}

TEST(Chain, SaysWhichCertificateIsWrong) {
  const auto key = SigningKey::generate(Curve::p256).value();
  const auto chain = chain_of(key);
  const auto foreign = chain_of(key);  // same key, same names, another authority
  const auto message = [](const std::vector<Bytes>& certificates, std::int64_t at) {
    const auto status = check_chain(certificates, at);
    return status ? std::string("good") : status.error().message;
  };
  EXPECT_THAT(message(chain, start_of_2026 - 1), HasSubstr("not yet valid"));
  EXPECT_THAT(message(chain, start_of_2026 + year_s + 1), HasSubstr("expired"));
  EXPECT_THAT(message({chain[0], chain[2]}, middle_of_2026), HasSubstr("was not issued by"));
  EXPECT_THAT(message({chain[0], chain[1]}, middle_of_2026),
              HasSubstr("test root CA' is not a self-signed"));
  EXPECT_THAT(message({chain[0], foreign[1], foreign[2]}, middle_of_2026),
              HasSubstr("was not issued by"));
  EXPECT_THAT(message({chain[0], chain[1], foreign[2]}, middle_of_2026),
              HasSubstr("was not issued by"));
  EXPECT_THAT(message({chain[2], chain[1], chain[0]}, middle_of_2026),
              HasSubstr("was not issued by"));
  EXPECT_THAT(message({}, middle_of_2026), HasSubstr("no certificate"));
  EXPECT_THAT(message({Bytes(100, 0x30)}, middle_of_2026), HasSubstr("no X.509 certificate"));
}

TEST(Certificates, AreReadFromDerAndPem) {
  const auto chain = chain_of(SigningKey::generate(Curve::brainpool_p256r1).value());
  EXPECT_EQ(certificates_in(chain[0]).value(), std::vector<Bytes>{chain[0]});
  std::string pem = "a line before\n";
  for (const Bytes& der : chain) pem += certificate_pem(der);
  EXPECT_EQ(certificates_in(bytes_of(pem)).value(), chain);
  EXPECT_FALSE(certificates_in({}).ok());
  EXPECT_FALSE(certificates_in(bytes_of("no certificate")).ok());
  Bytes longer = chain[0];
  longer.push_back(0);
  EXPECT_FALSE(certificates_in(longer).ok());
  pem[pem.size() / 2] = '!';  // in the second certificate: the first alone would not do
  EXPECT_FALSE(certificates_in(bytes_of(pem)).ok());
}

TEST(Base64, IsRfc4648) {
  const std::vector<std::pair<std::string, std::string>> pairs = {{"", ""},
                                                                  {"f", "Zg=="},
                                                                  {"fo", "Zm8="},
                                                                  {"foo", "Zm9v"},
                                                                  {"foob", "Zm9vYg=="},
                                                                  {"fooba", "Zm9vYmE="},
                                                                  {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, text] : pairs) {
    EXPECT_EQ(base64_of(bytes_of(plain)), text);
    EXPECT_EQ(from_base64(text).value(), bytes_of(plain));
  }
  for (const char* bad :
       {"Z", "Zg", "Zg=", "Zg= ", "Zh==", "Zm9=", "Z===", "====", "Zm9v\n", "Zm_v", "Zg==Zg=="}) {
    EXPECT_FALSE(from_base64(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace tillbridge::tse
