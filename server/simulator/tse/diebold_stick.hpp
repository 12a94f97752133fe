// DieboldStick: the Diebold Nixdorf TSE as a USB serial device (tse/diebold/PROTOCOL.md).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "channel/bytes/result.hpp"
#include "server/simulator/serial_device.hpp"
#include "server/simulator/tse/core.hpp"
#include "server/simulator/tse/diebold_commands.hpp"
#include "server/simulator/tse/diebold_options.hpp"
#include "tse/diebold/frame.hpp"

namespace tillbridge::simulator::tse {

/// Takes requests one after the other; what comes meanwhile waits. A command is carried out and
/// stored when its turn comes, its answer can be read when the time that it takes has passed, as
/// one piece. A command that goes into a buffer keeps only the security module busy: 000 to 004 and
/// 309 are answered meanwhile.
///
/// Faults: at `command` and `before-command` delay, silence, stall, unplug, power-cycle and dead;
/// bit-flip before command 112 makes the self test fail; at `after-command` the same and
/// lose-answer; at `status`, when the answer is made, also bit-flip, short-data (its
/// tail is lost) and stale-answer; at `answer`, when the host begins to read a piece, delay, stall,
/// unplug, power-cycle and dead. busy-for-ever is silence. `code` is the command's number.
class DieboldStick final : public SerialDevice {
 public:
  /// ErrorCode::config or io, as TseCore::open().
  [[nodiscard]] static Result<std::unique_ptr<DieboldStick>> create(DieboldOptions options,
                                                                    std::unique_ptr<Store> store);
  ~DieboldStick() override;
  DieboldStick(const DieboldStick&) = delete;
  DieboldStick& operator=(const DieboldStick&) = delete;
  DieboldStick(DieboldStick&&) = delete;
  DieboldStick& operator=(DieboldStick&&) = delete;

  [[nodiscard]] TseCore& core() { return *core_; }

 private:
  /// What stands first in the input.
  struct Head {
    std::variant<evidence::diebold::Request, evidence::diebold::FrameFault> event;
    bool arrived = false;  ///< FaultPoint::command and before_command have been passed
    bool begun = false;
  };

  DieboldStick(DieboldOptions options, std::unique_ptr<TseCore> core);

  [[nodiscard]] std::size_t input_room() const override;
  void receive(ByteView data) override;
  void line_changed(bool terminal_ready) override;
  void line_restarted(bool bus_reset) override;
  void powered_up(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_step() const override;
  void step() override;
  void piece_begun() override;
  void piece_read() override;

  void look_for_request();
  void work(const evidence::diebold::Request& request);
  void note(const evidence::diebold::Request& request);
  [[nodiscard]] Duration time_for(const DieboldOutcome& outcome, std::uint64_t signatures);
  [[nodiscard]] Duration wake_up();
  void put_in_buffer(const evidence::diebold::Request& request, DieboldOutcome outcome,
                     Instant done_at);
  void answer_now(const evidence::diebold::Request& request, DieboldOutcome outcome,
                  Instant done_at);
  /// ErrorCode::limit when it does not go into one answer.
  [[nodiscard]] Result<std::string> archive_text(const Export& archive);
  /// What a fault makes of an answer. False: there is none.
  [[nodiscard]] bool survives(const Fault& fault, Bytes& frame);
  void send_frame(Bytes frame, Instant ready_at);
  [[nodiscard]] std::string status_text() const;
  void report_status(Instant at);
  /// A fault before the command is carried out. True: it must not be, now or ever.
  [[nodiscard]] bool struck_before(FaultPoint point, std::uint16_t command);

  DieboldOptions options_;
  std::unique_ptr<TseCore> core_;
  DieboldCommands commands_;

  Bytes input_;  ///< not looked at yet
  evidence::diebold::RequestParser parser_;
  std::optional<Head> head_;
  Instant line_free_at_ = Instant::min();    ///< the last answer is ready
  Instant module_free_at_ = Instant::min();  ///< what went into a buffer is done
  std::optional<Instant> last_command_at_;   ///< since power-up
  bool at_work_ = false;
  bool silent_ = false;  ///< by a fault, until a reset
  std::uint16_t current_command_ = 0;
  bool self_test_fails_ = false;
  Bytes last_answer_;
  std::string reported_;
  std::deque<std::string> remembered_ids_;
};

}  // namespace tillbridge::simulator::tse
