#include "server/authority/certificates.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <new>
#include <span>

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace tillbridge::authority {
namespace {

template <auto Free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioHandle = std::unique_ptr<BIO, Freed<BIO_free>>;
using RequestHandle = std::unique_ptr<X509_REQ, Freed<X509_REQ_free>>;
using ExtensionHandle = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION_free>>;
using NumberHandle = std::unique_ptr<BIGNUM, Freed<BN_free>>;
using NamesHandle = std::unique_ptr<GENERAL_NAMES, Freed<GENERAL_NAMES_free>>;

constexpr int rsa_bits_least = 2048;

/// For what fails only when memory is gone.
void must(bool done) {
  if (!done) throw std::bad_alloc();
}

BioHandle reading(std::string_view text) {
  BioHandle bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  must(bio != nullptr);
  return bio;
}

std::string content(BIO* bio) {
  const BUF_MEM* memory = nullptr;
  BIO_ctrl(bio, BIO_C_GET_BUF_MEM_PTR, 0, &memory);
  return {memory->data, memory->length};
}

int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) {
  return -1;
}

std::string openssl_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

Bytes address_bytes(const std::string& name) {
  Bytes bytes(sizeof(in6_addr));
  if (::inet_pton(AF_INET, name.c_str(), bytes.data()) == 1) {
    bytes.resize(sizeof(in_addr));
    return bytes;
  }
  if (::inet_pton(AF_INET6, name.c_str(), bytes.data()) == 1) return bytes;
  return {};
}

std::string address_text(std::span<const unsigned char> bytes) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = bytes.size() == sizeof(in_addr) ? AF_INET : AF_INET6;
  if (bytes.size() != sizeof(in_addr) && bytes.size() != sizeof(in6_addr)) return "?";
  ::inet_ntop(family, bytes.data(), text.data(), text.size());
  return text.data();
}

void set_time(ASN1_TIME* field, Time time) {
  must(ASN1_TIME_set(field, std::chrono::system_clock::to_time_t(time)) != nullptr);
}

class Builder {
 public:
  Builder() : certificate_(X509_new(), X509_free) { must(certificate_ != nullptr); }

  X509* get() { return certificate_.get(); }
  void extend(X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context{};
    X509V3_set_ctx(&context, issuer == nullptr ? get() : issuer, get(), nullptr, nullptr, 0);
    const ExtensionHandle extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    must(extension != nullptr && X509_add_ext(get(), extension.get(), -1) == 1);
  }
  /// Not through OpenSSL's little language: a name must not be able to say anything in it.
  void name(const std::vector<std::string>& names) {
    const NamesHandle list(sk_GENERAL_NAME_new_null());
    must(list != nullptr);
    for (const std::string& text : names) {
      GENERAL_NAME* entry = GENERAL_NAME_new();
      must(entry != nullptr);
      if (const Bytes address = address_bytes(text); !address.empty()) {
        ASN1_OCTET_STRING* value = ASN1_OCTET_STRING_new();
        must(value != nullptr &&
             ASN1_OCTET_STRING_set(value, address.data(), static_cast<int>(address.size())) == 1);
        GENERAL_NAME_set0_value(entry, GEN_IPADD, value);
      } else {
        ASN1_IA5STRING* value = ASN1_IA5STRING_new();
        must(value != nullptr &&
             ASN1_STRING_set(value, text.data(), static_cast<int>(text.size())) == 1);
        GENERAL_NAME_set0_value(entry, GEN_DNS, value);
      }
      must(sk_GENERAL_NAME_push(list.get(), entry) > 0);
    }
    must(X509_add1_ext_i2d(get(), NID_subject_alt_name, list.get(), 0, X509V3_ADD_DEFAULT) == 1);
  }
  Certificate done() { return certificate_; }

 private:
  Certificate certificate_;
};

void set_serial(X509* certificate) {
  constexpr int bits = 126;  // positive, and not longer than 16 bytes
  const NumberHandle number(BN_new());
  must(number != nullptr && BN_rand(number.get(), bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
       BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr);
}

void set_subject(X509* certificate, const std::string& common_name) {
  const Bytes name(common_name.begin(), common_name.end());
  must(X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate), NID_commonName, MBSTRING_UTF8,
                                  name.data(), static_cast<int>(name.size()), -1, 0) == 1);
}

}  // namespace

Key new_key() {
  Key key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  must(key != nullptr);
  return key;
}

Result<Key> key_from_pem(std::string_view pem) {
  ERR_clear_error();
  Key key(PEM_read_bio_PrivateKey(reading(pem).get(), nullptr, no_passphrase, nullptr),
          EVP_PKEY_free);
  if (!key) {
    return fail(ErrorCode::malformed, "it holds no private key in PEM form: " + openssl_error());
  }
  return key;
}

std::string pem_of(const Key& key) {
  const BioHandle bio(BIO_new(BIO_s_mem()));
  must(bio != nullptr && PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), nullptr, nullptr, 0,
                                                       nullptr, nullptr) == 1);
  return content(bio.get());
}

Result<Certificate> certificate_from_pem(std::string_view pem) {
  ERR_clear_error();
  Certificate certificate(PEM_read_bio_X509(reading(pem).get(), nullptr, no_passphrase, nullptr),
                          X509_free);
  if (!certificate) {
    return fail(ErrorCode::malformed, "it holds no certificate in PEM form: " + openssl_error());
  }
  return certificate;
}

std::string pem_of(const Certificate& certificate) {
  const BioHandle bio(BIO_new(BIO_s_mem()));
  must(bio != nullptr && PEM_write_bio_X509(bio.get(), certificate.get()) == 1);
  return content(bio.get());
}

Bytes der_of(const Certificate& certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate.get(), &der);
  must(size > 0);
  const std::span<const unsigned char> view(der, static_cast<std::size_t>(size));
  Bytes bytes(view.begin(), view.end());
  OPENSSL_free(der);
  return bytes;
}

bool belongs(const Certificate& certificate, const Key& key) {
  const bool same = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  return same;
}

std::vector<std::string> names_of(const Certificate& certificate) {
  std::vector<std::string> names;
  const NamesHandle list(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; list && i < sk_GENERAL_NAME_num(list.get()); ++i) {
    int type = 0;
    const auto* value = static_cast<const ASN1_STRING*>(
        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(list.get(), i), &type));
    const std::span<const unsigned char> bytes(ASN1_STRING_get0_data(value),
                                               static_cast<std::size_t>(ASN1_STRING_length(value)));
    if (type == GEN_DNS) names.emplace_back(bytes.begin(), bytes.end());
    if (type == GEN_IPADD) names.push_back(address_text(bytes));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string serial_of(const Certificate& certificate) {
  const NumberHandle number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate.get()), nullptr));
  must(number != nullptr);
  char* hex = BN_bn2hex(number.get());
  must(hex != nullptr);
  std::string text = hex;
  OPENSSL_free(hex);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
  return text;
}

bool is_address(const std::string& name) {
  return !address_bytes(name).empty();
}

Result<Request> parse_request(ByteView der) {
  ERR_clear_error();
  const unsigned char* position = der.data();
  const RequestHandle request(d2i_X509_REQ(nullptr, &position, static_cast<long>(der.size())));
  if (!request || position != std::to_address(der.end())) {
    ERR_clear_error();
    return fail(ErrorCode::malformed, "this is no certificate request");
  }
  Key key(X509_REQ_get_pubkey(request.get()), EVP_PKEY_free);
  const int kind = key ? EVP_PKEY_get_base_id(key.get()) : EVP_PKEY_NONE;
  const bool strong = (kind == EVP_PKEY_RSA && EVP_PKEY_get_bits(key.get()) >= rsa_bits_least) ||
                      (kind == EVP_PKEY_EC && EVP_PKEY_get_bits(key.get()) >= 256) ||
                      kind == EVP_PKEY_ED25519;
  if (!strong) {
    ERR_clear_error();
    return fail(ErrorCode::refused,
                "the till's key is of a kind that is not accepted; use one on P-256, Ed25519, or "
                "RSA with at least 2048 bits");
  }
  if (X509_REQ_verify(request.get(), key.get()) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::malformed, "the request is not signed with its own key");
  }
  unsigned char* encoded = nullptr;
  const int size = i2d_PUBKEY(key.get(), &encoded);
  must(size > 0);
  Request result{std::move(key),
                 pairing::sha256(ByteView(encoded, static_cast<std::size_t>(size))),
                 {der.begin(), der.end()}};
  OPENSSL_free(encoded);
  return result;
}

Result<Certificate> make_certificate(const Wish& wish, const Key& subject,
                                     const Certificate& issuer, const Key& issuer_key) {
  ERR_clear_error();
  Builder builder;
  X509* made = builder.get();
  must(X509_set_version(made, 2) == 1);
  set_serial(made);
  set_time(X509_getm_notBefore(made), wish.not_before);
  set_time(X509_getm_notAfter(made), wish.not_after);
  set_subject(made, wish.common_name);
  must(X509_set_issuer_name(made, X509_get_subject_name(issuer ? issuer.get() : made)) == 1 &&
       X509_set_pubkey(made, subject.get()) == 1);
  const bool authority = wish.use == Wish::Use::authority;
  builder.extend(issuer.get(), NID_basic_constraints,
                 authority ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE");
  builder.extend(issuer.get(), NID_key_usage,
                 authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
  if (!authority) {
    builder.extend(issuer.get(), NID_ext_key_usage,
                   wish.use == Wish::Use::server ? "serverAuth" : "clientAuth");
  }
  builder.extend(issuer.get(), NID_subject_key_identifier, "hash");
  if (issuer) builder.extend(issuer.get(), NID_authority_key_identifier, "keyid");
  if (!wish.names.empty()) builder.name(wish.names);
  if (X509_sign(made, issuer_key.get(), EVP_sha256()) <= 0) {
    return fail(ErrorCode::io, "OpenSSL cannot sign a certificate: " + openssl_error());
  }
  return builder.done();
}

}  // namespace tillbridge::authority
