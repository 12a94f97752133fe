// Keys, plain ECDSA signatures and certificate chains of a TSE. OpenSSL stays in the .cpp files.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::tse {

/// The curves that BSI TR-03116-5 allows.
enum class Curve : std::uint8_t {
  p256,
  p384,
  p521,
  brainpool_p256r1,
  brainpool_p384r1,
  brainpool_p512r1,
};

/// The last arc of the algorithm's OID 0.4.0.127.0.7.1.1.4.1.n (ecdsa-plain, TR-03111).
enum class Hash : std::uint8_t {
  sha224 = 2,
  sha256 = 3,
  sha384 = 4,
  sha512 = 5,
  sha3_224 = 8,
  sha3_256 = 9,
  sha3_384 = 10,
  sha3_512 = 11,
};

inline constexpr std::array<Curve, 6> all_curves = {Curve::p256,
                                                    Curve::p384,
                                                    Curve::p521,
                                                    Curve::brainpool_p256r1,
                                                    Curve::brainpool_p384r1,
                                                    Curve::brainpool_p512r1};
inline constexpr std::array<Hash, 8> all_hashes = {Hash::sha224,   Hash::sha256,   Hash::sha384,
                                                   Hash::sha512,   Hash::sha3_224, Hash::sha3_256,
                                                   Hash::sha3_384, Hash::sha3_512};

/// SHA-256 over the uncompressed point: how a TSE, and every log message, names its key.
using SerialNumber = std::array<std::uint8_t, 32>;

/// Bytes of one coordinate: 32, 48, 64 or 66. A plain signature is twice as long.
[[nodiscard]] std::size_t field_bytes(Curve curve);
/// "P-256", "brainpoolP384r1", ...
[[nodiscard]] const char* name_of(Curve curve);
/// "ecdsa-plain-SHA384": as DSFinV-K annex I writes it into a receipt's QR code.
[[nodiscard]] std::string algorithm_name(Hash hash);
/// The hash that goes with a curve's size.
[[nodiscard]] Hash usual_hash(Curve curve);
[[nodiscard]] SerialNumber serial_of_point(ByteView uncompressed_point);
/// 64 lower-case digits.
[[nodiscard]] std::string hex_of(const SerialNumber& serial);

class PublicKey {
 public:
  /// 04, X, Y. Refused when it is not on the curve. P-256 and brainpoolP256r1 points have the same
  /// length, so the curve must be known (or each be tried).
  [[nodiscard]] static Result<PublicKey> from_point(Curve curve, ByteView uncompressed_point);
  /// Of a certificate (DER) with a key on a named curve of ours.
  [[nodiscard]] static Result<PublicKey> from_certificate(ByteView der);

  [[nodiscard]] Curve curve() const { return curve_; }
  [[nodiscard]] const Bytes& point() const { return point_; }
  [[nodiscard]] SerialNumber serial() const { return serial_of_point(point_); }
  /// `signature`: r and s, each as long as the field.
  [[nodiscard]] bool verify(Hash hash, ByteView data, ByteView signature) const;

 private:
  PublicKey(Curve curve, Bytes point) : curve_(curve), point_(std::move(point)) {}
  Curve curve_;
  Bytes point_;
};

class SigningKey {
 public:
  [[nodiscard]] static Result<SigningKey> generate(Curve curve);
  /// The private number, as long as the field, big-endian.
  [[nodiscard]] static Result<SigningKey> from_number(Curve curve, ByteView number);
  /// PKCS#8, not encrypted.
  [[nodiscard]] static Result<SigningKey> from_pem(const std::string& pem);
  [[nodiscard]] std::string to_pem() const;

  [[nodiscard]] const PublicKey& public_key() const { return public_key_; }
  /// r and s, each as long as the field.
  [[nodiscard]] Bytes sign(Hash hash, ByteView data) const;

  /// For the .cpp files of this room.
  struct Handle;
  SigningKey(std::shared_ptr<const Handle> handle, PublicKey public_key);
  [[nodiscard]] const Handle& handle() const { return *handle_; }

 private:
  std::shared_ptr<const Handle> handle_;
  PublicKey public_key_;
};

struct ChainOptions {
  /// Unix time, seconds.
  std::int64_t not_before = 0, not_after = 0;
  /// Common name of the root: "tillbridge simulated TSE root". The others derive from it; the
  /// leaf's common name is the serial number in hexadecimal.
  std::string root_name = "tillbridge simulated TSE root";
};

/// A fresh certificate authority made for this key: leaf, intermediate, root, each DER. The
/// authority's own keys are thrown away.
[[nodiscard]] Result<std::vector<Bytes>> make_chain(const SigningKey& key,
                                                    const ChainOptions& options);
/// Does each certificate sign the one before it, and the last one itself? Validity is judged at
/// `at_unix_s`. The error says which certificate and why.
[[nodiscard]] Status check_chain(const std::vector<Bytes>& leaf_to_root, std::int64_t at_unix_s);
/// From the leaf to a self-signed root, out of certificates in any order. Stops where no issuer is
/// found: check_chain() then says so.
[[nodiscard]] std::vector<Bytes> find_chain(const Bytes& leaf, const std::vector<Bytes>& pool);
/// notBefore and notAfter, Unix seconds.
[[nodiscard]] Result<std::int64_t> certificate_start(ByteView der);
[[nodiscard]] Result<std::int64_t> certificate_end(ByteView der);
[[nodiscard]] std::string certificate_pem(ByteView der);
/// All certificates of a PEM text or a single DER certificate.
[[nodiscard]] Result<std::vector<Bytes>> certificates_in(ByteView pem_or_der);

}  // namespace tillbridge::tse
