// MountedStick: the files of a stick that the system has mounted.
#pragma once

#include <filesystem>
#include <memory>

#include "pos/stick_io.hpp"

namespace tillbridge::pos {

/// `folder`: where the stick is mounted. A file system without unbuffered I/O (O_DIRECT) is refused
/// when a file is opened, except in OpenStyle::cached. Errors: config (this machine's set-up),
/// unavailable (the stick is gone), io.
[[nodiscard]] Result<std::unique_ptr<StickVolume>> open_mounted_stick(
    const std::filesystem::path& folder);

}  // namespace tillbridge::pos
