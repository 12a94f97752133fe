#include "pos/mounted_stick.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/bytes/limits.hpp"

namespace tillbridge::pos {
namespace {

constexpr std::size_t block_bytes = 512;
/// What unbuffered I/O wants of a buffer's address; a page suits every file system.
constexpr std::size_t page_bytes = 4096;
/// One system call moves at most this much.
constexpr std::size_t piece_bytes = 256U << 10U;
/// What clients that make the file anew write into it.
constexpr std::size_t control_file_bytes = 8192;

Error failed(const std::string& what, int error_number) {
  const std::string reason = std::strerror(error_number);
  switch (error_number) {
    case EACCES:
    case EPERM:
      return fail(ErrorCode::config,
                  what + ": " + reason +
                      "; mount the stick so that you may write to it (option uid=), or run this as "
                      "the user who may");
    case EROFS:
      return fail(ErrorCode::config,
                  what +
                      ": the stick is mounted read-only; a TSE is talked to by writing. "
                      "Mount it read-write");
    case ENOENT:
    case EIO:
    case ENODEV:
    case ENXIO:
    case ESTALE:
    case ESHUTDOWN:
    case ENOTCONN:
      return fail(ErrorCode::unavailable, what + ": " + reason +
                                              "; the stick is gone or mounted "
                                              "somewhere else by now");
    default:
      return fail(ErrorCode::io, what + ": " + reason);
  }
}

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  [[nodiscard]] int number() const { return number_; }

 private:
  int number_ = -1;
};

class PageBuffer {
 public:
  PageBuffer() : data_(static_cast<std::uint8_t*>(std::aligned_alloc(page_bytes, piece_bytes))) {
    if (!data_) throw std::bad_alloc();
  }
  [[nodiscard]] std::span<std::uint8_t> first(std::size_t size) {
    return std::span<std::uint8_t>(data_.get(), piece_bytes).first(size);
  }

 private:
  struct Free {
    void operator()(std::uint8_t* data) const { std::free(data); }
  };
  std::unique_ptr<std::uint8_t, Free> data_;
};

/// One system call and what it moved.
using Move = ssize_t (*)(int descriptor, std::span<std::uint8_t> data, off_t offset);
ssize_t read_some(int descriptor, std::span<std::uint8_t> data, off_t offset) {
  return ::pread(descriptor, data.data(), data.size(), offset);
}
ssize_t write_some(int descriptor, std::span<std::uint8_t> data, off_t offset) {
  return ::pwrite(descriptor, data.data(), data.size(), offset);
}

class MountedFile final : public StickFile {
 public:
  MountedFile(std::string path, OpenStyle style) : path_(std::move(path)), style_(style) {}

  [[nodiscard]] Status begin() {
    switch (style_) {
      case OpenStyle::direct:
      case OpenStyle::direct_zeroed:
      case OpenStyle::recreated:
      case OpenStyle::each_time: {
        Result<Descriptor> opened = open(O_RDWR | O_DIRECT | O_SYNC);
        if (!opened) return opened.error();
        handle_ = std::move(*opened);
        break;
      }
      case OpenStyle::cached: {
        if (Status opened = begin_cached(); !opened) return opened;
        break;
      }
    }
    if (Status measured = measure(); !measured) return measured;
    if (style_ == OpenStyle::direct_zeroed) return zero();
    if (style_ == OpenStyle::recreated) return recreate();
    if (style_ == OpenStyle::each_time) handle_ = Descriptor();
    return {};
  }

  [[nodiscard]] std::uint64_t size() const override { return size_; }

  [[nodiscard]] Status read(std::uint64_t offset, std::span<std::uint8_t> data) override {
    if (Status fits = check(offset, data.size()); !fits) return fits;
    if (style_ == OpenStyle::cached) return read_past_cache(offset, data);
    if (style_ != OpenStyle::each_time) return read_from(handle_, offset, data);
    Result<Descriptor> handle = open(O_RDONLY | O_DIRECT | O_SYNC);
    if (!handle) return handle.error();
    // These clients read the header first, and the rest from the same open file.
    const std::size_t head = std::min(block_bytes, data.size());
    if (Status read = read_from(*handle, offset, data.first(head)); !read) return read;
    return read_from(*handle, offset + head, data.subspan(head));
  }

  [[nodiscard]] Status write(std::uint64_t offset, ByteView data) override {
    if (Status fits = check(offset, data.size()); !fits) return fits;
    if (style_ != OpenStyle::each_time) return write_to(handle_, offset, data);
    Result<Descriptor> handle = open(O_WRONLY | O_DIRECT | O_SYNC);
    if (!handle) return handle.error();
    return write_to(*handle, offset, data);
  }

 private:
  [[nodiscard]] Result<Descriptor> open(int flags) const {
    Descriptor opened(::open(path_.c_str(), flags | O_CLOEXEC));
    if (opened.number() >= 0) return opened;
    if (errno == EINVAL && (flags & O_DIRECT) != 0) {
      return fail(ErrorCode::config,
                  path_ +
                      ": this file system has no unbuffered I/O (O_DIRECT), so it is not a "
                      "stick's. To use it all the same: --open-style cached");
    }
    return failed(path_, errno);
  }

  [[nodiscard]] Status begin_cached() {
    Result<Descriptor> writing = open(O_RDWR | O_SYNC);
    if (!writing) return writing.error();
    handle_ = std::move(*writing);
    Result<Descriptor> reading = open(O_RDONLY | O_DIRECT);
    if (!reading) {
      if (reading.error().code != ErrorCode::config) return reading.error();
      drops_cache_ = true;
      reading = open(O_RDONLY);
      if (!reading) return reading.error();
    }
    reading_ = std::move(*reading);
    return {};
  }

  [[nodiscard]] Status measure() {
    struct stat status {};
    if (::fstat(handle_.number(), &status) != 0) return failed(path_, errno);
    size_ = static_cast<std::uint64_t>(status.st_size);
    return {};
  }

  [[nodiscard]] Status zero() {
    return write_to(handle_, 0, Bytes(std::min<std::uint64_t>(size_, control_file_bytes)));
  }

  /// As an ordinary "write all bytes" does it, while the unbuffered handle stays open.
  [[nodiscard]] Status recreate() {
    Result<Descriptor> anew = open(O_WRONLY | O_TRUNC);
    if (!anew) return anew.error();
    if (Status written = write_to(*anew, 0, Bytes(control_file_bytes)); !written) return written;
    return measure();
  }

  [[nodiscard]] Status check(std::uint64_t offset, std::size_t size) const {
    const bool whole_blocks = offset % block_bytes == 0 && size % block_bytes == 0;
    if ((whole_blocks || style_ == OpenStyle::cached) && offset <= size_ &&
        size <= size_ - offset) {
      return {};
    }
    return fail(ErrorCode::io, path_ + " has " + std::to_string(size_) + " bytes; " +
                                   std::to_string(size) + " bytes at " + std::to_string(offset) +
                                   " are not a range of it. Is this a TSE's file?");
  }

  [[nodiscard]] Status read_past_cache(std::uint64_t offset, std::span<std::uint8_t> data) {
    if (drops_cache_) {
      ::posix_fadvise(reading_.number(), 0, 0, POSIX_FADV_DONTNEED);
      return read_from(reading_, offset, data);
    }
    // The reading handle is unbuffered and needs whole blocks.
    const std::uint64_t begin = offset / block_bytes * block_bytes;
    const std::uint64_t end = (offset + data.size() + block_bytes - 1) / block_bytes * block_bytes;
    Bytes blocks(static_cast<std::size_t>(end - begin));
    if (Status read = read_from(reading_, begin, blocks); !read) return read;
    const ByteView wanted =
        ByteView(blocks).subspan(static_cast<std::size_t>(offset - begin), data.size());
    std::copy(wanted.begin(), wanted.end(), data.begin());
    return {};
  }

  [[nodiscard]] Status read_from(const Descriptor& handle, std::uint64_t offset,
                                 std::span<std::uint8_t> data) {
    while (!data.empty()) {
      const std::span<std::uint8_t> piece = buffer_.first(std::min(data.size(), piece_bytes));
      if (Status read = move(read_some, handle, piece, offset, "reading "); !read) return read;
      std::copy(piece.begin(), piece.end(), data.begin());
      data = data.subspan(piece.size());
      offset += piece.size();
    }
    return {};
  }

  [[nodiscard]] Status write_to(const Descriptor& handle, std::uint64_t offset, ByteView data) {
    while (!data.empty()) {
      const std::span<std::uint8_t> piece = buffer_.first(std::min(data.size(), piece_bytes));
      std::copy_n(data.begin(), piece.size(), piece.begin());
      if (Status written = move(write_some, handle, piece, offset, "writing "); !written)
        return written;
      data = data.subspan(piece.size());
      offset += piece.size();
    }
    return {};
  }

  /// All of the piece in one call: a rest that is asked for again could be a command sent twice.
  [[nodiscard]] Status move(Move move_some, const Descriptor& handle, std::span<std::uint8_t> piece,
                            std::uint64_t offset, const char* what) const {
    const ssize_t moved = move_some(handle.number(), piece, static_cast<off_t>(offset));
    if (moved < 0) return failed(what + path_, errno);
    if (static_cast<std::size_t>(moved) != piece.size())
      return fail(ErrorCode::io, what + path_ + " stopped half-way; the stick may be gone");
    return {};
  }

  std::string path_;
  OpenStyle style_;
  Descriptor handle_;
  Descriptor reading_;  ///< OpenStyle::cached only
  bool drops_cache_ = false;
  std::uint64_t size_ = 0;
  PageBuffer buffer_;
};

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + ('a' - 'A')) : letter;
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

class MountedStick final : public StickVolume {
 public:
  explicit MountedStick(std::filesystem::path folder) : folder_(std::move(folder)) {}

  [[nodiscard]] std::string name() const override { return folder_.string(); }

  [[nodiscard]] Result<std::vector<std::string>> list() override {
    std::vector<std::string> names;
    std::error_code error;
    std::filesystem::directory_iterator entry(folder_, error);
    while (!error && entry != std::filesystem::directory_iterator()) {
      if (names.size() == limits::pos_folder_entries) {
        return fail(ErrorCode::limit, folder_.string() + " has more than " +
                                          std::to_string(limits::pos_folder_entries) +
                                          " entries: not the root of a TSE stick");
      }
      names.push_back(entry->path().filename().string());
      entry.increment(error);
    }
    if (error) return failed(folder_.string(), error.value());
    return names;
  }

  [[nodiscard]] Result<std::unique_ptr<StickFile>> open(std::string_view file,
                                                        OpenStyle style) override {
    Result<std::vector<std::string>> names = list();
    if (!names) return names.error();
    const auto entry = std::find_if(names->begin(), names->end(),
                                    [&](const std::string& name) { return same_name(name, file); });
    if (entry == names->end()) {
      return fail(ErrorCode::unavailable, folder_.string() + " has no file " + std::string(file) +
                                              ": the stick is gone, or it is another one");
    }
    auto opened = std::make_unique<MountedFile>((folder_ / *entry).string(), style);
    if (Status begun = opened->begin(); !begun) return begun.error();
    return std::unique_ptr<StickFile>(std::move(opened));
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace

Result<std::unique_ptr<StickVolume>> open_mounted_stick(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    return fail(ErrorCode::unavailable,
                folder.string() + " is no folder; give the one where the stick is mounted");
  }
  return std::unique_ptr<StickVolume>(std::make_unique<MountedStick>(folder));
}

}  // namespace tillbridge::pos
