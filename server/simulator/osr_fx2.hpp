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
  usb::Speed speed = usb::Speed::high;  ///< high or full
  /// A read of the switches that waited this long sees one of them flipped; 0: only a hand does.
  Duration flip_every{0};
};

/// One vendor-class interface: 81 interrupt IN (the eight switches, a byte for each change), 06
/// bulk OUT, 88 bulk IN (what came on 06, looped back packet by packet). Vendor requests: bar graph
/// (write D8, read D7), seven-segment display (DB, D4), high speed? (D9), switches (D6). The
/// displays keep what they show over a bus reset, the switches over a power cycle, too.
[[nodiscard]] std::unique_ptr<Device> make_osr_fx2(const OsrFx2Options& options);

/// What a hand can reach on the device.
class SwitchPack {
 public:
  virtual ~SwitchPack() = default;
  /// Bit n is switch n + 1. Nothing happens if they stand that way already.
  virtual void set_switches(std::uint8_t positions, Instant now) = 0;

 protected:
  SwitchPack() = default;

 public:
  SwitchPack(const SwitchPack&) = delete;
  SwitchPack& operator=(const SwitchPack&) = delete;
};

/// nullptr: the device has none.
[[nodiscard]] SwitchPack* switch_pack(Device& device);

}  // namespace tillbridge::simulator
