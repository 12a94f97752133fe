// SwissbitMedium: a simulated Swissbit TSE in front of an ordinary disk.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "server/simulator/bench.hpp"
#include "server/simulator/medium.hpp"
#include "server/simulator/tse/swissbit_card.hpp"
#include "server/simulator/tse/swissbit_layout.hpp"
#include "server/simulator/tse/timing.hpp"

namespace tillbridge::simulator::tse {

/// Commands are recognised by place: what is written to the block of TSE_COMM.DAT is a command,
/// what is read from there its answer; the block of TSE_INFO.DAT is made at every read; the blocks
/// of the TAR files are the core's store. The places are those of the disk's first formatting. A
/// host that re-creates a file, or formats the disk, moves its directory entry but not the TSE:
/// such a stick is found by its blocks only, as on a real one. All other blocks are an ordinary
/// disk's.
///
/// A command takes effect when it is written, in the core's store too; its answer can be read after
/// the time that Timing says. A command that comes while another one is busy is ignored.
///
/// Faults (code: the opcode; FaultPoint::between_steps: that of open_step). At before_command
/// nothing was carried out; FaultAction::element_timeout there makes the self test fail with 1301
/// and everything else with FF00. At after_command and answer the answer suffers: zero_answer,
/// busy_for_ever, token_kept (the command still stands in its block), stale_answer (the one before
/// it, under the new counter), lose_answer (block and counter stay as they were before), bit_flip.
/// What concerns the device goes to Bench::demand.
class SwissbitMedium final : public Medium {
 public:
  /// `base` as swissbit_layout() wants it. ErrorCode::config also when the core may store more than
  /// the disk has room for.
  [[nodiscard]] static Result<std::unique_ptr<SwissbitMedium>> create(
      std::unique_ptr<Medium> base, std::unique_ptr<TseCore> core, const Timing& timing,
      const SwissbitOptions& options, std::shared_ptr<Bench> bench);

  [[nodiscard]] std::uint64_t block_count() const override { return base_->block_count(); }
  [[nodiscard]] Status read(std::uint64_t block, std::span<std::uint8_t> data) override;
  [[nodiscard]] Status write(std::uint64_t block, ByteView data) override;
  [[nodiscard]] Status flush() override { return base_->flush(); }
  [[nodiscard]] Duration begin_command(std::uint8_t operation_code, Instant now) override;
  void power_cycle(Instant now) override;

  [[nodiscard]] TseCore& core() { return card_.core(); }
  [[nodiscard]] const SwissbitLayout& layout() const { return layout_; }
  void set_timing(const Timing& timing) { timing_ = timing; }

 private:
  enum class Place : std::uint8_t { disk, pointers, info, comm, store };
  /// Blocks of one kind: up to `end`.
  struct Run {
    Place place{};
    std::uint64_t end = 0;
  };

  SwissbitMedium(std::unique_ptr<Medium> base, std::unique_ptr<TseCore> core, const Timing& timing,
                 const SwissbitOptions& options, std::shared_ptr<Bench> bench,
                 const SwissbitLayout& layout);

  [[nodiscard]] Run run_at(std::uint64_t block) const;
  [[nodiscard]] Status read_store(std::uint64_t store_block, std::span<std::uint8_t> data);
  void write_store(std::uint64_t store_block, ByteView data);

  void take_command(ByteView sector);
  [[nodiscard]] SwissbitCard::Outcome carry_out(const swissbit::CommandFrame& frame,
                                                bool element_fails);
  void answer_with(SwissbitCard::Outcome outcome, std::uint8_t opcode, Duration took);
  /// A fault has its turn once in each step; true: it keeps what came from having an effect.
  [[nodiscard]] bool struck_between_steps();
  /// What a fault does to the finished answer, or asks of the device.
  void strike_answer(const Fault& fault);
  void witness_signatures();

  /// As the host reads it now.
  [[nodiscard]] Bytes read_comm();
  [[nodiscard]] swissbit::AnswerState answer_state() const;
  [[nodiscard]] Duration duration_of(std::uint8_t opcode, bool signed_something);

  std::unique_ptr<Medium> base_;
  SwissbitCard card_;
  Timing timing_;
  std::shared_ptr<Bench> bench_;
  SwissbitLayout layout_;

  Instant now_{};  ///< of the SCSI command that is being carried out
  Instant last_active_{};
  std::optional<Instant> started_at_;  ///< start-up is over; nothing: no command came yet
  Duration reading_time_{};            ///< of the store, not yet waited for
  std::uint64_t witnessed_counter_;

  /// What the command block holds. Lost with the supply.
  struct CommandBlock {
    Bytes request;
    std::uint8_t opcode = 0;
    swissbit::Answer answer;    ///< state: none before the first command, else complete
    swissbit::Answer previous;  ///< the one before it
    Instant busy_until{};
    bool busy_for_ever = false, waits_for_fetch = false, unread = false;
    std::optional<Bytes> instead;  ///< of the answer: a fault put it there
  };
  CommandBlock comm_;
  std::uint8_t step_opcode_ = 0;
  bool step_struck_ = false;
};

}  // namespace tillbridge::simulator::tse
