// CryptovisionMedium: a disk whose blocks answer as a cryptovision TSE does.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <optional>

#include "server/simulator/bench.hpp"
#include "server/simulator/medium.hpp"
#include "server/simulator/tse/cryptovision_card.hpp"
#include "server/simulator/tse/cryptovision_options.hpp"
#include "server/simulator/tse/timing.hpp"
#include "tse/cryptovision/frame.hpp"

namespace tillbridge::simulator::tse {

/// Recognises a request by its content wherever it is written (tse/cryptovision/PROTOCOL.md): the
/// block with the magic begins the *window*, 16 blocks that show the answer until something else is
/// written there. So the file may lie anywhere and be re-created at will. Blocks of a frame never
/// reach the disk below; after a power failure the file shows what it held before, which is zeros.
/// A card cannot know the file system: of a fragmented file it would answer into a neighbour's
/// blocks.
///
/// A command takes effect when its frame is complete; its answer can be read after the time that
/// Timing says. Faults (code: the command's; C5 and C4; 5344 and 5345 for the suspend modes; FFFF
/// for what is unreadable): at before_command whatever decides the answer (zero_answer,
/// busy_for_ever, element_timeout, token_kept, stale_answer, lose_answer) or takes the stick away
/// (unplug, power_cycle, dead, silence) keeps the command from being carried out; at after_command
/// only the answer suffers; at answer the reader does, for that one reading, or for good with
/// busy_for_ever and lose_answer. What concerns the device goes to Bench::demand.
class CryptovisionMedium final : public Medium {
 public:
  CryptovisionMedium(std::unique_ptr<Medium> base, std::unique_ptr<TseCore> core,
                     const Timing& timing, CryptovisionOptions options,
                     std::shared_ptr<Bench> bench);

  [[nodiscard]] std::uint64_t block_count() const override { return base_->block_count(); }
  [[nodiscard]] Status read(std::uint64_t block, std::span<std::uint8_t> data) override;
  [[nodiscard]] Status write(std::uint64_t block, ByteView data) override;
  [[nodiscard]] Status flush() override { return base_->flush(); }
  [[nodiscard]] Duration begin_command(std::uint8_t operation_code, Instant now) override;
  void power_cycle(Instant now) override;

  [[nodiscard]] TseCore& core() { return card_.core(); }
  void set_timing(const Timing& timing) { timing_ = timing; }

 private:
  static constexpr std::size_t window_blocks = evidence::cryptovision::file_bytes / block_bytes;

  /// Blocks that show the card's buffer instead of the disk: `ours` of the 16 from `first` on,
  /// those that a request or an answer covered and nothing else overwrote.
  struct Window {
    std::uint64_t first = 0;
    std::bitset<window_blocks> ours;
  };
  struct Answer {
    Bytes frame;
    std::uint32_t code = 0;  ///< of the command
    Instant ready{};
    bool read = false;
    bool never = false;  ///< by a fault it does not become ready
  };
  /// A frame whose blocks are still arriving.
  struct Gathering {
    std::size_t blocks = 0, needed = 0;
  };

  // --- frames arrive
  [[nodiscard]] bool takes(std::uint64_t block, ByteView content);
  void begin_frame(std::uint64_t block, ByteView content);
  void add_block(ByteView content);
  void overwritten(std::uint64_t block);
  void end_response();

  // --- and are carried out
  void frame_complete();
  void carry_out(const evidence::cryptovision::RequestFrame& request);
  void carry_out_command(const evidence::cryptovision::RequestFrame& request, std::uint32_t code);
  void answer(Bytes frame, std::uint32_t code, Duration after);
  void acknowledge(std::uint32_t code) { answer(acknowledgement(), code, Duration(0)); }
  [[nodiscard]] static Bytes acknowledgement();
  [[nodiscard]] Duration signing_time(std::uint64_t signatures);
  [[nodiscard]] Duration export_time(std::size_t bytes) const;
  /// False: the fault decides what can be read. A delay is added to `time`; what only the device
  /// can do becomes its demand.
  [[nodiscard]] bool suffer(const Fault& fault, std::uint32_t code, Duration& time);

  // --- and read
  [[nodiscard]] bool busy() const { return answer_ && (answer_->never || time_ < answer_->ready); }
  [[nodiscard]] Bytes shown() const;
  void take_snapshot();
  [[nodiscard]] Bytes struck_snapshot(const Fault& fault);

  std::unique_ptr<Medium> base_;
  CryptovisionCard card_;
  Timing timing_;
  std::shared_ptr<Bench> bench_;

  Instant time_{};  ///< of the running SCSI command
  std::optional<Instant> powered_at_, last_activity_;
  bool may_sleep_ = true;

  Bytes buffer_;  ///< the card's 8 KiB, in which requests and answers overwrite each other
  std::optional<Window> window_;
  std::optional<Gathering> gathering_;
  bool taking_ = false;           ///< a block of this SCSI command belonged to a frame ...
  std::uint64_t last_taken_ = 0;  ///< ... and this was the last one
  std::optional<Answer> answer_;
  std::optional<Answer> superseded_;  ///< by the frame that is arriving
  Bytes last_frame_;                  ///< the answer before, for a fault that gives it again
  Bytes snapshot_;  ///< what a reader of the window's first block saw; empty: nobody read it
};

}  // namespace tillbridge::simulator::tse
