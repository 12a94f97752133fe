#include "cli/till_folder.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <system_error>

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/pairing/limits.hpp"
#include "till/identity.hpp"

namespace tillbridge::cli {
namespace {

constexpr const char* default_config = "/etc/tillbridge/till.toml";
constexpr std::size_t config_bytes = 1U << 20U;

Error problem(const std::filesystem::path& file, const std::string& what) {
  const int number = errno;
  std::string message = file.string() + " " + what + ": " + std::generic_category().message(number);
  if (number == EACCES || number == EPERM) message += "; run this with sudo";
  return fail(ErrorCode::io, std::move(message));
}

/// The old configuration without the sections that pairing writes.
std::string other_sections(const std::string& text) {
  constexpr std::array<std::string_view, 3> ours{"[server]", "[tls]", "[usbip]"};
  std::istringstream lines(text);
  std::string line;
  std::string kept;
  bool in_other = false;  // what stands before the first section is a comment of ours or an example
  while (std::getline(lines, line)) {
    const std::size_t first = line.find_first_not_of(" \t");
    if (first != std::string::npos && line[first] == '[') {
      const std::size_t end = line.find(']', first);
      const std::string header = line.substr(first, end - first + 1);
      in_other = std::find(ours.begin(), ours.end(), header) == ours.end();
    }
    if (in_other) kept += line + "\n";
  }
  return kept;
}

}  // namespace

Result<TillFolder> TillFolder::open(const std::filesystem::path& config, const std::string& user) {
  TillFolder folder;
  std::error_code error;
  folder.config_ = std::filesystem::absolute(config, error);
  if (error) return fail(ErrorCode::config, config.string() + ": " + error.message());
  folder.folder_ = folder.config_.parent_path() / (folder.config_.stem().string() + "-identity");

  std::string name = user;
  if (const char* caller = std::getenv("SUDO_USER"); name.empty() && ::geteuid() == 0) {
    name = caller == nullptr ? "" : caller;
  }
  if (!name.empty()) {
    errno = 0;
    const passwd* found = ::getpwnam(name.c_str());
    if (found == nullptr) {
      return fail(ErrorCode::config, "there is no user \"" + name + "\" on this machine");
    }
    if (found->pw_uid != ::geteuid()) folder.owner_ = Owner{found->pw_uid, found->pw_gid};
  }

  std::filesystem::create_directories(folder.config_.parent_path(), error);
  if (::mkdir(folder.folder_.c_str(), 0700) != 0 && errno != EEXIST) {
    return problem(folder.folder_, "cannot be made");
  }
  struct stat found {};
  if (::lstat(folder.folder_.c_str(), &found) != 0 || !S_ISDIR(found.st_mode)) {
    return fail(ErrorCode::config, folder.folder_.string() + " is no folder; move it away");
  }
  if (::chmod(folder.folder_.c_str(), 0700) != 0) return problem(folder.folder_, "is not ours");
  if (auto status = folder.give(folder.folder_); !status) return status.error();
  return folder;
}

Status TillFolder::give(const std::filesystem::path& file) const {
  if (!owner_) return {};
  if (::lchown(file.c_str(), owner_->user, owner_->group) != 0) {
    return problem(file, "cannot be given to the user of the RDP sessions");
  }
  return {};
}

Result<pairing::TillKey> TillFolder::pending_key() {
  const std::filesystem::path file = folder_ / "pending.key";
  const auto text = till::read_whole(file, pairing::limits::identity_file_bytes);
  if (text) {
    auto key = pairing::TillKey::from_pem(*text);
    if (!key) return fail(key.error().code, file.string() + ": " + key.error().message);
    return key;
  }
  if (text.error().code != ErrorCode::unavailable) return text.error();
  auto key = pairing::TillKey::make();
  if (auto status = till::write_whole(file, key.pem(), 0600); !status) return status.error();
  return key;
}

Status TillFolder::store(const pairing::Line& line, const pairing::Granted& granted,
                         const pairing::TillKey& key) {
  const auto identity = till::identity_text(granted.certificate, key);
  if (!identity) return identity.error();
  const std::filesystem::path authority_file = folder_ / "authority.pem";
  const std::filesystem::path identity_file = folder_ / "till.pem";
  if (auto status = till::write_whole(authority_file, granted.authorities, 0644); !status) {
    return status;
  }
  if (auto status = till::write_whole(identity_file, *identity, 0600); !status) return status;
  for (const auto& file : {authority_file, identity_file}) {
    if (auto status = give(file); !status) return status;
  }

  const std::string folder = folder_.filename().string();
  std::string text =
      "# Written by \"tillbridge pair\". [log] and other sections stay when it is run again.\n\n";
  text += "[server]\nhost = \"" + line.host + "\"\nport = " + std::to_string(line.port) + "\n";
  if (!granted.server_name.empty()) text += "name = \"" + granted.server_name + "\"\n";
  // Certificate and key are one file, so that both are replaced at once.
  text += "\n[tls]\ncertificate = \"" + folder + "/till.pem\"\nkey = \"" + folder +
          "/till.pem\"\nauthority = \"" + folder + "/authority.pem\"\n";
  if (const auto before = till::read_whole(config_, config_bytes)) {
    const std::string kept = other_sections(*before);
    if (!kept.empty()) text += "\n" + kept;
  }
  if (auto status = till::write_whole(config_, text, 0644); !status) return status;
  (void)::unlink((folder_ / "pending.key").c_str());
  return {};
}

std::string TillFolder::config_argument() const {
  return config_ == default_config ? "" : ",config:" + config_.string();
}

}  // namespace tillbridge::cli
