// The families of TSE sticks that the POS talks to.
#pragma once

#include <cstdint>

namespace tillbridge::pos {

enum class Family : std::uint8_t {
  cryptovision,  ///< cryptovision / Bundesdruckerei D-TRUST: TSE-IO.bin
  swissbit,      ///< Swissbit: TSE_COMM.DAT, TSE_INFO.DAT, TSE_TAR.nnn
  diebold,       ///< Diebold Nixdorf: a serial line
};
/// "cryptovision", "swissbit", "diebold"
[[nodiscard]] const char* name_of(Family family);

}  // namespace tillbridge::pos
