// Limits and lives of what the authority hands out.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tillbridge::authority::limits {

using std::chrono::seconds;

// Lives. The configuration may set those of tokens and of tills' certificates within these bounds.
inline constexpr seconds token_life = std::chrono::minutes(15);
inline constexpr seconds token_life_least{1};
inline constexpr seconds token_life_most = std::chrono::hours(24);
inline constexpr seconds till_life = std::chrono::hours(24 * 90);
inline constexpr seconds till_life_least{10};
inline constexpr seconds till_life_most = std::chrono::hours(24 * 398);
inline constexpr seconds server_life = std::chrono::hours(24 * 365);
inline constexpr seconds authority_life = std::chrono::hours(24 * 365 * 20);
/// Certificates of the authority and of the server begin this long ago: a till's clock may be a
/// little behind.
inline constexpr seconds begins_before = std::chrono::hours(24);

// Tokens.
/// Wrong proofs for one token, after which it is worth nothing.
inline constexpr std::uint32_t tries_per_token = 5;
/// Wrong proofs and unknown tokens from one address, and from all, in a guess_window.
inline constexpr std::size_t guesses_per_address = 5;
inline constexpr std::size_t guesses_in_total = 60;
/// Askings of any kind from one address, and from all, in a guess_window.
inline constexpr std::size_t asks_per_address = 30;
inline constexpr std::size_t asks_in_total = 300;
inline constexpr seconds guess_window = std::chrono::minutes(1);

// Pending tills.
inline constexpr std::size_t pending = 64;
inline constexpr std::size_t pending_per_address = 8;
/// One that did not come back for so long is forgotten.
inline constexpr seconds pending_kept = std::chrono::hours(24);

// Connections.
inline constexpr std::size_t conversations = 64;
inline constexpr seconds ask_within{10};
/// How long a pending till may keep its connection; then it comes again.
inline constexpr seconds pending_connection = std::chrono::minutes(10);
inline constexpr seconds store_within{30};

/// Names and addresses in the server's certificate.
inline constexpr std::size_t server_names = 64;
inline constexpr std::size_t key_file_bytes = 64U << 10U;

}  // namespace tillbridge::authority::limits
