// Access: PINs and PUKs, and the care that is taken not to burn their last try.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "pos/trouble.hpp"

namespace tillbridge::pos {

enum class Secret : std::uint8_t {
  admin_pin,
  admin_puk,
  time_pin,
  time_puk,
  transport_pin,  ///< Diebold Nixdorf: what a fresh stick came with, to be replaced
};
inline constexpr std::size_t secret_count = 5;
/// "admin-pin": the key in a file of PINs.
[[nodiscard]] const char* name_of(Secret secret);
/// "TILLBRIDGE_ADMIN_PIN"
[[nodiscard]] const char* variable_of(Secret secret);

enum class User : std::uint8_t { admin, time_admin };
[[nodiscard]] const char* name_of(User user);

/// How often a PIN may still be wrong, as each stick said last: most protocols tell it only in the
/// answer to a wrong one. Without a path it lasts as long as the program.
class TriesMemory {
 public:
  TriesMemory() = default;
  explicit TriesMemory(std::filesystem::path file) : file_(std::move(file)) {}
  /// Nothing: no login failed since the last good one. An unreadable file is a Failure.
  [[nodiscard]] Outcome<std::optional<std::uint32_t>> left(const std::string& key);
  [[nodiscard]] Deed remember(const std::string& key, std::uint32_t tries_left);
  [[nodiscard]] Deed forget(const std::string& key);
  /// $XDG_STATE_HOME/tillbridge/pin-tries or ~/.local/state/...
  [[nodiscard]] static std::filesystem::path usual_file();

 private:
  [[nodiscard]] Deed load();
  [[nodiscard]] Deed save() const;
  std::filesystem::path file_;
  bool loaded_ = false;
  std::map<std::string, std::uint32_t> tries_;
};

/// What a login brought.
struct LoginResult {
  enum class What : std::uint8_t { ok, wrong, blocked } what{};
  std::optional<std::uint32_t> tries_left;  ///< after a wrong PIN, where the protocol tells
};

class Access {
 public:
  /// Asks a person; an empty answer means none.
  using Ask = std::function<std::string(const std::string& question)>;
  struct Settings {
    std::map<Secret, std::string> secrets;  ///< from the command line or a file
    bool environment = true;
    Ask ask;  ///< may be empty
    TriesMemory memory;
    /// Uses up a PIN's last try, too.
    bool last_try = false;
  };
  explicit Access(Settings settings) : settings_(std::move(settings)) {}

  /// Given, then environment, then asked for. `purpose` ends the sentence of the failure, which is
  /// `missing`.
  [[nodiscard]] Outcome<std::string> secret(Secret secret, const std::string& purpose,
                                            Trouble missing = Trouble::usage);
  [[nodiscard]] bool has(Secret secret) const;

  /// One login, never repeated. Refused when one try is left, unless --last-try was given.
  /// `stick`: its serial number. `known_tries`: where the protocol can tell before. `what`: "admin
  /// PIN" and the like, for messages.
  [[nodiscard]] Deed login(const std::string& stick, User user,
                           std::optional<std::uint32_t> known_tries,
                           const std::function<Outcome<LoginResult>()>& attempt);

 private:
  Settings settings_;
  std::map<Secret, std::string> asked_;
};

/// A file of PINs: "admin-pin = 12345" lines, '#' comments; only its owner may read it.
[[nodiscard]] Outcome<std::map<Secret, std::string>> read_pin_file(
    const std::filesystem::path& path);

}  // namespace tillbridge::pos
