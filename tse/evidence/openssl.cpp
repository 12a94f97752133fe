#include "tse/evidence/openssl.hpp"

#include <array>
#include <string_view>

#include <openssl/core_names.h>
#include <openssl/err.h>

namespace tillbridge::tse {

std::string openssl_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "no reason given";
  std::array<char, 256> text{};
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

const char* group_name(Curve curve) {
  switch (curve) {
    case Curve::p256:
      return "prime256v1";
    case Curve::p384:
      return "secp384r1";
    case Curve::p521:
      return "secp521r1";
    case Curve::brainpool_p256r1:
      return "brainpoolP256r1";
    case Curve::brainpool_p384r1:
      return "brainpoolP384r1";
    case Curve::brainpool_p512r1:
      return "brainpoolP512r1";
  }
  return "";
}

const EVP_MD* digest_of(Hash hash) {
  switch (hash) {
    case Hash::sha224:
      return EVP_sha224();
    case Hash::sha256:
      return EVP_sha256();
    case Hash::sha384:
      return EVP_sha384();
    case Hash::sha512:
      return EVP_sha512();
    case Hash::sha3_224:
      return EVP_sha3_224();
    case Hash::sha3_256:
      return EVP_sha3_256();
    case Hash::sha3_384:
      return EVP_sha3_384();
    case Hash::sha3_512:
      return EVP_sha3_512();
  }
  return nullptr;
}

Result<PublicKey> public_key_of(const EVP_PKEY& key) {
  std::array<char, 64> name{};
  std::size_t length = 0;
  if (EVP_PKEY_is_a(&key, "EC") != 1 ||
      EVP_PKEY_get_utf8_string_param(&key, OSSL_PKEY_PARAM_GROUP_NAME, name.data(), name.size(),
                                     &length) != 1) {
    return fail(ErrorCode::refused, "The key is not an elliptic-curve key on a named curve.");
  }
  for (const Curve curve : all_curves) {
    if (std::string_view(name.data()) != group_name(curve)) continue;
    BIGNUM* x = nullptr;
    BIGNUM* y = nullptr;
    EVP_PKEY_get_bn_param(&key, OSSL_PKEY_PARAM_EC_PUB_X, &x);
    EVP_PKEY_get_bn_param(&key, OSSL_PKEY_PARAM_EC_PUB_Y, &y);
    const NumberHandle own_x(x);
    const NumberHandle own_y(y);
    const std::size_t size = field_bytes(curve);
    Bytes point(1 + 2 * size);
    point[0] = 4;
    const std::span<std::uint8_t> coordinates = std::span(point).subspan(1);
    if (!own_x || !own_y ||
        BN_bn2binpad(own_x.get(), coordinates.first(size).data(), static_cast<int>(size)) < 0 ||
        BN_bn2binpad(own_y.get(), coordinates.last(size).data(), static_cast<int>(size)) < 0) {
      return fail(ErrorCode::refused, "The key's point cannot be read: " + openssl_error() + ".");
    }
    return PublicKey::from_point(curve, point);
  }
  return fail(ErrorCode::refused, "The key is on the curve " + std::string(name.data()) +
                                      ", which TR-03116-5 does not allow for a TSE.");
}

}  // namespace tillbridge::tse
