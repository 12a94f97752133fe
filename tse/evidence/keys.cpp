#include "tse/evidence/keys.hpp"

#include <array>
#include <cassert>
#include <stdexcept>

#include <openssl/core_names.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

#include "tse/evidence/openssl.hpp"

namespace tillbridge::tse {
namespace {

struct Digest {
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> bytes{};
  unsigned int size = 0;
};

Digest digest(Hash hash, ByteView data) {
  Digest digest;
  if (EVP_Digest(data.data(), data.size(), digest.bytes.data(), &digest.size, digest_of(hash),
                 nullptr) != 1) {
    throw std::runtime_error("hashing failed: " + openssl_error());
  }
  return digest;
}

/// An EVP key of a point, and of the private number when it is there.
KeyHandle make_key(Curve curve, ByteView point, const BIGNUM* number) {
  const ParameterBuilderHandle builder(OSSL_PARAM_BLD_new());
  if (!builder ||
      OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, group_name(curve),
                                      0) != 1 ||
      OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                       point.size()) != 1 ||
      (number != nullptr &&
       OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, number) != 1)) {
    return nullptr;
  }
  const ParametersHandle parameters(OSSL_PARAM_BLD_to_param(builder.get()));
  const KeyContextHandle context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key,
                        number != nullptr ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY,
                        parameters.get()) != 1) {
    return nullptr;
  }
  return KeyHandle(key);
}

GroupHandle group_of(Curve curve) {
  return GroupHandle(EC_GROUP_new_by_curve_name(OBJ_txt2nid(group_name(curve))));
}

Error no_curve(Curve curve) {
  return fail(
      ErrorCode::unavailable,
      std::string("This machine's OpenSSL does not have the curve ") + name_of(curve) + ".");
}

Result<SigningKey> signing_key_of(KeyHandle key) {
  auto public_key = public_key_of(*key);
  if (!public_key) return public_key.error();
  auto handle = std::make_shared<SigningKey::Handle>();
  handle->key = std::move(key);
  return SigningKey(std::move(handle), std::move(public_key).value());
}

}  // namespace

std::size_t field_bytes(Curve curve) {
  switch (curve) {
    case Curve::p256:
    case Curve::brainpool_p256r1:
      return 32;
    case Curve::p384:
    case Curve::brainpool_p384r1:
      return 48;
    case Curve::brainpool_p512r1:
      return 64;
    case Curve::p521:
      return 66;
  }
  return 0;
}

const char* name_of(Curve curve) {
  switch (curve) {
    case Curve::p256:
      return "P-256";
    case Curve::p384:
      return "P-384";
    case Curve::p521:
      return "P-521";
    case Curve::brainpool_p256r1:
      return "brainpoolP256r1";
    case Curve::brainpool_p384r1:
      return "brainpoolP384r1";
    case Curve::brainpool_p512r1:
      return "brainpoolP512r1";
  }
  return "";
}

std::string algorithm_name(Hash hash) {
  const auto hash_name = [hash] {
    switch (hash) {
      case Hash::sha224:
        return "SHA224";
      case Hash::sha256:
        return "SHA256";
      case Hash::sha384:
        return "SHA384";
      case Hash::sha512:
        return "SHA512";
      case Hash::sha3_224:
        return "SHA3-224";
      case Hash::sha3_256:
        return "SHA3-256";
      case Hash::sha3_384:
        return "SHA3-384";
      case Hash::sha3_512:
        return "SHA3-512";
    }
    return "";
  };
  return std::string("ecdsa-plain-") + hash_name();
}

Hash usual_hash(Curve curve) {
  switch (field_bytes(curve)) {
    case 32:
      return Hash::sha256;
    case 48:
      return Hash::sha384;
    default:
      return Hash::sha512;
  }
}

SerialNumber serial_of_point(ByteView uncompressed_point) {
  SerialNumber serial{};
  SHA256(uncompressed_point.data(), uncompressed_point.size(), serial.data());
  return serial;
}

std::string hex_of(const SerialNumber& serial) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : serial) {
    text += digits[byte >> 4U];
    text += digits[byte & 0xfU];
  }
  return text;
}

// --- PublicKey

Result<PublicKey> PublicKey::from_point(Curve curve, ByteView uncompressed_point) {
  if (uncompressed_point.size() != 1 + 2 * field_bytes(curve) || uncompressed_point.front() != 4) {
    return fail(ErrorCode::malformed, std::string("This is no uncompressed point of ") +
                                          name_of(curve) + ": it would be 04 and " +
                                          std::to_string(2 * field_bytes(curve)) + " bytes.");
  }
  const GroupHandle group = group_of(curve);
  if (!group) return no_curve(curve);
  const PointHandle point(EC_POINT_new(group.get()));
  if (!point || EC_POINT_oct2point(group.get(), point.get(), uncompressed_point.data(),
                                   uncompressed_point.size(), nullptr) != 1) {
    (void)openssl_error();
    return fail(ErrorCode::malformed,
                std::string("The point is not on the curve ") + name_of(curve) + ".");
  }
  return PublicKey(curve, Bytes(uncompressed_point.begin(), uncompressed_point.end()));
}

bool PublicKey::verify(Hash hash, ByteView data, ByteView signature) const {
  const std::size_t size = field_bytes(curve_);
  if (signature.size() != 2 * size) return false;
  const SignatureHandle pair(ECDSA_SIG_new());
  NumberHandle r(BN_bin2bn(signature.first(size).data(), static_cast<int>(size), nullptr));
  NumberHandle s(BN_bin2bn(signature.last(size).data(), static_cast<int>(size), nullptr));
  if (!pair || !r || !s || ECDSA_SIG_set0(pair.get(), r.get(), s.get()) != 1) return false;
  (void)r.release();  // the pair has them now
  (void)s.release();
  unsigned char* der = nullptr;
  const int der_size = i2d_ECDSA_SIG(pair.get(), &der);
  const std::unique_ptr<unsigned char, decltype([](unsigned char* p) { OPENSSL_free(p); })> own(
      der);
  const KeyHandle key = make_key(curve_, point_, nullptr);
  if (der_size <= 0 || !key) return false;
  const KeyContextHandle context(EVP_PKEY_CTX_new(key.get(), nullptr));
  const Digest hashed = digest(hash, data);
  const bool good = context && EVP_PKEY_verify_init(context.get()) == 1 &&
                    EVP_PKEY_verify(context.get(), der, static_cast<std::size_t>(der_size),
                                    hashed.bytes.data(), hashed.size) == 1;
  if (!good) (void)openssl_error();
  return good;
}

// --- SigningKey

SigningKey::SigningKey(std::shared_ptr<const Handle> handle, PublicKey public_key)
    : handle_(std::move(handle)), public_key_(std::move(public_key)) {}

Result<SigningKey> SigningKey::generate(Curve curve) {
  KeyHandle key(EVP_EC_gen(group_name(curve)));
  if (!key) {
    (void)openssl_error();
    return no_curve(curve);
  }
  return signing_key_of(std::move(key));
}

Result<SigningKey> SigningKey::from_number(Curve curve, ByteView number) {
  const GroupHandle group = group_of(curve);
  if (!group) return no_curve(curve);
  const std::size_t size = field_bytes(curve);
  if (number.size() != size) {
    return fail(ErrorCode::malformed,
                "A private number of this curve is " + std::to_string(size) + " bytes long.");
  }
  const NumberHandle secret(BN_secure_new());
  const PointHandle point(EC_POINT_new(group.get()));
  if (!secret || !point ||
      BN_bin2bn(number.data(), static_cast<int>(size), secret.get()) == nullptr) {
    throw std::runtime_error("no memory for a key: " + openssl_error());
  }
  if (BN_is_zero(secret.get()) || BN_cmp(secret.get(), EC_GROUP_get0_order(group.get())) >= 0) {
    return fail(ErrorCode::malformed, "A private number is above 0 and below the curve's order.");
  }
  Bytes public_point(1 + 2 * size);
  if (EC_POINT_mul(group.get(), point.get(), secret.get(), nullptr, nullptr, nullptr) != 1 ||
      EC_POINT_point2oct(group.get(), point.get(), POINT_CONVERSION_UNCOMPRESSED,
                         public_point.data(), public_point.size(),
                         nullptr) != public_point.size()) {
    return fail(ErrorCode::io,
                "OpenSSL could not compute the public point: " + openssl_error() + ".");
  }
  KeyHandle key = make_key(curve, public_point, secret.get());
  if (!key) return fail(ErrorCode::io, "OpenSSL refused the key: " + openssl_error() + ".");
  return signing_key_of(std::move(key));
}

Result<SigningKey> SigningKey::from_pem(const std::string& pem) {
  const BioHandle bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  // An encrypted key must fail, not ask the terminal for a password.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  KeyHandle key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr) : nullptr);
  if (!key) {
    return fail(ErrorCode::malformed,
                "This is no unencrypted private key in PEM: " + openssl_error() + ".");
  }
  return signing_key_of(std::move(key));
}

std::string SigningKey::to_pem() const {
  const BioHandle bio(BIO_new(BIO_s_mem()));
  if (!bio || PEM_write_bio_PKCS8PrivateKey(bio.get(), handle_->key.get(), nullptr, nullptr, 0,
                                            nullptr, nullptr) != 1) {
    throw std::runtime_error("writing a key failed: " + openssl_error());
  }
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

Bytes SigningKey::sign(Hash hash, ByteView data) const {
  const Digest hashed = digest(hash, data);
  const KeyContextHandle context(EVP_PKEY_CTX_new(handle_->key.get(), nullptr));
  std::size_t der_size = static_cast<std::size_t>(EVP_PKEY_get_size(handle_->key.get()));
  Bytes der(der_size);
  if (!context || EVP_PKEY_sign_init(context.get()) != 1 ||
      EVP_PKEY_sign(context.get(), der.data(), &der_size, hashed.bytes.data(), hashed.size) != 1) {
    throw std::runtime_error("signing failed: " + openssl_error());
  }
  const unsigned char* at = der.data();
  const SignatureHandle pair(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der_size)));
  const std::size_t size = field_bytes(public_key_.curve());
  Bytes plain(2 * size);
  const std::span<std::uint8_t> halves(plain);
  if (!pair ||
      BN_bn2binpad(ECDSA_SIG_get0_r(pair.get()), halves.first(size).data(),
                   static_cast<int>(size)) < 0 ||
      BN_bn2binpad(ECDSA_SIG_get0_s(pair.get()), halves.last(size).data(), static_cast<int>(size)) <
          0) {
    throw std::runtime_error("signing failed: " + openssl_error());
  }
  return plain;
}

}  // namespace tillbridge::tse
