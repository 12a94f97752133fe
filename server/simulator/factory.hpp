// Makes a simulated device from what a person configured.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"
#include "server/simulator/device.hpp"

namespace tillbridge::simulator {

/// What only the kinds with a TSE have. A number that is not there takes the family's own value
/// (signing 150 or 250 ms, self test 25 s ...).
struct TseOptions {
  /// The folder with key, certificates, log and state, made if it does not exist; empty: a new TSE
  /// at each start, lost at the end. cryptovision and Swissbit also need `image` to keep their
  /// disk.
  std::string state;
  /// "P-256", "P-384", "brainpoolP256r1" or "brainpoolP384r1"; empty: the family's. Decides only
  /// for a new TSE.
  std::string curve;
  std::optional<std::uint32_t> signing_ms, signing_jitter_ms, self_test_ms, start_up_ms;
  /// Idle this long, the stick sleeps; its first command then takes wake_up_ms longer.
  std::optional<std::uint32_t> sleep_after_s, wake_up_ms;
  bool sleep_loses_answer = false;
  std::optional<std::uint32_t> export_first_byte_ms, export_kib_per_s;
  /// diebold: an answer comes in pieces of 64 bytes with this much time between them.
  std::optional<std::uint32_t> packet_gap_ms;
  /// Until the time, and the self test, have to be done again.
  std::optional<std::uint32_t> time_valid_s, self_test_valid_s;
  /// Simulated seconds for each real one.
  double clock_rate = 1.0;
  std::optional<std::uint64_t> most_signatures;
  std::optional<std::uint32_t> store_mib, most_clients, most_open_transactions;
  /// Unix seconds; decides only for a new TSE.
  std::optional<std::int64_t> certificate_end_s;

  bool operator==(const TseOptions&) const = default;
};

/// One simulated stick as it stands in a configuration file; the member names are the keys. A text
/// left empty and a number left 0 take the default of the kind.
struct DeviceOptions {
  /// "mass-storage", "serial-echo", "osr-fx2", or a TSE: "cryptovision", "swissbit" or "diebold".
  std::string kind = "mass-storage";
  /// Where the stick sits, as DeviceDescription::path: "simulated-1". Part of the default serial.
  std::string path = "simulated-1";

  /// Default 1209:0001 (mass-storage), 0002 (serial-echo), 0003 (cryptovision), 0004 (swissbit) and
  /// 0005 (diebold): pid.codes' ids for tests, nobody's product. osr-fx2: the board's own
  /// 0547:1002.
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
  /// Decides everything about the stick that is random.
  std::uint64_t seed = 1;
  /// From the start on; see faults.hpp for how to write one.
  std::vector<std::string> faults;

  /// osr-fx2: a read of the switches that waited this long sees one flipped; 0: only a hand does.
  std::uint32_t flip_every_ms = 0;

  // with a disk only
  /// The disk's file; empty: memory, lost at the end. A file that does not exist is made and
  /// formatted, an existing one is used as it is.
  std::string image;
  std::uint32_t size_mib = 64;      ///< of a new disk: 8 to 1048576
  std::string label;                ///< of a new disk; default "TSE" or "SWISSBIT"
  std::uint32_t cluster_bytes = 0;  ///< of a new disk; power of two from 512 to 32768, 0: what fits
  /// mass-storage: writes README.TXT and PATTERN.BIN (1 MiB, pattern_bytes(1 MiB, 1)) to a new
  /// disk.
  bool sample_files = true;
  bool write_protected = false;
  /// INQUIRY: at most 8, 16 and 4 ASCII characters.
  std::string inquiry_vendor, inquiry_product, inquiry_revision;

  TseOptions tse;

  bool operator==(const DeviceOptions&) const = default;
};

/// ErrorCode::config names the key that is wrong and what is allowed; ErrorCode::io says what the
/// system did not do.
[[nodiscard]] Result<std::unique_ptr<Device>> make_device(const DeviceOptions& options);

}  // namespace tillbridge::simulator
