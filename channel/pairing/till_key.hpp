// A till's key and certificate as values. The key is made on the till and never leaves it: nothing
// here puts it anywhere but into the till's own file.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "channel/pairing/proof.hpp"

struct evp_pkey_st;

namespace tillbridge::pairing {

/// A private key on P-256.
class TillKey {
 public:
  [[nodiscard]] static TillKey make();
  [[nodiscard]] static Result<TillKey> from_pem(std::string_view pem);

  /// PKCS#8, without a passphrase: a secret.
  [[nodiscard]] std::string pem() const;
  /// PKCS#10, DER, with this common name, signed.
  [[nodiscard]] Bytes request(const std::string& name) const;
  /// SHA-256 of the public key (SubjectPublicKeyInfo).
  [[nodiscard]] Digest fingerprint() const;

 private:
  explicit TillKey(std::shared_ptr<evp_pkey_st> key) : key_(std::move(key)) {}
  std::shared_ptr<evp_pkey_st> key_;
};

using Time = std::chrono::system_clock::time_point;

/// What a till knows of a certificate.
struct CertificateFacts {
  std::string name;  ///< common name
  Digest key{};      ///< SHA-256 of its public key
  Digest fingerprint{};
  Time not_before, not_after;
  /// Two thirds of its life are over then.
  [[nodiscard]] Time renew_at() const { return not_before + (not_after - not_before) / 3 * 2; }
};
[[nodiscard]] Result<CertificateFacts> facts_of(ByteView der);
/// Of the first certificate in a PEM text.
[[nodiscard]] Result<CertificateFacts> facts_of_pem(std::string_view pem);
/// -----BEGIN CERTIFICATE-----
[[nodiscard]] Result<std::string> certificate_pem(ByteView der);
/// `der` comes from one of the authorities in this PEM text. Its dates are not looked at.
[[nodiscard]] Status check_issuer(ByteView der, std::string_view authorities);

}  // namespace tillbridge::pairing
