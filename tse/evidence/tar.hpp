// TAR archives as TSEs export them: POSIX ustar, regular files only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::tse {

inline constexpr std::size_t tar_block_bytes = 512;
/// Two blocks of zeros at the end. A TSE's bulk export leaves them out; whoever stores it adds
/// them.
inline constexpr std::size_t tar_trailer_bytes = 2 * tar_block_bytes;

struct TarEntry {
  std::string name;
  Bytes content;
  std::uint64_t modified_s = 0;
};

/// A name without folders; the header's prefix field only ever holds folders.
inline constexpr std::size_t tar_name_bytes = 100;

/// Header and content, padded to whole blocks; no trailer. The name is at most tar_name_bytes.
[[nodiscard]] Bytes tar_entry(const TarEntry& entry);
/// A whole archive. Missing trailer blocks are allowed; anything but regular files, a bad checksum
/// or a truncated file is an error that names the entry.
[[nodiscard]] Result<std::vector<TarEntry>> read_tar(ByteView archive);

/// An entry whose content stays where it is, in the archive.
struct TarView {
  std::string name;
  ByteView content;
  std::uint64_t modified_s = 0;
};
/// As read_tar(), without copying: fills `entries` with what stands before the first fault.
[[nodiscard]] Status view_tar(ByteView archive, std::vector<TarView>& entries);
/// Does it end with its trailer? One that does not was perhaps cut between two entries.
[[nodiscard]] bool has_tar_trailer(ByteView archive);

}  // namespace tillbridge::tse
