// What the authority does with OpenSSL: keys, requests and certificates as values.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "channel/pairing/proof.hpp"
#include "server/store/rows.hpp"

struct evp_pkey_st;
struct x509_st;

namespace tillbridge::authority {

using store::Time;
using Key = std::shared_ptr<evp_pkey_st>;
using Certificate = std::shared_ptr<x509_st>;

[[nodiscard]] Key new_key();  ///< on P-256
[[nodiscard]] Result<Key> key_from_pem(std::string_view pem);
[[nodiscard]] std::string pem_of(const Key& key);
[[nodiscard]] Result<Certificate> certificate_from_pem(std::string_view pem);
[[nodiscard]] std::string pem_of(const Certificate& certificate);
[[nodiscard]] Bytes der_of(const Certificate& certificate);
[[nodiscard]] bool belongs(const Certificate& certificate, const Key& key);
/// DNS names and IP addresses that it is for, sorted.
[[nodiscard]] std::vector<std::string> names_of(const Certificate& certificate);
[[nodiscard]] std::string serial_of(const Certificate& certificate);  ///< lower-case hex
[[nodiscard]] bool is_address(const std::string& name);

/// A request whose signature proves that its sender has the key.
struct Request {
  Key key;  ///< the public half
  pairing::Digest fingerprint{};
  Bytes der;
};
/// Errors: `malformed`, `refused` (a key that is too weak or of a kind that tills do not make).
[[nodiscard]] Result<Request> parse_request(ByteView der);

struct Wish {
  std::string common_name;
  enum class Use : std::uint8_t { authority, server, till } use = Use::till;
  std::vector<std::string> names;  ///< of a server
  Time not_before, not_after;
};
/// Signed by `issuer`; without one by its own key.
[[nodiscard]] Result<Certificate> make_certificate(const Wish& wish, const Key& subject,
                                                   const Certificate& issuer,
                                                   const Key& issuer_key);

}  // namespace tillbridge::authority
