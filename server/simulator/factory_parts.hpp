// What the factory's kinds have in common. For factory.cpp and tse/make_tse.cpp.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "channel/bytes/result.hpp"
#include "server/simulator/factory.hpp"
#include "server/simulator/mass_storage_stick.hpp"
#include "server/simulator/medium.hpp"
#include "server/simulator/serial_device.hpp"

namespace tillbridge::simulator {

/// "KEY = "VALUE": ALLOWED"
[[nodiscard]] Error wrong_option(std::string_view key, std::string_view value,
                                 std::string_view allowed);

/// What was configured, over the kind's own values. Checked.
[[nodiscard]] Result<StickOptions> stick_options(const DeviceOptions& options,
                                                 StickOptions defaults);
[[nodiscard]] SerialOptions serial_options(const DeviceOptions& options, SerialOptions defaults);

/// The image as it is, or a new one (file or memory) that `format` has been over. A half-made file
/// does not stay.
[[nodiscard]] Result<std::unique_ptr<Medium>> open_disk(
    const DeviceOptions& options, const std::function<Status(Medium&)>& format);

}  // namespace tillbridge::simulator
