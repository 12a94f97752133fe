// The terminal server's certificate: read from files, or made when there is none.
#pragma once

#include <filesystem>
#include <string>

#include "channel/bytes/result.hpp"
#include "server/terminal/rdp/peer.hpp"

namespace tillbridge::terminal {

/// Reads both PEM files and checks that they belong together. A key that others may read is
/// refused.
[[nodiscard]] Result<ServerIdentity> load_identity(const std::filesystem::path& certificate,
                                                   const std::filesystem::path& key);

/// A self-signed one for this host, valid for ten years, with an RSA-2048 key (old RDP clients know
/// nothing else).
[[nodiscard]] Result<ServerIdentity> make_identity();

/// certificate.pem and key.pem of a directory; made there on first use, so that clients which
/// remember the certificate see the same one again.
[[nodiscard]] Result<ServerIdentity> identity_in(const std::filesystem::path& directory);

/// SHA-256 of the certificate as people compare it: "5A:2F:..." (32 pairs). Empty if it is no
/// certificate.
[[nodiscard]] std::string fingerprint(const ServerIdentity& identity);

}  // namespace tillbridge::terminal
