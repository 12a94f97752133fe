// The two wrappers of Bulk-Only Transport 1.0: command block (CBW) and command status (CSW).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::massstorage {

/// Direction of a command's data stage, as the host sees it.
enum class DataDirection : std::uint8_t { none, in, out };

/// bRequest of the two class requests (Bulk-Only Transport 3.1, 3.2).
inline constexpr std::uint8_t request_bulk_only_reset = 0xFF, request_get_max_lun = 0xFE;

/// A SCSI command descriptor block, 1 to 16 bytes; unused bytes are 0.
struct Cdb {
  static constexpr std::size_t max_size = 16;
  std::array<std::uint8_t, max_size> bytes{};
  std::uint8_t length = 0;

  [[nodiscard]] std::uint8_t operation() const noexcept { return bytes[0]; }
  [[nodiscard]] ByteView view() const noexcept { return ByteView(bytes).first(length); }
  bool operator==(const Cdb&) const = default;
};

/// Command Block Wrapper (Bulk-Only Transport 5.1).
struct CommandBlock {
  static constexpr std::size_t size =
      4 /* dCBWSignature "USBC" */ + 4 /* dCBWTag */ + 4 /* dCBWDataTransferLength */ +
      1 /* bmCBWFlags */ + 1 /* bCBWLUN */ + 1 /* bCBWCBLength */ + Cdb::max_size /* CBWCB */;
  static constexpr std::uint32_t signature = 0x43425355;  ///< "USBC", little endian
  static constexpr std::uint8_t flag_in = 0x80;

  std::uint32_t tag = 0;
  std::uint32_t data_length = 0;  ///< bytes the host is ready to move
  std::uint8_t flags = 0;         ///< bit 7: IN; the rest is reserved
  std::uint8_t lun = 0;           ///< low four bits; the rest is reserved
  Cdb cdb;

  /// What the host expects to happen; `flags` mean nothing where no data is expected.
  [[nodiscard]] DataDirection direction() const noexcept;
  bool operator==(const CommandBlock&) const = default;
};

/// bCSWStatus.
enum class CommandStatus : std::uint8_t { passed = 0, failed = 1, phase_error = 2 };

/// Command Status Wrapper (Bulk-Only Transport 5.2).
struct StatusBlock {
  static constexpr std::size_t size =
      4 /* dCSWSignature "USBS" */ + 4 /* dCSWTag */ + 4 /* dCSWDataResidue */ + 1 /* bCSWStatus */;
  static constexpr std::uint32_t signature = 0x53425355;  ///< "USBS", little endian

  std::uint32_t tag = 0;
  std::uint32_t residue = 0;  ///< bytes expected minus bytes that mean something
  CommandStatus status = CommandStatus::passed;
  bool operator==(const StatusBlock&) const = default;
};

[[nodiscard]] Bytes encode(const CommandBlock& block);
[[nodiscard]] Bytes encode(const StatusBlock& block);

/// Accepts exactly what is *valid* by size and signature (6.2.1) and *meaningful* without knowing
/// the device (6.2.2): no reserved bit, 1 to 16 command bytes. Whether the LUN exists is the
/// device's business.
[[nodiscard]] Result<CommandBlock> parse_command_block(ByteView bytes);

/// Accepts what is *valid* (6.3.1: 13 bytes, signature, the tag of `command`) and *meaningful*
/// (6.3.2: a known status; the residue not above what was expected, except after a phase error,
/// where it means nothing).
[[nodiscard]] Result<StatusBlock> parse_status_block(ByteView bytes, const CommandBlock& command);

}  // namespace tillbridge::massstorage
