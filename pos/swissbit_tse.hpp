// The Swissbit stick as a Tse.
#pragma once

#include <memory>
#include <string>

#include "pos/tse.hpp"

namespace tillbridge::pos {

/// `seed`: what the seller derived the PINs of the transport state from; empty: the usual one.
[[nodiscard]] std::unique_ptr<Tse> make_swissbit_tse(std::unique_ptr<StickVolume> volume,
                                                     OpenStyle style, Clock& clock,
                                                     const std::string& seed = "");

}  // namespace tillbridge::pos
