// The factory's kinds with a TSE.
#pragma once

#include <memory>

#include "channel/bytes/result.hpp"
#include "server/simulator/factory.hpp"

namespace tillbridge::simulator::tse {

/// As make_device(), for the kinds "cryptovision", "swissbit" and "diebold"; any other one is a
/// configuration error that names all kinds.
[[nodiscard]] Result<std::unique_ptr<Device>> make_tse(const DeviceOptions& options);

}  // namespace tillbridge::simulator::tse
