// Makes a simulated device from what a person configured.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"
#include "server/simulator/device.hpp"

namespace tillbridge::simulator {

/// One simulated stick as it stands in a configuration file; the member names are the keys. A text
/// left empty and a number left 0 take the default of the kind.
struct DeviceOptions {
  /// "mass-storage" or "serial-echo".
  std::string kind = "mass-storage";
  /// Where the stick sits, as DeviceDescription::path: "simulated-1". Part of the default serial.
  std::string path = "simulated-1";

  /// Default 1209:0001 (mass-storage) and 1209:0002 (serial-echo): pid.codes' ids for tests,
  /// nobody's product.
  std::uint16_t vendor_id = 0;
  std::uint16_t product_id = 0;
  std::string manufacturer, product;
  /// mass-storage: at least 12 upper-case hexadecimal digits (Bulk-Only Transport 4.1.1). Default:
  /// made from `path`.
  std::string serial;
  /// "high" or "full".
  std::string speed = "high";
  /// Each transfer ends this much after it was submitted, or after the one before it; at most 60 s.
  std::uint32_t delay_us = 0;

  // mass-storage only
  /// The disk's file; empty: memory, lost at the end. A file that does not exist is made and
  /// formatted, an existing one is used as it is.
  std::string image;
  std::uint32_t size_mib = 64;      ///< of a new disk: 8 to 1048576
  std::string label = "TSE";        ///< of a new disk
  std::uint32_t cluster_bytes = 0;  ///< of a new disk; power of two from 512 to 32768, 0: what fits
  /// Writes README.TXT and PATTERN.BIN (1 MiB, pattern_bytes(1 MiB, 1)) to a new disk.
  bool sample_files = true;
  bool write_protected = false;
  /// INQUIRY: at most 8, 16 and 4 ASCII characters.
  std::string inquiry_vendor, inquiry_product, inquiry_revision;
};

/// ErrorCode::config names the key that is wrong and what is allowed; ErrorCode::io says what the
/// system did not do.
[[nodiscard]] Result<std::unique_ptr<Device>> make_device(const DeviceOptions& options);

}  // namespace tillbridge::simulator
