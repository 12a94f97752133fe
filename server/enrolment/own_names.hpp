// How this machine can be reached.
#pragma once

#include <string>
#include <vector>

namespace tillbridge::enrolment {

/// Its name and the addresses of its interfaces; the one that tills are told best comes first: an
/// address of the network before the bare name, the loopback's last.
[[nodiscard]] std::vector<std::string> own_names();

}  // namespace tillbridge::enrolment
