// The certificate part of keys.hpp.
#include <algorithm>
#include <array>
#include <cassert>
#include <ctime>
#include <stdexcept>
#include <string_view>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include "channel/bytes/limits.hpp"
#include "tse/evidence/calendar.hpp"
#include "tse/evidence/keys.hpp"
#include "tse/evidence/openssl.hpp"

namespace tillbridge::tse {
namespace {

// --- making

[[noreturn]] void broken(const char* what) {
  throw std::runtime_error(std::string("making a certificate failed (") + what +
                           "): " + openssl_error());
}
void must(bool done, const char* what) {
  if (!done) broken(what);
}

void set_serial_number(X509& certificate) {
  std::array<std::uint8_t, 16> random{};  // RFC 5280: positive, at most 20 bytes, hard to guess
  must(RAND_bytes(random.data(), static_cast<int>(random.size())) == 1, "random number");
  random.at(0) = static_cast<std::uint8_t>((random.at(0) & 0x7fU) | 0x40U);
  const NumberHandle number(BN_bin2bn(random.data(), static_cast<int>(random.size()), nullptr));
  must(number && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(&certificate)) != nullptr,
       "serial number");
}

void set_name(X509_NAME& name, const std::string& common_name) {
  const Bytes text(common_name.begin(), common_name.end());
  must(X509_NAME_add_entry_by_NID(&name, NID_commonName, MBSTRING_UTF8, text.data(),
                                  static_cast<int>(text.size()), -1, 0) == 1,
       "name: at most 64 characters");
}

void add_extension(X509& certificate, X509V3_CTX& context, int kind, const char* value) {
  const ExtensionHandle extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  must(extension && X509_add_ext(&certificate, extension.get(), -1) == 1, value);
}

struct Issuer {
  X509* certificate = nullptr;  ///< none: signs itself
  const SigningKey* key = nullptr;
};

CertificateHandle make_certificate(const SigningKey& key, const std::string& common_name,
                                   const char* constraints, const char* usage, const Issuer& issuer,
                                   const ChainOptions& options) {
  CertificateHandle own(X509_new());
  must(own != nullptr, "memory");
  X509& certificate = *own;
  must(X509_set_version(&certificate, X509_VERSION_3) == 1, "version");
  set_serial_number(certificate);
  set_name(*X509_get_subject_name(&certificate), common_name);
  X509* issued_by = issuer.certificate != nullptr ? issuer.certificate : &certificate;
  must(X509_set_issuer_name(&certificate, X509_get_subject_name(issued_by)) == 1, "issuer");
  must(ASN1_TIME_set(X509_getm_notBefore(&certificate), options.not_before) != nullptr &&
           ASN1_TIME_set(X509_getm_notAfter(&certificate), options.not_after) != nullptr,
       "validity");
  must(X509_set_pubkey(&certificate, key.handle().key.get()) == 1, "key");
  X509V3_CTX context;
  X509V3_set_ctx(&context, issued_by, &certificate, nullptr, nullptr, 0);
  add_extension(certificate, context, NID_basic_constraints, constraints);
  add_extension(certificate, context, NID_key_usage, usage);
  add_extension(certificate, context, NID_subject_key_identifier, "hash");
  add_extension(certificate, context, NID_authority_key_identifier, "keyid:always");
  const Curve curve = issuer.key->public_key().curve();
  must(X509_sign(&certificate, issuer.key->handle().key.get(), digest_of(usual_hash(curve))) > 0,
       "signature");
  return own;
}

Bytes der_of(const X509& certificate) {
  const int size = i2d_X509(&certificate, nullptr);
  must(size > 0, "encoding");
  Bytes der(static_cast<std::size_t>(size));
  unsigned char* at = der.data();
  i2d_X509(&certificate, &at);
  return der;
}

// --- reading

CertificateHandle read_der(ByteView der) {
  if (der.empty() || der.size() > limits::pem_file_bytes) return nullptr;
  const unsigned char* at = der.data();
  CertificateHandle certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (!certificate) {
    (void)openssl_error();
    return nullptr;
  }
  // What follows the certificate is signed by nobody.
  if (static_cast<std::size_t>(i2d_X509(certificate.get(), nullptr)) != der.size()) return nullptr;
  return certificate;
}

Error unreadable() {
  return fail(ErrorCode::malformed, "This is no X.509 certificate, or it is damaged.");
}

Result<std::int64_t> unix_time_of(const ASN1_TIME* time) {
  std::tm broken_down{};
  if (ASN1_TIME_to_tm(time, &broken_down) != 1) {
    (void)openssl_error();
    return fail(ErrorCode::malformed, "The certificate's validity cannot be read.");
  }
  const auto seconds = unix_of(
      {broken_down.tm_year + std::int64_t{1900}, static_cast<unsigned>(broken_down.tm_mon + 1),
       static_cast<unsigned>(broken_down.tm_mday), static_cast<unsigned>(broken_down.tm_hour),
       static_cast<unsigned>(broken_down.tm_min), static_cast<unsigned>(broken_down.tm_sec)});
  if (!seconds) return fail(ErrorCode::malformed, "The certificate's validity is no date.");
  return *seconds;
}

std::string subject_of(const X509& certificate) {
  const BioHandle bio(BIO_new(BIO_s_mem()));
  if (!bio) return "?";
  X509_NAME_print_ex(bio.get(), X509_get_subject_name(&certificate), 0, XN_FLAG_ONELINE);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, static_cast<std::size_t>(size)).substr(0, limits::name_bytes);
}

/// Names and extensions fit, and the signature is the issuer's.
bool is_issued_by(X509& certificate, X509& issuer) {
  const bool issued = X509_check_issued(&issuer, &certificate) == X509_V_OK &&
                      X509_check_ca(&issuer) != 0 &&
                      X509_verify(&certificate, X509_get0_pubkey(&issuer)) == 1;
  if (!issued) (void)openssl_error();
  return issued;
}

bool is_self_signed(X509& certificate) {
  return is_issued_by(certificate, certificate);
}

}  // namespace

Result<std::vector<Bytes>> make_chain(const SigningKey& key, const ChainOptions& options) {
  if (options.not_after <= options.not_before) {
    return fail(ErrorCode::config, "The certificate would end before it begins.");
  }
  constexpr std::size_t longest_common_name = 64;  // X.520
  const std::string authority = options.root_name + " CA";
  if (options.root_name.empty() || authority.size() > longest_common_name) {
    return fail(ErrorCode::config,
                "The name of the root certificate must have 1 to 61 characters.");
  }
  const auto root_key = SigningKey::generate(key.public_key().curve());
  if (!root_key) return root_key.error();
  const auto authority_key = SigningKey::generate(key.public_key().curve());
  if (!authority_key) return authority_key.error();
  const CertificateHandle root =
      make_certificate(*root_key, options.root_name, "critical,CA:TRUE,pathlen:1",
                       "critical,keyCertSign,cRLSign", {nullptr, &*root_key}, options);
  const CertificateHandle intermediate =
      make_certificate(*authority_key, authority, "critical,CA:TRUE,pathlen:0",
                       "critical,keyCertSign,cRLSign", {root.get(), &*root_key}, options);
  const CertificateHandle leaf =
      make_certificate(key, hex_of(key.public_key().serial()), "critical,CA:FALSE",
                       "critical,digitalSignature", {intermediate.get(), &*authority_key}, options);
  return std::vector<Bytes>{der_of(*leaf), der_of(*intermediate), der_of(*root)};
}

Status check_chain(const std::vector<Bytes>& leaf_to_root, std::int64_t at_unix_s) {
  if (leaf_to_root.empty()) return fail(ErrorCode::malformed, "There is no certificate.");
  if (leaf_to_root.size() > limits::tse_chain_certificates) {
    return fail(ErrorCode::limit, "The chain has more certificates than any TSE's.");
  }
  std::vector<CertificateHandle> chain;
  chain.reserve(leaf_to_root.size());
  for (const Bytes& der : leaf_to_root) {
    chain.push_back(read_der(der));
    if (!chain.back()) return unreadable();
    X509& certificate = *chain.back();
    const std::string who = "The certificate '" + subject_of(certificate) + "'";
    const auto begin = unix_time_of(X509_get0_notBefore(&certificate));
    const auto end = unix_time_of(X509_get0_notAfter(&certificate));
    if (!begin) return begin.error();
    if (!end) return end.error();
    if (at_unix_s < *begin) return fail(ErrorCode::refused, who + " was not yet valid.");
    if (at_unix_s > *end) return fail(ErrorCode::refused, who + " had expired.");
  }
  for (std::size_t i = 0; i < chain.size(); ++i) {
    X509& certificate = *chain[i];
    const bool last = i + 1 == chain.size();
    X509& issuer = last ? certificate : *chain[i + 1];
    if (!is_issued_by(certificate, issuer)) {
      return fail(ErrorCode::refused,
                  "The certificate '" + subject_of(certificate) + "' " +
                      (last ? std::string("is not a self-signed root")
                            : "was not issued by '" + subject_of(issuer) + "'") +
                      ".");
    }
    // pathlen: how many authorities may stand between it and the leaf.
    const long allowed = X509_get_pathlen(&certificate);
    if (allowed >= 0 && i > 0 && static_cast<std::size_t>(allowed) < i - 1) {
      return fail(ErrorCode::refused, "The certificate '" + subject_of(certificate) +
                                          "' does not allow a chain of this length.");
    }
  }
  return {};
}

std::vector<Bytes> find_chain(const Bytes& leaf, const std::vector<Bytes>& pool) {
  std::vector<CertificateHandle> candidates;
  candidates.reserve(pool.size());
  for (const Bytes& der : pool) candidates.push_back(read_der(der));
  std::vector<Bytes> chain = {leaf};
  CertificateHandle start = read_der(leaf);
  X509* end = start.get();
  while (end != nullptr && !is_self_signed(*end) && chain.size() < limits::tse_chain_certificates) {
    X509* issuer = nullptr;
    for (std::size_t i = 0; i < candidates.size() && issuer == nullptr; ++i) {
      const bool used = std::find(chain.begin(), chain.end(), pool[i]) != chain.end();
      if (!candidates[i] || used || !is_issued_by(*end, *candidates[i])) continue;
      issuer = candidates[i].get();
      chain.push_back(pool[i]);
    }
    end = issuer;
  }
  return chain;
}

Result<PublicKey> PublicKey::from_certificate(ByteView der) {
  const CertificateHandle certificate = read_der(der);
  if (!certificate) return unreadable();
  const EVP_PKEY* key = X509_get0_pubkey(certificate.get());
  if (key == nullptr) {
    return fail(ErrorCode::refused,
                "The certificate's key cannot be read: " + openssl_error() + ".");
  }
  return public_key_of(*key);
}

Result<std::int64_t> certificate_start(ByteView der) {
  const CertificateHandle certificate = read_der(der);
  if (!certificate) return unreadable();
  return unix_time_of(X509_get0_notBefore(certificate.get()));
}

Result<std::int64_t> certificate_end(ByteView der) {
  const CertificateHandle certificate = read_der(der);
  if (!certificate) return unreadable();
  return unix_time_of(X509_get0_notAfter(certificate.get()));
}

std::string certificate_pem(ByteView der) {
  const BioHandle bio(BIO_new(BIO_s_mem()));
  const Bytes data(der.begin(), der.end());
  if (!bio || PEM_write_bio(bio.get(), PEM_STRING_X509, "", data.data(),
                            static_cast<long>(data.size())) <= 0) {
    throw std::runtime_error("writing a certificate failed: " + openssl_error());
  }
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

Result<std::vector<Bytes>> certificates_in(ByteView pem_or_der) {
  if (pem_or_der.size() > limits::pem_file_bytes) {
    return fail(ErrorCode::limit, "The certificate file is larger than 1 MiB.");
  }
  if (read_der(pem_or_der)) return std::vector<Bytes>{Bytes(pem_or_der.begin(), pem_or_der.end())};
  const BioHandle bio(BIO_new_mem_buf(pem_or_der.data(), static_cast<int>(pem_or_der.size())));
  std::vector<Bytes> certificates;
  while (bio) {
    const CertificateHandle certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (!certificate) break;
    if (certificates.size() == limits::tse_certificates) {
      return fail(ErrorCode::limit, "The file has more certificates than any TSE's.");
    }
    certificates.push_back(der_of(*certificate));
  }
  const unsigned long reason = ERR_peek_last_error();
  (void)openssl_error();
  const bool at_end =
      ERR_GET_LIB(reason) == ERR_LIB_PEM && ERR_GET_REASON(reason) == PEM_R_NO_START_LINE;
  if (certificates.empty() || !at_end) return unreadable();
  return certificates;
}

}  // namespace tillbridge::tse
