// One end's certificate, key and authorities as OpenSSL wants them, and what error messages say of
// them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "channel/transport/openssl_handles.hpp"
#include "channel/transport/stream.hpp"

namespace tillbridge::transport {

struct TlsContext::Impl {
  SslContextHandle context;
  Side side = Side::client;
  std::string alpn;
  std::filesystem::path authorities;
  std::string own_name;  ///< empty without a certificate
  std::string own_fingerprint;
  /// Whom to let in: those of the authorities; any (a server); whose authority is `pinned`.
  enum class Trust : std::uint8_t { authorities, anybody, pinned } trust = Trust::authorities;
  Bytes pinned;  ///< beginning of an authority's SHA-256
  /// At a server: for clients that ask for their ALPN.
  std::vector<std::shared_ptr<Impl>> others;
};

}  // namespace tillbridge::transport
