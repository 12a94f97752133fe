#include "channel/pairing/proof.hpp"

#include <algorithm>
#include <new>
#include <string>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

namespace tillbridge::pairing {
namespace {

void append(Bytes& bytes, std::string_view text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
}
void append(Bytes& bytes, ByteView more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

}  // namespace

// OpenSSL fails in these few calls only when memory is gone.

Digest sha256(ByteView bytes) {
  Digest digest{};
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1)
    throw std::bad_alloc();
  return digest;
}

Digest token_key(ByteView token) {
  Bytes input;
  append(input, "tillbridge token");
  append(input, token);
  const Digest key = sha256(input);
  OPENSSL_cleanse(input.data(), input.size());
  return key;
}

Bytes token_id(const Digest& key) {
  Bytes input;
  append(input, "tillbridge token id");
  append(input, ByteView(key));
  const Digest digest = sha256(input);
  return {digest.begin(), digest.begin() + token_id_bytes};
}

Bytes proof(const Digest& key, Prover prover, ByteView binding, ByteView content) {
  Bytes input;
  append(input, prover == Prover::till ? "till" : "server");
  append(input, binding);
  append(input, content);
  Bytes result(proof_bytes);
  unsigned int size = 0;
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), input.data(), input.size(),
           result.data(), &size) == nullptr) {
    throw std::bad_alloc();
  }
  return result;
}

bool same(ByteView one, ByteView other) {
  return one.size() == other.size() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

Digest words_digest(ByteView key_fingerprint, ByteView authority_fingerprint) {
  Bytes input;
  append(input, "tillbridge words");
  append(input, key_fingerprint);
  append(input, authority_fingerprint);
  return sha256(input);
}

Bytes random_bytes(std::size_t count) {
  Bytes bytes(count);
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) throw std::bad_alloc();
  return bytes;
}

}  // namespace tillbridge::pairing
