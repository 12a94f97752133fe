// scrypt, as OWASP asks for it in 2026 with 32 MiB: N = 2^15, r = 8, p = 3.
#include <array>
#include <charconv>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "server/http/limits.hpp"
#include "server/http/logins.hpp"
#include "server/http/secrets.hpp"

namespace tillbridge::http {

namespace {

struct Cost {
  std::uint64_t n = 1U << 15U, r = 8, p = 3;
};

std::string scrypt(const std::string& password, const std::string& salt, const Cost& cost) {
  std::array<unsigned char, 32> key{};
  const std::vector<unsigned char> salt_bytes(salt.begin(), salt.end());
  constexpr std::uint64_t memory = 64U << 20U;
  if (EVP_PBE_scrypt(password.data(), password.size(), salt_bytes.data(), salt_bytes.size(), cost.n,
                     cost.r, cost.p, memory, key.data(), key.size()) != 1) {
    return {};
  }
  return base64url(std::string(key.begin(), key.end()));
}

struct Kept {
  Cost cost;
  std::string salt, hash;
};

std::optional<Kept> parse(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto end = text.find('$');
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  if (parts.size() != 6 || parts[0] != "scrypt") return std::nullopt;
  Kept kept;
  const auto number = [](std::string_view digits, std::uint64_t& value) {
    const char* last = std::to_address(digits.end());
    const auto [end, error] = std::from_chars(digits.data(), last, value);
    return error == std::errc() && end == last;
  };
  if (!number(parts[1], kept.cost.n) || !number(parts[2], kept.cost.r) ||
      !number(parts[3], kept.cost.p)) {
    return std::nullopt;
  }
  kept.salt = parts[4];
  kept.hash = parts[5];
  return kept;
}

}  // namespace

Result<std::string> hash_password(const std::string& password) {
  std::size_t characters = 0;
  for (const char byte : password) {
    if ((static_cast<unsigned char>(byte) & 0xC0U) != 0x80U) ++characters;
  }
  if (characters < limits::password_characters) {
    return Error{ErrorCode::refused,
                 "the password has fewer than " + std::to_string(limits::password_characters) +
                     " characters; four words that nobody else puts together are a good one"};
  }
  if (password.size() > limits::password_bytes) {
    return Error{ErrorCode::refused, "the password is too long"};
  }
  if (std::set<char>(password.begin(), password.end()).size() < 4) {
    return Error{ErrorCode::refused, "the password is only a few characters over and over"};
  }
  const Cost cost;
  const std::string salt = random_token();
  std::string hash = scrypt(password, salt, cost);
  if (hash.empty()) {
    return Error{ErrorCode::io, "there is no memory to make the password's hash"};
  }
  return "scrypt$" + std::to_string(cost.n) + "$" + std::to_string(cost.r) + "$" +
         std::to_string(cost.p) + "$" + salt + "$" + hash;
}

bool password_fits(const std::string& password, const std::string& kept_text) {
  const auto kept = parse(kept_text);
  const std::string made = scrypt(password, kept ? kept->salt : "none", kept ? kept->cost : Cost{});
  return kept && !made.empty() && same_secret(made, kept->hash);
}

}  // namespace tillbridge::http
