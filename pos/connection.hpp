// Which stick is meant, and the Tse for it.
#pragma once

#include <memory>

#include "pos/clock.hpp"
#include "pos/finder.hpp"
#include "pos/options.hpp"
#include "pos/tse.hpp"

namespace tillbridge::pos {

/// Not connected yet.
[[nodiscard]] Outcome<std::unique_ptr<Tse>> choose_tse(const Options& options,
                                                       const FinderRoots& roots, Clock& clock);

}  // namespace tillbridge::pos
