// Witness: what really happened to a simulated stick. Tests believe it, not the host.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "channel/bytes/reader.hpp"

namespace tillbridge::simulator {

/// Counts; never influences the stick. Survives power cycles of the stick, not the program's end.
class Witness {
 public:
  // --- bus
  void scsi_command(std::uint8_t operation_code) { ++scsi_commands_[operation_code]; }
  void bus_reset() { ++bus_resets_; }
  void class_reset() { ++class_resets_; }
  void unplugged() { ++unplugs_; }
  void power_cycle();

  // --- TSE protocol
  /// A command frame that is now carried out. The same bytes twice without an answer read in
  /// between is a repeated frame: nobody but a tunnel that replays does that.
  void command(std::uint32_t code, ByteView frame);
  void answer_read();
  /// For protocols whose requests have an id: one came a second time, whatever was read.
  void repeated_frame() { ++repeated_frames_; }
  /// An answer that nobody read was replaced by a newer command.
  void answer_discarded() { ++answers_discarded_; }
  void read_while_busy() { ++reads_while_busy_; }
  void command_while_busy() { ++commands_while_busy_; }
  /// A signature was made and stored.
  void signature(std::uint64_t counter);
  void fault_struck() { ++faults_; }

  [[nodiscard]] std::uint64_t repeated_frames() const { return repeated_frames_; }
  [[nodiscard]] std::uint64_t signatures() const { return signatures_; }
  [[nodiscard]] std::uint64_t counter_gaps() const { return counter_gaps_; }
  [[nodiscard]] std::uint64_t power_cycles() const { return power_cycles_; }
  [[nodiscard]] std::uint64_t bus_resets() const { return bus_resets_; }
  [[nodiscard]] std::uint64_t class_resets() const { return class_resets_; }
  [[nodiscard]] std::uint64_t commands() const;
  [[nodiscard]] std::uint64_t scsi_commands(std::uint8_t operation_code) const;
  [[nodiscard]] std::uint64_t commands_while_busy() const { return commands_while_busy_; }
  [[nodiscard]] std::uint64_t reads_while_busy() const { return reads_while_busy_; }
  [[nodiscard]] std::uint64_t answers_discarded() const { return answers_discarded_; }
  /// One JSON object, one line; names as above, "scsi" and "tse" by code.
  [[nodiscard]] std::string to_json() const;

 private:
  std::map<std::uint8_t, std::uint64_t> scsi_commands_;
  std::map<std::uint32_t, std::uint64_t> commands_;
  std::uint64_t bus_resets_ = 0, class_resets_ = 0, unplugs_ = 0, power_cycles_ = 0;
  std::uint64_t answers_read_ = 0, answers_discarded_ = 0;
  std::uint64_t reads_while_busy_ = 0, commands_while_busy_ = 0;
  std::uint64_t repeated_frames_ = 0, faults_ = 0;
  std::uint64_t signatures_ = 0, last_counter_ = 0, counter_gaps_ = 0;
  Bytes last_frame_;  ///< carried out, its answer not read yet
};

}  // namespace tillbridge::simulator
