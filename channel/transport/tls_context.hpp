// One end's certificate, key and authorities as OpenSSL wants them, and what error messages say of
// them.
#pragma once

#include <filesystem>
#include <string>

#include "channel/transport/openssl_handles.hpp"
#include "channel/transport/stream.hpp"

namespace tillbridge::transport {

struct TlsContext::Impl {
  SslContextHandle context;
  Side side = Side::client;
  std::string alpn;
  std::filesystem::path authorities;
  std::string own_name;
  std::string own_fingerprint;
};

}  // namespace tillbridge::transport
