// One device at the terminal server: its running transfers, the requests they became, its pipes.
// Part of TerminalRole.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/limits.hpp"
#include "channel/bytes/queue.hpp"
#include "channel/bytes/result.hpp"
#include "channel/rdpeusb/pdu/message.hpp"
#include "channel/rdpeusb/terminal_profile.hpp"
#include "channel/rdpeusb/terminal_translation.hpp"
#include "channel/rdpeusb/till_role.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::rdpeusb::terminal {

/// How long after CANCEL_REQUEST a transfer waits for its completion before it is completed here.
/// FreeRDP never completes a request that it could not submit, and it runs control transfers on the
/// thread that reads the channel, for up to 2 s: an honest answer may come that much later. The
/// class driver above waits for the cancel, so not much longer than that.
inline constexpr Duration cancel_patience = std::chrono::seconds(3);

/// How long an I/O control of io_control() waits: FreeRDP never answers one that it does not know.
inline constexpr Duration io_control_patience = std::chrono::seconds(5);

/// The end of an io_control().
struct IoControlEnd {
  std::uint32_t hresult = 0;
  Bytes output;
};

/// A completion for the opening.
struct OpeningAnswer {
  Answer answer;
  bool despite_no_ack = false;
};

/// Sans-I/O: transfers and completions in, messages and completions out. Each transfer that is
/// submitted completes exactly once, at the latest in close().
class Device {
 public:
  /// A message to send, three kinds of ends, a tolerated fault, a warning.
  using Output = std::variant<Bytes, usb::Completion, IoControlEnd, OpeningAnswer, Quirk, Error>;

  /// `habits` must outlive the device.
  Device(std::uint32_t usb_device, const Habits& habits);

  void submit(usb::Transfer transfer);
  /// Unknown and already cancelled transfers are ignored.
  void cancel(usb::TransferId id, Instant now);
  /// Ends come in the order of asking.
  void io_control(std::uint32_t code, std::uint32_t output_bytes, Instant now);
  /// Ends everything as device_gone. Nothing may be submitted afterwards.
  void close();

  // --- for the opening, before anything is submitted. Each of its requests that is to be answered
  // ends as an OpeningAnswer, unless it is given up.
  void send_of_opening(Opening::Request request);
  /// Cancels the request that is awaited; its completion is dropped if it still comes.
  void give_up_opening();
  /// From now on an answer to a request with NoAck is one for no request.
  void end_no_ack();
  /// What a hub driver says to a device that it lets go.
  void take_leave();

  /// For the decoder: a request that waits for its completion, abandoned ones included.
  [[nodiscard]] std::optional<pdu::OutstandingRequest> outstanding(std::uint32_t request) const;
  /// The completion of an outstanding request. An error means that it lies: the channel has to be
  /// closed.
  [[nodiscard]] Status receive(const pdu::UrbCompletion& completion, Instant now);
  [[nodiscard]] Status receive(const pdu::UrbCompletionNoData& completion, Instant now);
  [[nodiscard]] Status receive(const pdu::IoControlCompletion& completion, Instant now);

  /// An error: the client leaves so many requests unanswered that the channel has to be closed.
  [[nodiscard]] Status advance(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Output> poll();

 private:
  enum class Step : std::uint8_t {
    transfer,           ///< the transfer itself
    zero_packet,        ///< the zero-length packet behind it
    descriptor_header,  ///< SET_CONFIGURATION reads the descriptor that it needs...
    descriptor_whole,
    select_configuration,
    select_interface,
    port_status,  ///< before a port reset
    io_control,   ///< of io_control(), for no transfer
    opening,      ///< of the opening, for no transfer
    no_ack        ///< the same, and no answer may come
  };
  /// A request on the wire.
  struct Request {
    usb::TransferId transfer = 0;  ///< 0: abandoned, its completion is awaited only to be dropped
    Step step = Step::transfer;
    std::uint16_t function = 0;
    bool io_control = false;
    Asked asked;
    [[nodiscard]] bool of_opening() const noexcept {
      return step == Step::opening || step == Step::no_ack;
    }
  };
  /// A transfer that has not completed yet.
  struct Running {
    usb::Transfer transfer;  ///< without its OUT data, which is sent already
    std::vector<std::uint32_t> requests;
    std::optional<usb::Completion>
        result;  ///< of the step that decides, while another is still outstanding
    std::optional<Instant> cancel_deadline;
    std::uint8_t descriptor_index = 0;
  };

  /// An io_control() whose end was not passed on yet.
  struct Control {
    std::optional<std::uint32_t> request;  ///< none: it ended here, nothing was sent
    Instant deadline{};
    std::optional<IoControlEnd> end;
  };

  [[nodiscard]] std::optional<usb::TransferStatus> refusal(const usb::Transfer& transfer) const;
  void start(Running& running);
  void start_control(Running& running);
  void start_pipe(Running& running);
  void start(Running& running, const usb::SetConfiguration& host_request);
  void start(Running& running, const usb::SetInterface& host_request);
  void start(Running& running, const usb::ClearHalt& host_request);
  void start(Running& running, const usb::PortReset& host_request);

  void send(Running& running, Step step, pdu::TransferRequest request);
  [[nodiscard]] std::uint32_t next_request_id();
  void send_io_control(std::uint32_t id, std::uint32_t code, std::uint32_t output_bytes);
  void send_port_control(Running& running, Step step, std::uint32_t code,
                         std::uint32_t output_bytes);
  void end_control(std::uint32_t request, IoControlEnd end);
  [[nodiscard]] Status answered_opening(std::uint32_t request, const Outcome& outcome,
                                        Answer answer);
  void pass_control_ends();
  void cancel_requests(Running& running, Instant now);
  void complete(usb::Completion completion);
  void complete(const Running& running, usb::TransferStatus status);
  void note(Quirk quirk);

  [[nodiscard]] Status arrived(std::uint32_t request_id, const Outcome& outcome,
                               const pdu::TsUrbResult* result, Instant now);
  void ended(Running& running, Step step, const Outcome& outcome, Instant now);
  [[nodiscard]] bool ask_again(Running& running, const Outcome& outcome);
  void read_descriptor(Running& running);
  void descriptor_read(Running& running, Step step, const Outcome& outcome);
  void select(Running& running, const usb::Configuration& configuration);
  [[nodiscard]] Status configuration_selected(Running& running, const Outcome& outcome,
                                              const pdu::TsUrbResult* result);
  [[nodiscard]] Status interface_selected(Running& running, const Outcome& outcome,
                                          const pdu::TsUrbResult* result);

  /// Keeps a whole configuration descriptor that was read; anything else is no matter.
  void remember_descriptor(std::uint8_t index, ByteView data);
  [[nodiscard]] const usb::Configuration* find_configuration(std::uint8_t value) const;
  [[nodiscard]] const Pipe* find_pipe(std::uint8_t endpoint) const;

  std::uint32_t usb_device_;
  const Habits& habits_;
  std::uint32_t last_request_ = 0;
  using Requests = std::map<std::uint32_t, Request>;
  Requests requests_;
  SpareNodes<Requests> spare_requests_;
  std::size_t abandoned_ = 0;
  using RunningTransfers = std::map<usb::TransferId, Running>;
  RunningTransfers running_;
  SpareNodes<RunningTransfers> spare_running_;
  std::size_t bytes_in_flight_ = 0;
  std::deque<Control> controls_;

  /// By index, as they passed by or were read for SET_CONFIGURATION.
  std::array<std::optional<usb::Configuration>, limits::configurations_per_device> configurations_;
  /// The selected one; its handle and pipes are valid while it is there.
  const usb::Configuration* selected_ = nullptr;
  std::uint32_t configuration_handle_ = 0;
  std::vector<Pipe> pipes_;

  std::bitset<quirk_count> noted_;
  Queue<Output> outputs_;
};

}  // namespace tillbridge::rdpeusb::terminal
