#include "server/audit/signing.hpp"

#include <array>
#include <vector>

#include <nlohmann/json.hpp>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "server/audit/line.hpp"

namespace tillbridge::audit {

namespace {

constexpr std::size_t signature_bytes = 64;

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using BioPointer = std::unique_ptr<BIO, BioFree>;
struct ContextFree {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using ContextPointer = std::unique_ptr<EVP_MD_CTX, ContextFree>;

BioPointer reading(std::string_view text) {
  return BioPointer(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string content(BIO* bio) {
  char* start = nullptr;
  const long size = BIO_get_mem_data(bio, &start);
  return {start, static_cast<std::size_t>(size)};
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// A key file has no pass phrase; without this OpenSSL would ask the terminal for one.
int no_pass_phrase(char*, int, int, void*) {
  return -1;
}

}  // namespace

void KeyFree::operator()(evp_pkey_st* key) const {
  EVP_PKEY_free(key);
}

Result<PublicKey> PublicKey::of(KeyPointer key) {
  PublicKey made;
  const BioPointer bio(BIO_new(BIO_s_mem()));
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key.get(), &der);
  if (size <= 0 || PEM_write_bio_PUBKEY(bio.get(), key.get()) != 1) {
    OPENSSL_free(der);
    return fail(ErrorCode::io, "The audit log's public key cannot be written.");
  }
  made.fingerprint_ = sha256({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  made.pem_ = content(bio.get());
  made.key_ = std::move(key);
  return made;
}

Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
  const BioPointer bio = reading(pem);
  KeyPointer key(PEM_read_bio_PUBKEY(bio.get(), nullptr, no_pass_phrase, nullptr));
  if (!key || EVP_PKEY_get_id(key.get()) != EVP_PKEY_ED25519) {
    return fail(ErrorCode::malformed,
                "The audit log's public key is none (expected: the content of "
                "audit.pub, an Ed25519 key in PEM).");
  }
  return of(std::move(key));
}

bool PublicKey::verifies(std::string_view text, std::string_view signature) const {
  if (!is_hex(signature, 2 * signature_bytes)) return false;
  std::array<unsigned char, signature_bytes> raw{};
  for (std::size_t i = 0; i < raw.size(); ++i) {
    raw.at(i) = static_cast<unsigned char>(
        std::stoul(std::string(signature.substr(2 * i, 2)), nullptr, 16));
  }
  const ContextPointer context(EVP_MD_CTX_new());
  return EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key_.get()) == 1 &&
         EVP_DigestVerify(context.get(), raw.data(), raw.size(), bytes_of(text), text.size()) == 1;
}

Result<SigningKey> SigningKey::of(KeyPointer key) {
  // A second one of the same key, for the half that is shown around.
  EVP_PKEY_up_ref(key.get());
  auto shown = PublicKey::of(KeyPointer(key.get()));
  if (!shown) return shown.error();
  SigningKey made;
  made.public_ = std::move(*shown);
  made.key_ = std::move(key);
  return made;
}

Result<SigningKey> SigningKey::make() {
  KeyPointer key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  if (!key) return fail(ErrorCode::io, "A key for the audit log cannot be made.");
  return of(std::move(key));
}

Result<SigningKey> SigningKey::from_pem(std::string_view pem) {
  const BioPointer bio = reading(pem);
  KeyPointer key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_pass_phrase, nullptr));
  if (!key || EVP_PKEY_get_id(key.get()) != EVP_PKEY_ED25519) {
    return fail(ErrorCode::malformed, "it is no Ed25519 key in PEM");
  }
  return of(std::move(key));
}

Result<std::string> SigningKey::pem() const {
  const BioPointer bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return fail(ErrorCode::io, "The audit log's key cannot be written.");
  }
  return content(bio.get());
}

Result<std::string> SigningKey::sign(std::string_view text) const {
  std::array<unsigned char, signature_bytes> raw{};
  std::size_t size = raw.size();
  const ContextPointer context(EVP_MD_CTX_new());
  if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), raw.data(), &size, bytes_of(text), text.size()) != 1) {
    return fail(ErrorCode::io, "The audit log's head cannot be signed.");
  }
  std::string hex;
  constexpr std::string_view digits = "0123456789abcdef";
  for (const unsigned char byte : raw) {
    hex += digits[byte >> 4U];
    hex += digits[byte & 15U];
  }
  return hex;
}

std::string signed_text(const Head& head) {
  return "tillbridge audit head 1\n" + std::to_string(head.n) + "\n" + head.hash + "\n" +
         time_text(head.time) + "\n";
}

std::string write_head(const Head& head) {
  return "{\"n\":" + std::to_string(head.n) + ",\"hash\":" + json_text(head.hash) +
         ",\"time\":" + json_text(time_text(head.time)) +
         ",\"signature\":" + json_text(head.signature) + "}\n";
}

std::optional<Head> parse_head(std::string_view text) {
  if (text.size() > 1024) return std::nullopt;
  const auto json = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto n = json.find("n");
  if (n == json.end() || !n->is_number_unsigned()) return std::nullopt;
  std::string time;
  Head head{.n = n->get<std::uint64_t>()};
  for (const auto& [name, member] :
       {std::pair{"hash", &head.hash}, {"time", &time}, {"signature", &head.signature}}) {
    const auto found = json.find(name);
    if (found == json.end() || !found->is_string()) return std::nullopt;
    *member = found->get<std::string>();
  }
  const auto parsed_time = parse_time(time);
  if (!parsed_time) return std::nullopt;
  head.time = *parsed_time;
  if (write_head(head) != text) return std::nullopt;
  return head;
}

}  // namespace tillbridge::audit
