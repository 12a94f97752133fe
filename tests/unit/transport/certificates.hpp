// Certificates made for a test: authorities, servers and tills, right and wrong ones.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "channel/transport/stream.hpp"

namespace tillbridge::test {

/// A directory of its own, removed in the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct CertificateWish {
  std::string common_name;
  std::string alternative_names;       ///< "DNS:localhost,IP:127.0.0.1"
  std::string purpose = "serverAuth";  ///< extended key usage
  long valid_from_s = -3600;           ///< from now
  long valid_until_s = 3600;
};

/// An authority with its files in `directory`: NAME.crt, and what it issues.
class Authority {
 public:
  Authority(std::filesystem::path directory, const std::string& name);
  /// Writes COMMON_NAME.crt and .key (mode 0600). `authorities` of the result is this authority's
  /// own file.
  [[nodiscard]] transport::TlsFiles issue(const CertificateWish& wish) const;
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path directory_;
  std::filesystem::path file_;
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;
};

}  // namespace tillbridge::test
