// Proofs that both ends know the same token, for this TLS connection only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "channel/bytes/reader.hpp"

namespace tillbridge::pairing {

inline constexpr std::size_t token_id_bytes = 8;
inline constexpr std::size_t proof_bytes = 32;

using Digest = std::array<std::uint8_t, 32>;
[[nodiscard]] Digest sha256(ByteView bytes);

/// What the server keeps of a token, and the key of the proofs: the token itself is on paper and at
/// the till only.
[[nodiscard]] Digest token_key(ByteView token);
/// Which token a till speaks of, for a server that knows the keys only. Tells nothing of the key.
[[nodiscard]] Bytes token_id(const Digest& key);

enum class Prover : std::uint8_t { till, server };
/// HMAC-SHA256(key, "till" or "server" ‖ binding ‖ content): `binding` is Peer::binding of the
/// connection, `content` the till's request or the server's certificate.
[[nodiscard]] Bytes proof(const Digest& key, Prover prover, ByteView binding, ByteView content);
/// In constant time.
[[nodiscard]] bool same(ByteView one, ByteView other);

/// The digest of which a pending till's four words are made at both ends: of its key and of the
/// server's authority, so that nobody can stand between them with a key or an authority of his own.
[[nodiscard]] Digest words_digest(ByteView key_fingerprint, ByteView authority_fingerprint);

[[nodiscard]] Bytes random_bytes(std::size_t count);

}  // namespace tillbridge::pairing
