// The timer of a state machine, under the name that this room uses.
#pragma once

#include "channel/transport/deadline.hpp"

namespace tillbridge::plugin {

using transport::Deadline;

}  // namespace tillbridge::plugin
