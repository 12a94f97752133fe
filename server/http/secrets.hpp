// Random values, digests of them, and their comparison.
#pragma once

#include <string>
#include <string_view>

#include "server/store/rows.hpp"

namespace tillbridge::http {

/// 32 random bytes as base64url: 43 characters that fit into a cookie, an address and a header.
[[nodiscard]] std::string random_token();
/// What is kept of a token.
[[nodiscard]] store::Digest digest_of(std::string_view secret);
[[nodiscard]] std::string hex(const store::Digest& digest);
/// Takes as long for wrong ones as for right ones of the same length.
[[nodiscard]] bool same_secret(std::string_view one, std::string_view other);
[[nodiscard]] std::string base64url(std::string_view bytes);

}  // namespace tillbridge::http
