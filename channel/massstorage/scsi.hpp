// The SCSI commands (SPC-4, SBC-3) that sticks and hosts use: command blocks built and read, sense
// data, replies.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "channel/bytes/result.hpp"
#include "channel/massstorage/command_block.hpp"

namespace tillbridge::massstorage::scsi {

/// Operation codes: byte 0 of a command descriptor block.
namespace operation {
inline constexpr std::uint8_t test_unit_ready = 0x00, request_sense = 0x03, read_6 = 0x08,
                              write_6 = 0x0A, inquiry = 0x12, mode_select_6 = 0x15,
                              mode_sense_6 = 0x1A, start_stop_unit = 0x1B,
                              prevent_medium_removal = 0x1E, read_format_capacities = 0x23,
                              read_capacity_10 = 0x25, read_10 = 0x28, write_10 = 0x2A,
                              verify_10 = 0x2F, synchronize_cache_10 = 0x35, mode_sense_10 = 0x5A,
                              ata_pass_through_16 = 0x85, read_16 = 0x88, write_16 = 0x8A,
                              report_luns = 0xA0, ata_pass_through_12 = 0xA1, read_12 = 0xA8,
                              write_12 = 0xAA;
}  // namespace operation

/// Sense key, additional sense code and its qualifier: why a command failed. Written 05/20/00.
struct Sense {
  /// Fixed format (SPC-4, 4.5.3): byte 0 response code, 2 key, 7 additional length, 12 and 13 the
  /// codes.
  static constexpr std::size_t size = 18;
  std::uint8_t key = 0, code = 0, qualifier = 0;

  [[nodiscard]] std::string text() const;  ///< "05/20/00 invalid command operation code"
  bool operator==(const Sense&) const = default;
};

namespace sense {
inline constexpr Sense none{0x00, 0x00, 0x00}, not_ready_no_medium{0x02, 0x3A, 0x00},
    write_error{0x03, 0x0C, 0x00}, unrecovered_read_error{0x03, 0x11, 0x00},
    invalid_operation{0x05, 0x20, 0x00}, block_out_of_range{0x05, 0x21, 0x00},
    invalid_field{0x05, 0x24, 0x00}, lun_not_supported{0x05, 0x25, 0x00},
    saving_parameters_not_supported{0x05, 0x39, 0x00}, medium_removal_prevented{0x05, 0x53, 0x02},
    medium_changed{0x06, 0x28, 0x00}, reset_occurred{0x06, 0x29, 0x00},
    write_protected{0x07, 0x27, 0x00}, data_phase_error{0x0B, 0x4B, 0x00},
    miscompare{0x0E, 0x1D, 0x00};
}  // namespace sense

[[nodiscard]] Bytes encode(const Sense& sense);
/// Fixed (70, 71) and descriptor (72, 73) format; a reply too short to hold the codes yields an
/// error.
[[nodiscard]] Result<Sense> parse_sense(ByteView bytes);

/// A command that names a range of blocks: READ and WRITE (6, 10, 12, 16), VERIFY(10), SYNCHRONIZE
/// CACHE(10).
struct BlockCommand {
  enum class Kind : std::uint8_t { read, write, verify, synchronize };
  Kind kind = Kind::read;
  std::uint64_t block = 0;  ///< logical block address
  std::uint32_t count = 0;  ///< blocks; for synchronize 0 means up to the end
  /// Byte 1 as sent, without the address bits of the 6-byte form: protection, DPO, FUA, BYTCHK.
  std::uint8_t flags = 0;
  bool operator==(const BlockCommand&) const = default;
};
inline constexpr std::uint8_t flag_force_unit_access = 0x08;  ///< FUA of READ and WRITE
inline constexpr std::uint8_t flag_byte_check = 0x02;         ///< BYTCHK of VERIFY
inline constexpr std::uint8_t mask_protection = 0xE0;         ///< RDPROTECT and its likes

/// Nothing for any other command, and for one with fewer bytes than its operation code asks for.
[[nodiscard]] std::optional<BlockCommand> parse_block_command(const Cdb& cdb);

/// Bytes that an operation code's group needs (SPC-4, 4.2.5.1); 0 for reserved and vendor groups.
[[nodiscard]] std::uint8_t cdb_size(std::uint8_t operation);

[[nodiscard]] Cdb test_unit_ready();
[[nodiscard]] Cdb request_sense(std::uint8_t allocation_length = Sense::size);
[[nodiscard]] Cdb inquiry(std::uint16_t allocation_length);
[[nodiscard]] Cdb inquiry_page(std::uint8_t page, std::uint16_t allocation_length);
[[nodiscard]] Cdb mode_sense_6(std::uint8_t page, std::uint8_t allocation_length);
[[nodiscard]] Cdb mode_sense_10(std::uint8_t page, std::uint16_t allocation_length);
[[nodiscard]] Cdb start_stop_unit(bool start, bool load_or_eject);
[[nodiscard]] Cdb prevent_medium_removal(bool prevent);
[[nodiscard]] Cdb read_format_capacities(std::uint16_t allocation_length);
[[nodiscard]] Cdb read_capacity_10();
[[nodiscard]] Cdb report_luns(std::uint32_t allocation_length);
[[nodiscard]] Cdb read_10(std::uint32_t block, std::uint16_t count);
[[nodiscard]] Cdb write_10(std::uint32_t block, std::uint16_t count);
[[nodiscard]] Cdb verify_10(std::uint32_t block, std::uint16_t count, bool compare_bytes);
[[nodiscard]] Cdb synchronize_cache_10();
/// The 6-byte form takes 21 bits of address and 1 to 256 blocks (256 is sent as 0).
[[nodiscard]] Cdb read_6(std::uint32_t block, std::uint16_t count);
[[nodiscard]] Cdb write_6(std::uint32_t block, std::uint16_t count);
[[nodiscard]] Cdb read_12(std::uint32_t block, std::uint32_t count);
[[nodiscard]] Cdb write_12(std::uint32_t block, std::uint32_t count);
[[nodiscard]] Cdb read_16(std::uint64_t block, std::uint32_t count);
[[nodiscard]] Cdb write_16(std::uint64_t block, std::uint32_t count);

/// The part of a standard INQUIRY reply (36 bytes) that people and drivers look at.
struct InquiryReply {
  static constexpr std::size_t size = 8 /* type, removable, version, format, flags */ +
                                      8 /* vendor */ + 16 /* product */ + 4 /* revision */;
  std::uint8_t device_type = 0;
  bool removable = false;
  std::uint8_t version = 0;
  std::string vendor, product, revision;  ///< ASCII, without the padding
  bool operator==(const InquiryReply&) const = default;
};
[[nodiscard]] Result<InquiryReply> parse_inquiry(ByteView bytes);

/// READ CAPACITY(10).
struct Capacity {
  static constexpr std::size_t size = 4 /* last block */ + 4 /* block size */;
  std::uint64_t block_count = 0;
  std::uint32_t block_size = 0;  ///< bytes
  bool operator==(const Capacity&) const = default;
};
/// A block size of 0, or one that is no power of two up to 64 KiB, is an error.
[[nodiscard]] Result<Capacity> parse_capacity(ByteView bytes);

}  // namespace tillbridge::massstorage::scsi
