#include "pos/access.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/bytes/limits.hpp"
#include "pos/whole_file.hpp"

namespace tillbridge::pos {
namespace {

namespace fs = std::filesystem;

/// What sticks of all families allow when none of them was used up.
constexpr std::uint32_t usual_tries = 3;

constexpr std::array<Secret, secret_count> all_secrets{Secret::admin_pin, Secret::admin_puk,
                                                       Secret::time_pin, Secret::time_puk,
                                                       Secret::transport_pin};

std::string trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r";
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(blanks) - begin + 1));
}

}  // namespace

const char* name_of(Secret secret) {
  switch (secret) {
    case Secret::admin_pin:
      return "admin-pin";
    case Secret::admin_puk:
      return "admin-puk";
    case Secret::time_pin:
      return "time-pin";
    case Secret::time_puk:
      return "time-puk";
    case Secret::transport_pin:
      return "transport-pin";
  }
  return "?";
}

const char* variable_of(Secret secret) {
  switch (secret) {
    case Secret::admin_pin:
      return "TILLBRIDGE_ADMIN_PIN";
    case Secret::admin_puk:
      return "TILLBRIDGE_ADMIN_PUK";
    case Secret::time_pin:
      return "TILLBRIDGE_TIME_PIN";
    case Secret::time_puk:
      return "TILLBRIDGE_TIME_PUK";
    case Secret::transport_pin:
      return "TILLBRIDGE_TRANSPORT_PIN";
  }
  return "?";
}

const char* name_of(User user) {
  return user == User::admin ? "admin" : "time admin";
}

// --- TriesMemory

fs::path TriesMemory::usual_file() {
  const char* const state = std::getenv("XDG_STATE_HOME");
  const char* const home = std::getenv("HOME");
  if (state != nullptr && *state == '/') return fs::path(state) / "tillbridge" / "pin-tries";
  if (home != nullptr && *home == '/')
    return fs::path(home) / ".local" / "state" / "tillbridge" / "pin-tries";
  return "/var/lib/tillbridge/pin-tries";
}

Deed TriesMemory::load() {
  if (loaded_ || file_.empty()) return done();
  std::error_code error;
  if (fs::exists(file_, error)) {
    const Result<Bytes> content = read_whole_file(file_, limits::pos_small_file_bytes);
    if (!content) return from_io(content.error());
    std::istringstream lines(std::string(content->begin(), content->end()));
    std::string key;
    std::uint32_t tries = 0;
    while (lines >> key >> tries) tries_[key] = tries;
    if (!lines.eof()) {
      return trouble(Trouble::usage, file_.string() +
                                         " is damaged; it tells how often PINs may still be "
                                         "wrong. Find that out, then remove it");
    }
  }
  loaded_ = true;
  return done();
}

Deed TriesMemory::save() const {
  if (file_.empty()) return done();
  std::string text;
  for (const auto& [key, tries] : tries_) text += key + ' ' + std::to_string(tries) + '\n';
  std::error_code error;
  fs::create_directories(file_.parent_path(), error);
  const Status written = write_whole_file(file_, Bytes(text.begin(), text.end()), Overwrite::yes);
  if (written) return done();
  return trouble(Trouble::usage, "the tries that are left for a PIN cannot be noted down: " +
                                     written.error().message +
                                     ". Give a file that can be written: --tries FILE");
}

Outcome<std::optional<std::uint32_t>> TriesMemory::left(const std::string& key) {
  if (Deed loaded = load(); !loaded) return loaded.failure();
  const auto entry = tries_.find(key);
  if (entry == tries_.end()) return std::optional<std::uint32_t>();
  return std::optional<std::uint32_t>(entry->second);
}

Deed TriesMemory::remember(const std::string& key, std::uint32_t tries_left) {
  if (Deed loaded = load(); !loaded) return loaded;
  tries_[key] = tries_left;
  return save();
}

Deed TriesMemory::forget(const std::string& key) {
  if (Deed loaded = load(); !loaded) return loaded;
  tries_.erase(key);
  return save();
}

// --- Access

bool Access::has(Secret secret) const {
  if (settings_.secrets.count(secret) != 0 || asked_.count(secret) != 0) return true;
  const char* const value = settings_.environment ? std::getenv(variable_of(secret)) : nullptr;
  return value != nullptr && *value != '\0';
}

Outcome<std::string> Access::secret(Secret secret, const std::string& purpose, Trouble missing) {
  if (const auto given = settings_.secrets.find(secret); given != settings_.secrets.end())
    return given->second;
  if (const auto asked = asked_.find(secret); asked != asked_.end()) return asked->second;
  const char* const value = settings_.environment ? std::getenv(variable_of(secret)) : nullptr;
  if (value != nullptr && *value != '\0') return std::string(value);
  if (settings_.ask) {
    std::string answer = settings_.ask(std::string(name_of(secret)) + " (" + purpose + "): ");
    if (!answer.empty()) return asked_[secret] = std::move(answer);
  }
  return trouble(missing, purpose + " needs the " + name_of(secret) +
                              ": put it into a file and give --pins FILE, or into the variable " +
                              variable_of(secret));
}

Deed Access::login(const std::string& stick, User user, std::optional<std::uint32_t> known_tries,
                   const std::function<Outcome<LoginResult>()>& attempt) {
  const std::string who = name_of(user);
  const std::string key = stick + (user == User::admin ? ":admin" : ":time");
  Outcome<std::optional<std::uint32_t>> noted = settings_.memory.left(key);
  if (!noted) return noted.failure();
  std::optional<std::uint32_t> left = known_tries ? known_tries : *noted;
  if (left && *left == 0) {
    return trouble(Trouble::pin_blocked,
                   "the PIN of the " + who +
                       " is blocked: unblock it with the PUK in the vendor's software, where the "
                       "stick has one, then remove its line from the file of tries (--tries)");
  }
  if (left && *left == 1 && !settings_.last_try) {
    return trouble(Trouble::last_pin_try,
                   "the PIN of the " + who +
                       " was wrong before, and one try is left; another wrong one blocks it, and a "
                       "blocked stick may be lost. Make sure which PIN is right, then run again "
                       "with --last-try");
  }
  // Noted before it is tried: should the answer get lost, the try counts as used.
  const std::uint32_t before = left.value_or(usual_tries);
  if (Deed written = settings_.memory.remember(key, before - 1); !written) return written;
  Outcome<LoginResult> result = attempt();
  if (!result) {
    // Refused before the PIN was looked at: no try was used.
    if (!is_loss(result.failure().what)) {
      Deed restored = left ? settings_.memory.remember(key, before) : settings_.memory.forget(key);
      if (!restored) return restored;
    }
    return result.failure();
  }
  switch (result->what) {
    case LoginResult::What::ok:
      return settings_.memory.forget(key);
    case LoginResult::What::blocked: {
      if (Deed written = settings_.memory.remember(key, 0); !written) return written;
      return trouble(Trouble::pin_blocked,
                     "the PIN of the " + who +
                         " is blocked after too many wrong ones: unblock it with the PUK in the "
                         "vendor's software, where the stick has one");
    }
    case LoginResult::What::wrong:
      break;
  }
  const std::uint32_t after = result->tries_left.value_or(before - 1);
  if (Deed written = settings_.memory.remember(key, after); !written) return written;
  return trouble(Trouble::wrong_pin, "the PIN of the " + who +
                                         " is wrong; tries left: " + std::to_string(after) +
                                         ". It was not tried again; a blocked stick may be lost");
}

Outcome<std::map<Secret, std::string>> read_pin_file(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    return trouble(Trouble::usage, path.string() + ": " + std::strerror(errno));
  if ((status.st_mode & 077U) != 0) {
    return trouble(Trouble::usage, path.string() +
                                       " holds PINs and others may read it; run: "
                                       "chmod 600 " +
                                       path.string());
  }
  const Result<Bytes> content = read_whole_file(path, limits::pos_small_file_bytes);
  if (!content) return from_io(content.error());
  std::istringstream lines(std::string(content->begin(), content->end()));
  std::map<Secret, std::string> secrets;
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number) {
    line = trimmed(line);
    if (line.empty() || line.front() == '#') continue;
    const std::size_t equals = line.find('=');
    const std::string key = trimmed(std::string_view(line).substr(0, equals));
    const auto* const secret = std::find_if(all_secrets.begin(), all_secrets.end(),
                                            [&](Secret which) { return key == name_of(which); });
    if (equals == std::string::npos || secret == all_secrets.end()) {
      // The line itself may hold a PIN: it is not shown.
      return trouble(Trouble::usage, path.string() + ", line " + std::to_string(number) +
                                         ": expected admin-pin, admin-puk, time-pin, time-puk or "
                                         "transport-pin, "
                                         "'=' and its value");
    }
    std::string value = trimmed(std::string_view(line).substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
      value = value.substr(1, value.size() - 2);
    secrets[*secret] = value;
  }
  return secrets;
}

}  // namespace tillbridge::pos
