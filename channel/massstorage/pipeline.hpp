// Pipeline: hides the way to a stick behind one SCSI command of Bulk-Only Transport.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "channel/massstorage/command_block.hpp"
#include "channel/massstorage/packet_stream.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::massstorage {

/// What the pipeline did for one stick.
struct PipelineCounters {
  /// Why a command was, or from some point on went, its plain way.
  enum class FallBack : std::uint8_t {
    out_of_step,   ///< it is not known that the stick waits for a command
    no_command,    ///< what came was no valid command block
    busy,          ///< other transfers of these endpoints were under way
    halted,        ///< an endpoint is halted
    too_large,     ///< more data than limits::pipeline_read_bytes
    stalled,       ///< the stick stalled the data or the status
    odd_transfer,  ///< the session asked for something else than the command block announced
    bad_status,    ///< no valid status block, or a phase error
    late_failure,  ///< an OUT transfer failed after the session was told that it was done
    interrupted,   ///< a reset or a cleared halt came in the middle
  };
  static constexpr std::size_t fall_back_kinds = 10;

  std::uint64_t commands = 0;         ///< command blocks that went to the stick
  std::uint64_t posted_commands = 0;  ///< of these, completed before the stick had them
  std::uint64_t posted_data = 0;      ///< data-out transfers completed early
  std::uint64_t data_ahead = 0;       ///< data-in transfers answered from what was read ahead
  std::uint64_t status_ahead = 0;     ///< status blocks answered so
  std::array<std::uint64_t, fall_back_kinds> fall_backs{};

  [[nodiscard]] std::uint64_t fell_back(FallBack why) const noexcept {
    return fall_backs[static_cast<std::size_t>(why)];
  }
  /// "120 commands, 118 through the pipeline; plain: 1 stalled, 1 out of step"
  [[nodiscard]] std::string text() const;
};

/// Sans-I/O, between the session's class driver and the stick. A SCSI command is three transfers,
/// each of which the class driver makes only after the one before; the pipeline lets the three
/// share one round trip to the stick:
///  - *posted OUT*: a command block, and data-out up to limits::pipeline_posted_bytes, is completed
///    as soon as it is handed on. The true result is in the status block, which always comes from
///    the stick; a transfer that fails later surfaces as STALL on the next one of the session.
///  - *same-command IN*: the command block tells direction and length, so data-in and status are
///    read right behind it, and kept until the session asks.
///
/// Never across two commands: a command block is only posted when the status of the one before was
/// delivered and nothing else is under way; everything else is forwarded as it comes. Nothing is
/// ever repeated, merged, split or reordered on the OUT endpoint, and on the IN endpoint only the
/// boundaries between reads may differ from what the session asks (what is read in advance is what
/// the command block announces, which is what class drivers read).
///
/// How a late failure looks: a stalled data-out is a STALL of the next transfer; if that is the
/// status, the session's CLEAR_FEATURE(HALT) for the IN endpoint clears the OUT endpoint, which is
/// the one that is halted, and the status follows. Any other late failure means that the stick and
/// the session do not agree what was sent: every IN stalls until reset recovery, as a stick does
/// after an invalid command block (Bulk-Only Transport 6.6.1).
///
/// Only the first interface 08/06/50 of a configuration; everything else never comes here.
/// Guarantees: each transfer of the session completes exactly once; each own transfer is submitted
/// at most once; before a request that clears a halt or resets goes to the stick, what was
/// submitted ahead on these endpoints has ended.
class Pipeline {
 public:
  /// To the stick. Ids of transfers that were handed in stay between pipeline and session: those
  /// are first_own_id and above.
  struct Submit {
    usb::Transfer transfer;
  };
  struct Cancel {
    usb::TransferId id;
  };
  /// To the session.
  struct Complete {
    usb::Completion completion;
  };
  using Output = std::variant<Submit, Cancel, Complete>;

  /// The session's ids are below.
  static constexpr usb::TransferId first_own_id = 0x80000000;

  /// Without an interface 08/06/50 it concerns itself with nothing.
  explicit Pipeline(const usb::DeviceDescription& device);

  /// False: this transfer of the session goes to the stick as it is.
  [[nodiscard]] bool concerns(const usb::Transfer& transfer) const noexcept;
  /// Only what concerns() the pipeline.
  void submit(usb::Transfer transfer);
  /// False: it was not handed in, or has completed.
  bool cancel(usb::TransferId id);
  /// This completion of the stick is for complete().
  [[nodiscard]] static constexpr bool is_own(usb::TransferId id) noexcept {
    return id >= first_own_id;
  }
  void complete(usb::Completion completion);
  /// The stick is gone for good: what the session waits for completes with device_gone, now and
  /// from now on.
  void lost();
  [[nodiscard]] std::optional<Output> poll();

  /// There is an interface that a pipeline is of use for.
  [[nodiscard]] bool useful() const noexcept { return !places_.empty(); }
  [[nodiscard]] const PipelineCounters& counters() const noexcept { return counters_; }

 private:
  using FallBack = PipelineCounters::FallBack;

  /// One alternate setting that speaks Bulk-Only Transport.
  struct Place {
    std::uint8_t configuration = 0, interface = 0, alternate = 0;
    std::uint8_t in = 0, out = 0;  ///< endpoint addresses
    std::uint32_t in_packet = 0;   ///< bytes
  };
  /// What the next OUT transfer is.
  enum class Mode : std::uint8_t {
    plain,    ///< not known
    ready,    ///< a command block: the status of the last one was delivered, or a reset was done
    command,  ///< data of command_, or what must wait for its end
    dead      ///< the stick did not get what the session believes it sent
  };
  enum class Kind : std::uint8_t {
    forwarded,     ///< as the session made it
    posted,        ///< OUT; `session` is 0 as soon as it was completed
    ahead,         ///< a read in advance
    retry,         ///< CLEAR_FEATURE(HALT) in place of the session's
    continuation,  ///< the rest of the first of asks_
    control
  };
  static constexpr bool is_control(Kind kind) noexcept {
    return kind == Kind::control || kind == Kind::retry;
  }
  /// What the stick was given and has not completed.
  struct Running {
    usb::TransferId id = 0, session = 0;
    Kind kind{};
    std::uint8_t endpoint = 0;
    std::uint32_t length = 0;
    bool short_not_ok = false;
    bool command_block = false;
    bool cancelled = false;       ///< by us, or by the session
    bool discard = false;         ///< nobody wants what it reads
    usb::SetupPacket setup{};     ///< control
    std::uint64_t outs_sent = 0;  ///< control: outs_sent_ when it went out
  };

  // --- from the session (pipeline.cpp)
  void pump();
  [[nodiscard]] bool release_behind();
  [[nodiscard]] bool release_out();
  [[nodiscard]] bool answer_in();
  void take_command(usb::Transfer transfer);
  void send_data(usb::Transfer transfer);
  void post_waiting();
  void read_ahead(std::uint32_t length);
  [[nodiscard]] std::optional<FallBack> why_not() const noexcept;

  // --- control requests (pipeline_control.cpp)
  /// A request before which what was submitted ahead has to end.
  [[nodiscard]] bool is_barrier(const usb::SetupPacket& setup) const noexcept;
  [[nodiscard]] bool touches(const usb::SetupPacket& setup, std::uint8_t endpoint) const noexcept;
  [[nodiscard]] bool clears_shown_stall(const usb::SetupPacket& setup) const noexcept;
  [[nodiscard]] bool in_the_way(const Running& running,
                                const usb::SetupPacket& setup) const noexcept;
  void make_way(const usb::SetupPacket& setup);
  void carry_out(usb::Transfer transfer);
  void control_ended(const Running& running, usb::Completion completion);
  void forget_command();
  void use_default();
  void use(std::uint8_t interface, std::uint8_t alternate);

  // --- ends of transfers (pipeline_completions.cpp)
  void posted_ended(const Running& running, usb::Completion completion);
  void failed_late(const Running& running, usb::TransferStatus status);
  void read_ended(const Running& running, usb::Completion completion);
  void continuation_ended(usb::Completion completion);
  void forwarded_ended(const Running& running, usb::Completion completion);
  void answer(InTransfer transfer, usb::TransferStatus status, bool ahead);
  void watch_status(ByteView data, bool ahead);

  void fall_back(FallBack why) noexcept;
  Running& start(Kind kind, usb::TransferId session, usb::Transfer transfer);
  void give(usb::TransferId session, usb::TransferStatus status, std::uint32_t actual_length = 0);
  void cancel_running(Running& running);
  [[nodiscard]] usb::TransferId next_id() noexcept;
  [[nodiscard]] bool running(Kind kind) const noexcept;
  /// Posted, and not ended yet: what comes from the stick says nothing before these are known.
  [[nodiscard]] bool unsettled() const noexcept { return posted_bytes_ != 0; }
  /// The stick is further than the session knows: an OUT transfer would come too early.
  [[nodiscard]] bool stick_is_ahead() const noexcept;

  std::vector<Place> places_;
  std::optional<Place> place_;  ///< in force
  std::uint8_t configuration_ = 0;

  Mode mode_ = Mode::plain;
  CommandBlock command_;             ///< the last that went to the stick
  bool command_known_ = false;       ///< command_ is what the next status block is about
  bool fell_back_ = false;           ///< in this command; already counted
  std::uint32_t data_out_left_ = 0;  ///< bytes of the command that the session has not sent yet
  bool status_asked_ = false;        ///< the status of the command was asked for ahead
  bool read_failed_ = false;         ///< of those ahead: what is queued behind meets the same halt
  bool late_stall_ = false;          ///< the session has to be told of a stalled data-out
  bool shown_stall_ = false;         ///< it was, on the IN endpoint, which is not really halted
  usb::TransferStatus dead_status_ = usb::TransferStatus::stall;  ///< while Mode::dead
  /// The shown stall took the one retry that class drivers give a stalled status: should that
  /// really stall now, the retry is made here.
  bool owes_retry_ = false;
  bool in_halted_ = false, out_halted_ = false;  ///< as the stick said
  bool gone_ = false;

  PacketStream stream_{512};
  std::vector<Running> running_;
  std::uint32_t posted_bytes_ = 0;     ///< under way, and completed towards the session
  std::uint64_t outs_sent_ = 0;        ///< OUT transfers that went to the stick, ever
  std::vector<InTransfer> asks_;       ///< IN transfers of the session, in order
  std::vector<usb::Transfer> outs_;    ///< OUT transfers that are not at the stick yet
  std::vector<usb::Transfer> behind_;  ///< a request that has to wait for ends, and all after it
  usb::TransferId last_id_ = first_own_id;

  std::vector<Output> outputs_;
  std::size_t next_output_ = 0;
  PipelineCounters counters_;
};

}  // namespace tillbridge::massstorage
