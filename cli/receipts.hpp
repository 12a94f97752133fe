// How long a receipt takes at a till, from what was measured on its way to the stick.
#pragma once

#include <array>
#include <string_view>

namespace tillbridge::cli {

/// What a receipt (start and finish of a transaction, each signed) asks of a family of sticks, at
/// least: what the clients that are known do, without polling.
struct Family {
  std::string_view name, products;
  /// Mass storage: SCSI commands, of three transfers each. Serial: requests with their answers.
  unsigned commands;
  bool mass_storage;
  double signing_s;  ///< both signatures, as the makers rate them
};
[[nodiscard]] const std::array<Family, 3>& families();

/// Round trips x round-trip time + signing. `link_s`: of the till's way to the USB server, as one
/// command needs it; `rdp_s`: of the RDP session's leg, 0 if only the link counts.
///
/// Plain forwarding crosses both legs with each of a command's three transfers: 3 (link + rdp).
/// With the pipeline the link works while the session's three transfers go on: they take 3 rdp, or
/// 2 rdp + link where the link is the longer one. Serial sticks have one transfer in flight each
/// way; a request and its answer are one round trip of both legs.
[[nodiscard]] double receipt_seconds(const Family& family, double link_s, double rdp_s,
                                     bool pipeline);

}  // namespace tillbridge::cli
