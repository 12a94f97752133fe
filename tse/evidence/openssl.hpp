// OpenSSL objects with an owner. Only for the .cpp files of this folder.
#pragma once

#include <memory>
#include <string>

#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "channel/bytes/result.hpp"
#include "tse/evidence/keys.hpp"

namespace tillbridge::tse {

template <auto Free>
struct OpensslFree {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioHandle = std::unique_ptr<BIO, OpensslFree<BIO_free>>;
using NumberHandle = std::unique_ptr<BIGNUM, OpensslFree<BN_clear_free>>;
using GroupHandle = std::unique_ptr<EC_GROUP, OpensslFree<EC_GROUP_free>>;
using PointHandle = std::unique_ptr<EC_POINT, OpensslFree<EC_POINT_free>>;
using SignatureHandle = std::unique_ptr<ECDSA_SIG, OpensslFree<ECDSA_SIG_free>>;
using KeyHandle = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using KeyContextHandle = std::unique_ptr<EVP_PKEY_CTX, OpensslFree<EVP_PKEY_CTX_free>>;
using ParametersHandle = std::unique_ptr<OSSL_PARAM, OpensslFree<OSSL_PARAM_free>>;
using ParameterBuilderHandle = std::unique_ptr<OSSL_PARAM_BLD, OpensslFree<OSSL_PARAM_BLD_free>>;
using CertificateHandle = std::unique_ptr<X509, OpensslFree<X509_free>>;
using ExtensionHandle = std::unique_ptr<X509_EXTENSION, OpensslFree<X509_EXTENSION_free>>;

/// OpenSSL's own words for the oldest error of this thread's queue, which is emptied.
[[nodiscard]] std::string openssl_error();
/// What OpenSSL calls the curve: "prime256v1", "brainpoolP256r1".
[[nodiscard]] const char* group_name(Curve curve);
[[nodiscard]] const EVP_MD* digest_of(Hash hash);
/// 04, X, Y of an EC key on one of our named curves.
[[nodiscard]] Result<PublicKey> public_key_of(const EVP_PKEY& key);

struct SigningKey::Handle {
  KeyHandle key;
};

}  // namespace tillbridge::tse
