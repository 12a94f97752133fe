// The cryptovision / D-TRUST stick as a Tse.
#pragma once

#include <memory>

#include "pos/tse.hpp"

namespace tillbridge::pos {

[[nodiscard]] std::unique_ptr<Tse> make_cryptovision_tse(std::unique_ptr<StickVolume> volume,
                                                         OpenStyle style, Clock& clock);

}  // namespace tillbridge::pos
