#include "till/identity.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/pairing/limits.hpp"

namespace tillbridge::till {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return number_; }

 private:
  int number_;
};

Error problem(const std::filesystem::path& file, const std::string& what, int number) {
  return fail(ErrorCode::io,
              file.string() + " " + what + ": " + std::generic_category().message(number));
}

}  // namespace

Result<std::string> identity_text(ByteView certificate, const pairing::TillKey& key) {
  auto pem = pairing::certificate_pem(certificate);
  if (!pem) return pem.error();
  return *pem + key.pem();
}

Result<pairing::CertificateFacts> read_identity(const std::filesystem::path& file) {
  const auto text = read_whole(file, pairing::limits::identity_file_bytes);
  if (!text) return text.error();
  auto facts = pairing::facts_of_pem(*text);
  if (!facts) return fail(facts.error().code, file.string() + ": " + facts.error().message);
  return facts;
}

Status write_whole(const std::filesystem::path& file, std::string_view content, mode_t mode) {
  // Another session of this till, here or in another process, may renew at the same moment.
  static std::atomic<unsigned> written_here = 0;
  const std::filesystem::path fresh =
      file.string() + ".new-" + std::to_string(::getpid()) + "-" + std::to_string(++written_here);
  const auto give_up = [&](const std::string& what) {
    const int number = errno;
    (void)::unlink(fresh.c_str());
    return problem(file, what, number);
  };
  (void)::unlink(fresh.c_str());
  const Descriptor opened(
      ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (opened.get() < 0) return problem(file, "cannot be written", errno);
  if (::fchmod(opened.get(), mode) != 0) return give_up("cannot get its mode");
  while (!content.empty()) {
    const ssize_t written = ::write(opened.get(), content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return give_up("cannot be written");
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fsync(opened.get()) != 0) return give_up("cannot be written");
  // It stays whose it was: an administrator may write what another user's session reads.
  struct stat before {};
  if (::geteuid() == 0 && ::lstat(file.c_str(), &before) == 0 &&
      ::fchown(opened.get(), before.st_uid, before.st_gid) != 0) {
    return give_up("cannot be given to its owner");
  }
  if (::rename(fresh.c_str(), file.c_str()) != 0) return give_up("cannot be put in place");
  const std::filesystem::path parent = file.has_parent_path() ? file.parent_path() : ".";
  const Descriptor folder(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() < 0 || ::fsync(folder.get()) != 0) {
    return problem(parent, "cannot be made durable", errno);
  }
  return {};
}

Result<std::string> read_whole(const std::filesystem::path& file, std::size_t most) {
  const Descriptor opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (opened.get() < 0) {
    const int number = errno;
    Error error = problem(file, "cannot be read", number);
    if (number == ENOENT) error.code = ErrorCode::unavailable;
    return error;
  }
  std::string content;
  std::array<char, 4096> block{};
  while (true) {
    const ssize_t got = ::read(opened.get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return problem(file, "cannot be read", errno);
    if (got == 0) return content;
    if (content.size() + static_cast<std::size_t>(got) > most) {
      return fail(ErrorCode::limit, file.string() + " is longer than it may be");
    }
    content.append(block.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace tillbridge::till
