// What the probe shall do with a device.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/reader.hpp"

namespace tillbridge::terminal::probe {

/// A region of a disk, in blocks.
struct Region {
  std::uint32_t block = 0;
  std::uint32_t count = 0;
};

/// Data to be written from a block on, then read back and compared.
struct WriteRegion {
  std::string name;  ///< of the file it came from
  std::uint32_t block = 0;
  std::shared_ptr<const Bytes> data;
};

struct Options {
  std::vector<Region> reads;
  std::vector<WriteRegion> writes;
  /// The SHA-256 (lower-case hex) that all that was read must have; empty: just tell it.
  std::string expected_sha256;
  /// Where all that was read goes; empty: nowhere.
  std::string save_path;
  std::uint32_t bench_rounds = 0;
  /// The benchmark writes as well: what it read, back to where it came from.
  bool bench_writes = false;
  /// Reads of 64 KiB in a row, one row a round; 0: none.
  std::uint32_t bench_sequential = 0;
  /// The benchmark compares with round trips of the channel. Not every client answers them.
  bool bench_round_trips = true;
  /// Most data of one SCSI command.
  std::uint32_t command_bytes = 64U << 10U;
  /// Bytes sent through a serial device and expected back.
  std::uint32_t serial_bytes = 4096;
  /// The probe ends the session after this many devices.
  std::uint32_t devices = 1;
  /// ... unless the session shall go on.
  bool stay = false;
  /// The most that a device may take to appear, and any one step to end.
  Duration patience = std::chrono::seconds(60);
};

}  // namespace tillbridge::terminal::probe
