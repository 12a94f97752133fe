// [[alert]] of tillbridged.toml. Included by config.cpp only, as config_reader.hpp.
#pragma once

#include <filesystem>
#include <vector>

#include "server/usb/config.hpp"
#include "server/usb/config_reader.hpp"

namespace tillbridge::server {

/// All [[alert]] tables of the document. Relative paths are relative to `folder`.
[[nodiscard]] std::vector<Config::Alert> read_alerts(ConfigTable& root, ConfigProblems& problems,
                                                     const std::filesystem::path& folder);

}  // namespace tillbridge::server
