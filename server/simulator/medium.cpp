#include "server/simulator/medium.hpp"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tillbridge::simulator {
namespace {

std::string reason(int error_number) {
  return std::generic_category().message(error_number);
}

}  // namespace

Status MemoryMedium::read(std::uint64_t block, std::span<std::uint8_t> data) {
  assert(block * block_bytes + data.size() <= block_count_ * block_bytes);
  std::uint64_t offset = block * block_bytes;
  while (!data.empty()) {
    const std::size_t inside = offset % chunk_bytes;
    const std::size_t count = std::min(data.size(), chunk_bytes - inside);
    const auto found = chunks_.find(offset / chunk_bytes);
    if (found == chunks_.end()) {
      std::fill_n(data.begin(), count, std::uint8_t{0});
    } else {
      const ByteView part = ByteView(found->second).subspan(inside, count);
      std::copy(part.begin(), part.end(), data.begin());
    }
    data = data.subspan(count);
    offset += count;
  }
  return {};
}

Status MemoryMedium::write(std::uint64_t block, ByteView data) {
  assert(block * block_bytes + data.size() <= block_count_ * block_bytes);
  std::uint64_t offset = block * block_bytes;
  while (!data.empty()) {
    const std::size_t inside = offset % chunk_bytes;
    const ByteView part = data.first(std::min(data.size(), chunk_bytes - inside));
    auto found = chunks_.find(offset / chunk_bytes);
    const bool zeros =
        std::all_of(part.begin(), part.end(), [](std::uint8_t byte) { return byte == 0; });
    if (found == chunks_.end() && !zeros) {
      found = chunks_.emplace(offset / chunk_bytes, Bytes(chunk_bytes)).first;
    }
    if (found != chunks_.end()) {
      const std::span<std::uint8_t> target = std::span(found->second).subspan(inside, part.size());
      std::copy(part.begin(), part.end(), target.begin());
    }
    data = data.subspan(part.size());
    offset += part.size();
  }
  return {};
}

Result<std::unique_ptr<FileMedium>> FileMedium::take(int descriptor, const std::string& path) {
  // From here on the descriptor is closed with the medium, also on errors.
  std::unique_ptr<FileMedium> medium(new FileMedium(descriptor, path, 0));
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::refused, "disk image " + path +
                                        " is already used by another simulated stick or process; "
                                        "give each stick its own file");
  }
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0) return medium->failed("look at", errno).error();
  if (!S_ISREG(facts.st_mode)) {
    return fail(ErrorCode::config, "disk image " + path + " is not a file");
  }
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  if (size == 0 || size % block_bytes != 0) {
    return fail(ErrorCode::config, "disk image " + path + " has " + std::to_string(size) +
                                       " bytes; it must be a multiple of 512, and not empty");
  }
  medium->block_count_ = size / block_bytes;
  return medium;
}

Result<std::unique_ptr<FileMedium>> FileMedium::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) {
    return fail(ErrorCode::io, "cannot open disk image " + path + ": " + reason(errno));
  }
  return take(descriptor, path);
}

Result<std::unique_ptr<FileMedium>> FileMedium::create(const std::string& path,
                                                       std::uint64_t block_count) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) {
    return fail(ErrorCode::io, "cannot create disk image " + path + ": " + reason(errno));
  }
  if (::ftruncate(descriptor, static_cast<off_t>(block_count * block_bytes)) != 0) {
    const int error_number = errno;
    ::close(descriptor);
    ::unlink(path.c_str());
    return fail(ErrorCode::io, "cannot make disk image " + path + " " +
                                   std::to_string(block_count * block_bytes) +
                                   " bytes long: " + reason(error_number));
  }
  return take(descriptor, path);
}

FileMedium::~FileMedium() {
  ::close(descriptor_);
}

Status FileMedium::read(std::uint64_t block, std::span<std::uint8_t> data) {
  auto offset = static_cast<off_t>(block * block_bytes);
  while (!data.empty()) {
    const ssize_t count = ::pread(descriptor_, data.data(), data.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed("read", errno);
    if (count == 0) return failed("read", ENODATA);  // somebody made the file shorter
    data = data.subspan(static_cast<std::size_t>(count));
    offset += count;
  }
  return {};
}

Status FileMedium::write(std::uint64_t block, ByteView data) {
  auto offset = static_cast<off_t>(block * block_bytes);
  while (!data.empty()) {
    const ssize_t count = ::pwrite(descriptor_, data.data(), data.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return failed("write", errno);
    data = data.subspan(static_cast<std::size_t>(count));
    offset += count;
  }
  return {};
}

Status FileMedium::flush() {
  if (::fdatasync(descriptor_) != 0) return failed("flush", errno);
  return {};
}

Status FileMedium::failed(const char* what, int error_number) const {
  return fail(ErrorCode::io,
              std::string("cannot ") + what + " disk image " + path_ + ": " + reason(error_number));
}

}  // namespace tillbridge::simulator
