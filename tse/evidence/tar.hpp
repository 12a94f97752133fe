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

/// Header and content, padded to whole blocks; no trailer. Names up to 255 bytes (prefix field).
[[nodiscard]] Bytes tar_entry(const TarEntry& entry);
/// A whole archive. Missing trailer blocks are allowed; anything but regular files, a bad checksum
/// or a truncated file is an error that names the entry.
[[nodiscard]] Result<std::vector<TarEntry>> read_tar(ByteView archive);

}  // namespace tillbridge::tse
