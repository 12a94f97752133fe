// Certificates for tests: one authority with a server and a till, and a till of somebody else's
// authority.
#pragma once

#include <filesystem>
#include <string>

namespace tillbridge::plugin::test {

/// Made once per test program with packaging/make-certificates, in a folder that goes with the
/// program.
class Certificates {
 public:
  static const Certificates& get();
  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;
  ~Certificates();

  [[nodiscard]] std::filesystem::path authority() const { return ours_ / "authority.crt"; }
  [[nodiscard]] std::filesystem::path certificate(const std::string& name) const {
    return ours_ / (name + ".crt");
  }
  [[nodiscard]] std::filesystem::path key(const std::string& name) const {
    return ours_ / (name + ".key");
  }
  [[nodiscard]] std::filesystem::path stranger_certificate() const {
    return theirs_ / "stranger.crt";
  }
  [[nodiscard]] std::filesystem::path stranger_key() const { return theirs_ / "stranger.key"; }

 private:
  Certificates();
  std::filesystem::path folder_, ours_, theirs_;
};

}  // namespace tillbridge::plugin::test
