// A till's certificate and its key, in one file: two cannot be replaced at once, and a certificate
// without its key is worth nothing.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "channel/pairing/till_key.hpp"

namespace tillbridge::till {

/// Certificate first, then the key: what both `certificate` and `key` of till.toml may name.
[[nodiscard]] Result<std::string> identity_text(ByteView certificate, const pairing::TillKey& key);
/// What the certificate in the file says. Errors name the file.
[[nodiscard]] Result<pairing::CertificateFacts> read_identity(const std::filesystem::path& file);

/// Makes or replaces the file as a whole, with this mode from its first moment on: after a crash or
/// a power cut there is the old one or the new one. A symbolic link is replaced, not followed.
[[nodiscard]] Status write_whole(const std::filesystem::path& file, std::string_view content,
                                 mode_t mode);
/// The whole of a small file. Errors: `unavailable` (not there), `limit`, `io`.
[[nodiscard]] Result<std::string> read_whole(const std::filesystem::path& file, std::size_t most);

}  // namespace tillbridge::till
