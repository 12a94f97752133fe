// ScsiDisk: the SCSI target of a simulated stick: one logical unit, a removable disk of 512-byte
// blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "channel/massstorage/command_block.hpp"
#include "channel/massstorage/scsi.hpp"
#include "server/simulator/medium.hpp"

namespace tillbridge::simulator {

struct DiskIdentity {
  std::string vendor, product, revision;  ///< INQUIRY: at most 8, 16 and 4 ASCII characters
  std::string serial;                     ///< VPD page 80
  bool write_protected = false;
};

/// Knows nothing of USB: a command is started, its data produced or consumed piece by piece, then
/// it has passed or failed. Small replies are made at the start; blocks are read and written as
/// their data moves, so that memory does not grow with the length of a command. Only the blocks
/// that a command names, and that exist, are ever touched.
class ScsiDisk {
 public:
  ScsiDisk(Medium& medium, DiskIdentity identity)
      : medium_(medium), identity_(std::move(identity)) {}

  /// What the command wants to move: Dn, Di or Do of Bulk-Only Transport 6.7. A command that fails
  /// wants nothing.
  struct Intent {
    massstorage::DataDirection direction = massstorage::DataDirection::none;
    std::uint64_t length = 0;
  };
  [[nodiscard]] Intent start(const massstorage::Cdb& cdb, std::uint8_t lun);
  /// Appends the next `size` bytes of the data to `data`; fewer when the command fails in between.
  void produce(std::size_t size, Bytes& data);
  /// Takes the next bytes from the host. Whole blocks are on the medium when it returns.
  void consume(ByteView data);
  /// The host ended its data early: the command fails.
  void cut_short();
  /// Forgets the running command without a result: phase errors and resets.
  void abandon();

  [[nodiscard]] bool failed() const { return failed_; }
  /// Data bytes of this command that were produced, or consumed and applied.
  [[nodiscard]] std::uint64_t processed() const { return processed_; }

  /// Power-up, bus reset or Bulk-Only reset: the host is told at its next command (06/29/00).
  void reset();
  /// As after power-up: an ejected medium is there again.
  void insert_medium() { ejected_ = false; }

 private:
  enum class Job : std::uint8_t { nothing, reply, read, write, verify };

  Intent dispatch(const massstorage::Cdb& cdb, std::uint8_t lun);
  Intent refuse(massstorage::scsi::Sense sense);
  Intent reply(Bytes bytes, std::uint64_t allocation_length);
  Intent blocks(const massstorage::scsi::BlockCommand& command);

  Intent request_sense(const massstorage::Cdb& cdb);
  Intent other_lun(const massstorage::Cdb& cdb);
  Intent inquiry(const massstorage::Cdb& cdb);
  Intent mode_sense(const massstorage::Cdb& cdb);
  Intent start_stop(const massstorage::Cdb& cdb);
  Intent prevent_removal(const massstorage::Cdb& cdb);
  Intent read_format_capacities(const massstorage::Cdb& cdb);
  Intent read_capacity(const massstorage::Cdb& cdb);
  Intent report_luns(const massstorage::Cdb& cdb);

  void fail_with(massstorage::scsi::Sense sense);
  void apply(ByteView blocks);

  Medium& medium_;
  DiskIdentity identity_;

  massstorage::scsi::Sense sense_;
  std::optional<massstorage::scsi::Sense> unit_attention_ =
      massstorage::scsi::sense::reset_occurred;
  bool ejected_ = false, removal_prevented_ = false;

  Job job_ = Job::nothing;
  bool failed_ = false, flush_at_end_ = false;
  std::uint64_t processed_ = 0;
  std::uint64_t next_block_ = 0, blocks_left_ = 0;
  /// reply, read: what was made and not yet fetched. write, verify: the beginning of a block.
  Bytes buffer_;
  std::size_t buffer_position_ = 0;
};

}  // namespace tillbridge::simulator
