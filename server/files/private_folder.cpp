#include "server/files/private_folder.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tillbridge::files {

namespace {

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  [[nodiscard]] int get() const noexcept { return number_; }
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }

 private:
  int number_;
};

std::string octal(mode_t mode) {
  std::array<char, 8> text{};
  (void)std::snprintf(text.data(), text.size(), "%04o", static_cast<unsigned>(mode & 07777U));
  return text.data();
}

Status check(const struct stat& found, const std::string& name, const char* remedy_mode) {
  if (found.st_uid != ::geteuid()) {
    return fail(ErrorCode::config, name + " belongs to user " + std::to_string(found.st_uid) +
                                       ", but this program runs as user " +
                                       std::to_string(::geteuid()) + ". Run: chown -R " +
                                       std::to_string(::geteuid()) + " " + name);
  }
  if ((found.st_mode & 077U) != 0) {
    return fail(ErrorCode::config, "Others may use " + name + " (mode " + octal(found.st_mode) +
                                       "), and it holds secrets. Run: chmod " + remedy_mode + " " +
                                       name);
  }
  return {};
}

// Missing parents get the usual mode, the folder itself is private from its first moment on.
Status make(const std::filesystem::path& path) {
  if (path.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    if (error) return system_error(path.parent_path().string() + " cannot be made", error.value());
  }
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return system_error(path.string() + " cannot be made", errno);
  }
  return {};
}

Status sync_folder(const std::filesystem::path& path) {
  const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || ::fsync(folder.get()) != 0) {
    return system_error(path.string() + " cannot be made durable", errno);
  }
  return {};
}

Status write_all(int descriptor, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(descriptor, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error("it cannot be written", errno);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

Error system_error(const std::string& what, int error_number) {
  std::string message = what + ": " + std::generic_category().message(error_number) + ".";
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      message += " Make room on that disk, then try again.";
      break;
    case EACCES:
    case EPERM:
      message += " Look whether it belongs to the user that the server runs as.";
      break;
    case EROFS:
      message += " The disk can only be read; a broken disk becomes so by itself.";
      break;
    default:
      break;
  }
  return fail(ErrorCode::io, std::move(message));
}

Result<PrivateFolder> PrivateFolder::open(const std::filesystem::path& path) {
  if (Status made = make(path); !made) return made.error();
  Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0) return system_error(path.string() + " cannot be opened", errno);
  struct stat found {};
  if (::fstat(folder.get(), &found) != 0) {
    return system_error(path.string() + " cannot be looked at", errno);
  }
  if (Status ok = check(found, path.string(), "700"); !ok) return ok.error();
  if (::flock(folder.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return system_error(path.string() + " cannot be locked", errno);
    return fail(ErrorCode::unavailable, "Another tillbridged uses this folder: " + path.string() +
                                            ". Stop that one first, or give this one a folder of "
                                            "its own ([state] folder).");
  }
  return PrivateFolder(path, folder.release());
}

PrivateFolder::~PrivateFolder() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

PrivateFolder::PrivateFolder(PrivateFolder&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

PrivateFolder& PrivateFolder::operator=(PrivateFolder&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

Status PrivateFolder::sync() const {
  if (::fsync(descriptor_) != 0) {
    return system_error(path_.string() + " cannot be made durable", errno);
  }
  return {};
}

Status check_private_file(const std::filesystem::path& file) {
  struct stat found {};
  if (::lstat(file.c_str(), &found) != 0) {
    return system_error(file.string() + " cannot be looked at", errno);
  }
  if (!S_ISREG(found.st_mode)) {
    return fail(ErrorCode::config, file.string() + " is not a plain file. Move it away.");
  }
  return check(found, file.string(), "600");
}

Result<std::string> read_file(const std::filesystem::path& file, std::size_t most) {
  const Descriptor opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (opened.get() < 0) {
    if (errno == ENOENT) return fail(ErrorCode::unavailable, file.string() + " is not there.");
    return system_error(file.string() + " cannot be read", errno);
  }
  std::string content;
  std::array<char, 64U << 10U> block{};
  while (true) {
    const ssize_t got = ::read(opened.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(file.string() + " cannot be read", errno);
    if (got == 0) return content;
    if (content.size() + static_cast<std::size_t>(got) > most) {
      return fail(ErrorCode::limit, file.string() + " is longer than the " + std::to_string(most) +
                                        " bytes that it may have.");
    }
    content.append(block.data(), static_cast<std::size_t>(got));
  }
}

Status write_file(const std::filesystem::path& file, std::string_view content, mode_t mode) {
  // One writer at a time is a matter of the folder's lock, so one name for the copy is enough; what
  // an earlier crash left under it is overwritten.
  const std::filesystem::path fresh = file.string() + ".new";
  const auto give_up = [&](const Status& why) {
    (void)::unlink(fresh.c_str());
    return fail(why.error().code, file.string() + ": " + why.error().message);
  };
  (void)::unlink(fresh.c_str());
  const Descriptor opened(
      ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (opened.get() < 0) return system_error(file.string() + " cannot be written", errno);
  // The umask may have taken bits away; it must not decide who reads the file.
  if (::fchmod(opened.get(), mode) != 0) return give_up(system_error("its mode", errno));
  if (Status written = write_all(opened.get(), content); !written) return give_up(written);
  if (::fsync(opened.get()) != 0) return give_up(system_error("it cannot be written", errno));
  if (::rename(fresh.c_str(), file.c_str()) != 0) {
    return give_up(system_error("it cannot be put in place", errno));
  }
  return sync_folder(file.has_parent_path() ? file.parent_path() : ".");
}

}  // namespace tillbridge::files
