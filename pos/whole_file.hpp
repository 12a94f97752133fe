// Files of this machine, read and written as a whole.
#pragma once

#include <filesystem>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::pos {

/// ErrorCode::config: not there, no file, or longer than `most_bytes`.
[[nodiscard]] Result<Bytes> read_whole_file(const std::filesystem::path& path,
                                            std::size_t most_bytes);

enum class Overwrite : bool { no, yes };

/// A file that appears under its name only when it is complete: readers see the old one, or none,
/// or the new one. Mode 0600.
class AtomicFile {
 public:
  /// ErrorCode::config: it exists and may not be overwritten.
  [[nodiscard]] static Result<AtomicFile> create(const std::filesystem::path& path,
                                                 Overwrite overwrite);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  /// Without finish(): as if nothing had been.
  ~AtomicFile();
  [[nodiscard]] Status append(ByteView data);
  /// On the disk, then under its name.
  [[nodiscard]] Status finish();

 private:
  AtomicFile(std::filesystem::path path, std::filesystem::path draft, int descriptor,
             Overwrite overwrite)
      : path_(std::move(path)),
        draft_(std::move(draft)),
        descriptor_(descriptor),
        overwrite_(overwrite) {}
  [[nodiscard]] Error failed(int error_number) const;

  std::filesystem::path path_, draft_;
  int descriptor_;
  Overwrite overwrite_;
};

[[nodiscard]] Status write_whole_file(const std::filesystem::path& path, ByteView content,
                                      Overwrite overwrite);

}  // namespace tillbridge::pos
