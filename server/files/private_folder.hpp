// Folders and files that nobody but the server's own user may read, changed so that a power cut
// leaves the old or the new, never something between.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "channel/bytes/result.hpp"

namespace tillbridge::files {

/// A folder of ours, mode 0700, that one process at a time has open (a lock that the kernel takes
/// back when the process ends, however it ends).
class PrivateFolder {
 public:
  /// Makes it, with its parents, if it is not there. Errors: `unavailable` (somebody has it open:
  /// "another tillbridged uses this folder"), `config` (it belongs to somebody else, or others may
  /// look into it: never put right silently, since it may be a folder like /tmp), `io`.
  [[nodiscard]] static Result<PrivateFolder> open(const std::filesystem::path& path);
  ~PrivateFolder();
  PrivateFolder(PrivateFolder&& other) noexcept;
  PrivateFolder& operator=(PrivateFolder&& other) noexcept;
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  /// Names that were made, renamed or removed in it are durable after this.
  [[nodiscard]] Status sync() const;

 private:
  PrivateFolder(std::filesystem::path path, int descriptor)
      : path_(std::move(path)), descriptor_(descriptor) {}
  std::filesystem::path path_;
  int descriptor_;
};

/// `config` unless it is a plain file that belongs to us and that others cannot read or write.
[[nodiscard]] Status check_private_file(const std::filesystem::path& file);

/// The whole file. Errors: `unavailable` (it is not there), `limit` (longer than `most`), `io`.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& file, std::size_t most);

/// Makes or replaces the file as a whole; durable when it returns success, the old or the new after
/// an error. Its folder must be there.
[[nodiscard]] Status write_file(const std::filesystem::path& file, std::string_view content,
                                mode_t mode = 0600);

/// "No space left on device", and what to do about it where that is known. For an Error's message:
/// `what` is like "/var/lib/tillbridge/head.json cannot be written".
[[nodiscard]] Error system_error(const std::string& what, int error_number);

}  // namespace tillbridge::files
