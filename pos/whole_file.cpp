#include "pos/whole_file.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tillbridge::pos {
namespace {

namespace fs = std::filesystem;

Error exists_already(const fs::path& path) {
  return fail(ErrorCode::config, path.string() + " exists; --force overwrites it");
}

}  // namespace

Result<Bytes> read_whole_file(const fs::path& path, std::size_t most_bytes) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) return fail(ErrorCode::config, path.string() + ": " + error.message());
  if (size > most_bytes) {
    return fail(ErrorCode::config, path.string() + " has " + std::to_string(size) +
                                       " bytes, at most " + std::to_string(most_bytes) +
                                       " can be read");
  }
  Bytes content(static_cast<std::size_t>(size));
  std::ifstream file(path, std::ios::binary);
  // Bytes are bytes: the stream wants them as char.
  file.read(reinterpret_cast<char*>(content.data()), static_cast<std::streamsize>(content.size()));
  if (!file || static_cast<std::size_t>(file.gcount()) != content.size())
    return fail(ErrorCode::config, path.string() + " cannot be read");
  return content;
}

Result<AtomicFile> AtomicFile::create(const fs::path& path, Overwrite overwrite) {
  std::error_code error;
  if (fs::exists(path, error)) {
    if (overwrite == Overwrite::no) return exists_already(path);
    if (!fs::is_regular_file(path, error))
      return fail(ErrorCode::config, path.string() + " is no ordinary file");
  }
  std::string draft = path.string() + ".XXXXXX";
  const int descriptor = ::mkostemp(draft.data(), O_CLOEXEC);
  if (descriptor < 0) return fail(ErrorCode::config, path.string() + ": " + std::strerror(errno));
  return AtomicFile(path, draft, descriptor, overwrite);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      draft_(std::exchange(other.draft_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)),
      overwrite_(other.overwrite_) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!draft_.empty()) ::unlink(draft_.c_str());
}

Error AtomicFile::failed(int error_number) const {
  return fail(ErrorCode::config, path_.string() + ": " + std::strerror(error_number));
}

Status AtomicFile::append(ByteView data) {
  while (!data.empty()) {
    const ssize_t moved = ::write(descriptor_, data.data(), data.size());
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) return failed(errno);
    data = data.subspan(static_cast<std::size_t>(moved));
  }
  return {};
}

Status AtomicFile::finish() {
  if (::fsync(descriptor_) != 0) return failed(errno);
  if (overwrite_ == Overwrite::yes) {
    if (::rename(draft_.c_str(), path_.c_str()) != 0) return failed(errno);
    draft_.clear();
    return {};
  }
  // A link, unlike a renaming, does not replace a file that appeared meanwhile.
  if (::link(draft_.c_str(), path_.c_str()) == 0) return {};
  if (errno == EEXIST) return exists_already(path_);
  // FAT has no links.
  if (::rename(draft_.c_str(), path_.c_str()) != 0) return failed(errno);
  draft_.clear();
  return {};
}

Status write_whole_file(const fs::path& path, ByteView content, Overwrite overwrite) {
  Result<AtomicFile> file = AtomicFile::create(path, overwrite);
  if (!file) return file.error();
  if (Status written = file->append(content); !written) return written;
  return file->finish();
}

}  // namespace tillbridge::pos
