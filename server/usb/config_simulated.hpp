// [[simulated]] of tillbridged.toml. Included by config.cpp only, as config_reader.hpp.
#pragma once

#include <filesystem>
#include <vector>

#include "server/simulator/factory.hpp"
#include "server/usb/config_reader.hpp"

namespace tillbridge::server {

/// All [[simulated]] tables of the document. Relative paths are relative to `folder`.
[[nodiscard]] std::vector<simulator::DeviceOptions> read_simulated(
    ConfigTable& root, ConfigProblems& problems, const std::filesystem::path& folder);

}  // namespace tillbridge::server
