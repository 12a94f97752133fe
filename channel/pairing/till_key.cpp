#include "channel/pairing/till_key.hpp"

#include <ctime>
#include <new>
#include <span>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "channel/pairing/limits.hpp"

namespace tillbridge::pairing {
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
using CertificateHandle = std::unique_ptr<X509, Freed<X509_free>>;

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

Digest key_fingerprint(const EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  must(size > 0);
  const Digest digest = sha256(ByteView(der, static_cast<std::size_t>(size)));
  OPENSSL_free(der);
  return digest;
}

CertificateHandle read_der(ByteView der) {
  const unsigned char* position = der.data();
  return CertificateHandle(d2i_X509(nullptr, &position, static_cast<long>(der.size())));
}

Error no_certificate() {
  ERR_clear_error();
  return fail(ErrorCode::malformed, "this is no certificate");
}

Result<Time> time_of(const ASN1_TIME* time) {
  std::tm utc{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &utc) != 1) return no_certificate();
  return std::chrono::system_clock::from_time_t(::timegm(&utc));
}

}  // namespace

TillKey TillKey::make() {
  std::shared_ptr<EVP_PKEY> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  must(key != nullptr);
  return TillKey(std::move(key));
}

Result<TillKey> TillKey::from_pem(std::string_view pem) {
  ERR_clear_error();
  std::shared_ptr<EVP_PKEY> key(
      PEM_read_bio_PrivateKey(reading(pem).get(), nullptr, no_passphrase, nullptr), EVP_PKEY_free);
  ERR_clear_error();
  if (!key) return fail(ErrorCode::malformed, "this is no private key in PEM form");
  return TillKey(std::move(key));
}

std::string TillKey::pem() const {
  const BioHandle bio(BIO_new(BIO_s_mem()));
  must(bio != nullptr && PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0,
                                                       nullptr, nullptr) == 1);
  return content(bio.get());
}

Bytes TillKey::request(const std::string& name) const {
  const RequestHandle request(X509_REQ_new());
  must(request != nullptr);
  X509_NAME* subject = X509_REQ_get_subject_name(request.get());
  const std::string cut = name.substr(0, limits::till_name_bytes);
  const Bytes bytes(cut.begin(), cut.end());
  if (!bytes.empty()) {
    must(X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, bytes.data(),
                                    static_cast<int>(bytes.size()), -1, 0) == 1);
  }
  must(X509_REQ_set_version(request.get(), 0) == 1 &&
       X509_REQ_set_pubkey(request.get(), key_.get()) == 1 &&
       X509_REQ_sign(request.get(), key_.get(), EVP_sha256()) > 0);
  unsigned char* der = nullptr;
  const int size = i2d_X509_REQ(request.get(), &der);
  must(size > 0);
  const std::span<const unsigned char> view(der, static_cast<std::size_t>(size));
  Bytes result(view.begin(), view.end());
  OPENSSL_free(der);
  return result;
}

Digest TillKey::fingerprint() const {
  return key_fingerprint(key_.get());
}

Result<CertificateFacts> facts_of(ByteView der) {
  const CertificateHandle certificate = read_der(der);
  if (!certificate) return no_certificate();
  CertificateFacts facts;
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index >= 0) {
    const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index));
    const std::span<const unsigned char> bytes(ASN1_STRING_get0_data(text),
                                               static_cast<std::size_t>(ASN1_STRING_length(text)));
    facts.name.assign(bytes.begin(), bytes.end());
  }
  const EVP_PKEY* key = X509_get0_pubkey(certificate.get());
  if (key == nullptr) return no_certificate();
  facts.key = key_fingerprint(key);
  facts.fingerprint = sha256(der);
  auto from = time_of(X509_get0_notBefore(certificate.get()));
  if (!from) return from.error();
  auto to = time_of(X509_get0_notAfter(certificate.get()));
  if (!to) return to.error();
  facts.not_before = *from;
  facts.not_after = *to;
  return facts;
}

Result<CertificateFacts> facts_of_pem(std::string_view pem) {
  const CertificateHandle certificate(
      PEM_read_bio_X509(reading(pem).get(), nullptr, no_passphrase, nullptr));
  if (!certificate) return no_certificate();
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate.get(), &der);
  must(size > 0);
  auto facts = facts_of(ByteView(der, static_cast<std::size_t>(size)));
  OPENSSL_free(der);
  return facts;
}

Result<std::string> certificate_pem(ByteView der) {
  const CertificateHandle certificate = read_der(der);
  if (!certificate) return no_certificate();
  const BioHandle bio(BIO_new(BIO_s_mem()));
  must(bio != nullptr && PEM_write_bio_X509(bio.get(), certificate.get()) == 1);
  return content(bio.get());
}

Status check_issuer(ByteView der, std::string_view authorities) {
  const CertificateHandle certificate = read_der(der);
  if (!certificate) return no_certificate();
  const BioHandle bio = reading(authorities);
  while (true) {
    const CertificateHandle authority(
        PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
    if (!authority) break;
    if (X509_check_issued(authority.get(), certificate.get()) == X509_V_OK &&
        X509_verify(certificate.get(), X509_get0_pubkey(authority.get())) == 1) {
      return {};
    }
  }
  ERR_clear_error();
  return fail(ErrorCode::refused, "the certificate does not come from the server's authority");
}

}  // namespace tillbridge::pairing
