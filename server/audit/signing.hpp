// The key that signs heads and exports: Ed25519.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "channel/bytes/result.hpp"
#include "server/audit/audit_log.hpp"

struct evp_pkey_st;

namespace tillbridge::audit {

struct KeyFree {
  void operator()(evp_pkey_st* key) const;
};
using KeyPointer = std::unique_ptr<evp_pkey_st, KeyFree>;

class PublicKey {
 public:
  [[nodiscard]] static Result<PublicKey> from_pem(std::string_view pem);
  /// `signature`: 128 hex digits.
  [[nodiscard]] bool verifies(std::string_view text, std::string_view signature) const;
  [[nodiscard]] const std::string& pem() const noexcept { return pem_; }
  /// SHA-256 of its SubjectPublicKeyInfo, hex.
  [[nodiscard]] const std::string& fingerprint() const noexcept { return fingerprint_; }

 private:
  friend class SigningKey;
  [[nodiscard]] static Result<PublicKey> of(KeyPointer key);
  KeyPointer key_;
  std::string pem_, fingerprint_;
};

class SigningKey {
 public:
  [[nodiscard]] static Result<SigningKey> make();
  /// `malformed`: it is none of ours.
  [[nodiscard]] static Result<SigningKey> from_pem(std::string_view pem);
  /// For its file only.
  [[nodiscard]] Result<std::string> pem() const;
  [[nodiscard]] Result<std::string> sign(std::string_view text) const;
  [[nodiscard]] const PublicKey& public_key() const noexcept { return public_; }

 private:
  [[nodiscard]] static Result<SigningKey> of(KeyPointer key);
  KeyPointer key_;
  PublicKey public_;
};

/// What a head's signature is made over.
[[nodiscard]] std::string signed_text(const Head& head);
/// head.json, with its end-of-line.
[[nodiscard]] std::string write_head(const Head& head);
/// Exactly as write_head() writes it, whatever its signature is worth.
[[nodiscard]] std::optional<Head> parse_head(std::string_view text);

}  // namespace tillbridge::audit
