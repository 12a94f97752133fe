// OpenSSL objects with an owner, and the few questions that several files of this folder ask of
// them.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

namespace tillbridge::transport {

template <auto Free>
struct OpensslFree {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using BioHandle = std::unique_ptr<BIO, OpensslFree<BIO_free>>;
using KeyHandle = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using CertificateHandle = std::unique_ptr<X509, OpensslFree<X509_free>>;
using SslContextHandle = std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>>;
using SslHandle = std::unique_ptr<SSL, OpensslFree<SSL_free>>;

/// The common name, cut to limits::name_bytes, with '?' for what cannot be printed: it goes into
/// logs.
[[nodiscard]] std::string common_name(const X509& certificate);
/// SHA-256 of the DER form, lower-case hex.
[[nodiscard]] std::string fingerprint(const X509& certificate);
/// When it ends; the earliest moment if that cannot be read.
[[nodiscard]] std::chrono::system_clock::time_point end_of(const X509& certificate);
/// "tse.example, 192.0.2.1": the DNS names and IP addresses that the certificate is for.
[[nodiscard]] std::string alternative_names(const X509& certificate);
/// "2027-01-31 12:00:00 UTC"
[[nodiscard]] std::string printed_time(const ASN1_TIME* time);
/// OpenSSL's own words for the oldest error of this thread's queue, which is emptied.
[[nodiscard]] std::string openssl_error();

}  // namespace tillbridge::transport
