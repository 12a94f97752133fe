// OsrFx2: a simulated OSR USB-FX2 learning board, the device of Microsoft's conformance suite.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "channel/bytes/instant.hpp"
#include "server/simulator/device.hpp"

namespace tillbridge::simulator {

struct OsrFx2Options {
  std::uint16_t vendor_id = 0x0547, product_id = 0x1002;  ///< the board's own
  std::string manufacturer = "OSR", product = "Simulated USB-FX2 learning board";
  std::string serial = "000000000006";
  std::string path = "simulated-6";
  Duration delay{0};
};

/// One vendor-class interface: 81 interrupt IN (the eight switches, a byte for each change), 06
/// bulk OUT, 88 bulk IN (what came on 06, looped back). Vendor requests: bar graph (write D8, read
/// D7), seven-segment display (DB, D4), high speed? (D9), switches (D6).
[[nodiscard]] std::unique_ptr<Device> make_osr_fx2(const OsrFx2Options& options);

}  // namespace tillbridge::simulator
