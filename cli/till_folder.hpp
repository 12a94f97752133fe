// Where a till's configuration, certificate and key are.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <sys/types.h>

#include "channel/bytes/result.hpp"
#include "channel/pairing/line.hpp"
#include "channel/pairing/message.hpp"
#include "channel/pairing/till_key.hpp"

namespace tillbridge::cli {

/// Beside DIR/NAME.toml the folder DIR/NAME-identity (0700) with till.pem (certificate and key) and
/// authority.pem: the plugin renews the first, so the folder belongs to the user whose sessions use
/// it.
class TillFolder {
 public:
  /// Makes the folder. `user` empty: who called sudo, or who runs this. Errors are for a person.
  [[nodiscard]] static Result<TillFolder> open(const std::filesystem::path& config,
                                               const std::string& user);

  /// The key that waits for an administrator's approval: made once, the same each time.
  [[nodiscard]] Result<pairing::TillKey> pending_key();
  /// Writes authority, identity and, last, the configuration; what that had besides [server], [tls]
  /// and [usbip] stays.
  [[nodiscard]] Status store(const pairing::Line& line, const pairing::Granted& granted,
                             const pairing::TillKey& key);

  [[nodiscard]] const std::filesystem::path& config() const noexcept { return config_; }
  /// ",config:FILE" if it is not where the plugin looks by itself.
  [[nodiscard]] std::string config_argument() const;

 private:
  struct Owner {
    uid_t user = 0;
    gid_t group = 0;
  };
  [[nodiscard]] Status give(const std::filesystem::path& file) const;

  std::filesystem::path config_, folder_;
  std::optional<Owner> owner_;  // another one than who runs this
};

}  // namespace tillbridge::cli
