// The private authority of one USB server: whom the tills trust, and who says that a till is one.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "server/authority/certificates.hpp"

namespace tillbridge::authority {

/// A till's certificate, as bytes and as the row that the store keeps of it.
struct Issued {
  Bytes der;
  store::Certificate row;
};

/// Files in the state folder: authority.key, authority.crt (the private authority), server.key,
/// server.crt (for the link and for HTTPS, with the authority behind it); the keys 0600.
class Authority {
 public:
  /// Makes the authority if there is none. Errors: `config` (a file is damaged, or others may read
  /// the key), `io`.
  [[nodiscard]] static Result<Authority> open(const std::filesystem::path& folder, Time now);

  /// SHA-256 of its certificate.
  [[nodiscard]] const pairing::Digest& digest() const noexcept { return digest_; }
  [[nodiscard]] std::string fingerprint() const;  ///< lower-case hex
  [[nodiscard]] std::string words() const;        ///< of the fingerprint
  [[nodiscard]] const std::string& pem() const noexcept { return pem_; }
  [[nodiscard]] bool made_now() const noexcept { return made_now_; }

  [[nodiscard]] Result<Issued> issue_till(const Request& request, const std::string& name, Time now,
                                          std::chrono::seconds life) const;
  /// Makes the server's certificate if there is none that is good for all of `names` and for a
  /// third of its life. True: there is a new one.
  [[nodiscard]] Result<bool> renew_server(const std::vector<std::string>& names, Time now);

  [[nodiscard]] std::filesystem::path certificate_file() const { return folder_ / "authority.crt"; }
  [[nodiscard]] std::filesystem::path server_certificate_file() const {
    return folder_ / "server.crt";
  }
  [[nodiscard]] std::filesystem::path server_key_file() const { return folder_ / "server.key"; }

 private:
  Authority(std::filesystem::path folder, Key key, Certificate certificate, bool made_now);
  [[nodiscard]] bool server_is_good(const std::vector<std::string>& names, Time now) const;

  std::filesystem::path folder_;
  Key key_;
  Certificate certificate_;
  std::string pem_;
  pairing::Digest digest_{};
  bool made_now_;
};

}  // namespace tillbridge::authority
