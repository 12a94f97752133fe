#include "cli/receipts.hpp"

#include <algorithm>

namespace tillbridge::cli {

const std::array<Family, 3>& families() {
  static constexpr std::array<Family, 3> all{
      // Life cycle and start, life cycle and finish: each a frame that is written and one that is
      // read.
      Family{"cryptovision", "cryptovision / Bundesdruckerei D-TRUST", 8, true, 2 * 0.150},
      // Each step is opened and closed, a command block written and its answer read; the finish's
      // process data is written into the store in between.
      Family{"swissbit", "Swissbit, Epson", 9, true, 2 * 0.250},
      // Start: sizes and end. Finish: sizes, process data, end.
      Family{"diebold", "Diebold Nixdorf", 5, false, 2 * 0.250}};
  return all;
}

double receipt_seconds(const Family& family, double link_s, double rdp_s, bool pipeline) {
  double command = link_s + rdp_s;
  if (family.mass_storage) {
    command = pipeline ? 2 * rdp_s + std::max(rdp_s, link_s) : 3 * (link_s + rdp_s);
  }
  return family.commands * command + family.signing_s;
}

}  // namespace tillbridge::cli
