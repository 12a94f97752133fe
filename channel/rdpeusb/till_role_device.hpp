// One device channel from ADD_DEVICE on: its registration, the table of outstanding requests, and
// the rule that each of them completes exactly once.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/result.hpp"
#include "channel/rdpeusb/pdu/message.hpp"
#include "channel/rdpeusb/till_role_stick.hpp"
#include "channel/rdpeusb/till_role_translation.hpp"

namespace tillbridge::rdpeusb::till {

/// Carries out what the terminal server asks of one stick.
///
/// A request is one transfer, or several in sequence (SELECT_CONFIGURATION), or none; before its
/// first transfer it may have to wait for the ends of others that it cancelled (ABORT_PIPE). While
/// a request of several steps runs, later ones that would come between its steps are held back, in
/// order.
class DeviceChannel {
 public:
  DeviceChannel(ChannelId channel, std::uint32_t usb_device, Stick& stick, Outputs& outputs);

  [[nodiscard]] std::uint32_t usb_device() const noexcept { return usb_device_; }

  /// A message to the device. An error says why the channel has to be closed.
  Status receive(const pdu::FromServer& message, Instant now);
  /// The end of a transfer that serves `request`.
  void complete(std::uint32_t request, usb::Completion completion, Instant now);
  /// The end of one that nobody waits for any more.
  void abandoned_ended(Instant now);
  void advance(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;

 private:
  using RequestId = std::uint32_t;

  /// Moved with each request, and nearly always empty: what allocates nothing then.
  using Steps = std::vector<usb::SetupPacket>;

  struct Request {
    enum class State : std::uint8_t { held_back, waiting, running };

    bool io_control = false;
    std::uint16_t function = 0;  ///< of a TS_URB
    bool in = true;              ///< the message's direction
    std::uint32_t output_buffer_size = 0;
    Plan plan;
    std::size_t bytes = 0;  ///< kept for it while it is in the table

    State state = State::held_back;
    std::uint64_t arrival = 0;        ///< counts admissions: which of two came first
    std::set<RequestId> waits_for{};  ///< waiting: until all of these have completed
    Steps steps{};                    ///< control transfers still to do, one after the other
    usb::TransferId transfer = 0;     ///< running
    usb::SetupPacket setup{};         ///< running: of the control transfer
    /// Why it is being ended early, if it is. What its transfer says decides in the end.
    std::optional<Failure> ending{};
    std::optional<Instant> deadline{};  ///< CONTROL_TRANSFER_EX
  };
  using Table = std::map<RequestId, Request>;

  /// One endpoint of a selected interface.
  struct Pipe {
    std::uint8_t interface_number = 0;
    usb::EndpointDescriptor endpoint;
    /// After a STALL, until the server resets the pipe: as in a Windows host, transfers then fail
    /// without reaching the stick.
    bool halted = false;
  };

  /// What is held back while a request of several steps is under way.
  enum class Barrier : std::uint8_t {
    none,
    control,  ///< control transfers
    device    ///< everything that goes to the stick
  };

  // --- what comes in, and the table (till_role_device.cpp)
  Status handle(const pdu::CancelRequest& message, Instant now);
  Status handle(const pdu::RegisterRequestCallback& message, Instant now);
  Status handle(const pdu::QueryDeviceText& message, Instant now);
  Status handle(const pdu::RetractDevice& message, Instant now);
  Status handle(const pdu::IoControl& message, Instant now);
  Status handle(const pdu::TransferRequest& message, Instant now);
  Status handle(const pdu::BadRequest& message, Instant now);
  [[nodiscard]] Status check_unused(RequestId id) const;
  void admit(RequestId id, Request request, Instant now);
  void end_registration();
  void cancel(RequestId id, const Failure& why);
  void finish(RequestId id, const Outcome& outcome);
  void send_completion(RequestId id, const Request& request, const Outcome& outcome);
  void send(Bytes message);
  void pump(Instant now);
  [[nodiscard]] bool must_wait(const Request& request) const;

  // --- carrying out (till_role_carry_out.cpp). Each of these may end the request: `request` is not
  // to be used after it.
  void start(RequestId id, Request& request, Instant now);
  void carry_out(RequestId id, const Failure& failure);
  void carry_out(RequestId id, Request& request, ControlPlan& plan);
  void carry_out(RequestId id, Request& request, PipeTransferPlan& plan);
  void carry_out(RequestId id, Request& request, const AbortPipePlan& plan);
  void carry_out(RequestId id, Request& request, const ResetPipePlan& plan);
  void carry_out(RequestId id, Request& request, const SelectConfigurationPlan& plan);
  void carry_out(RequestId id, Request& request, const SelectInterfacePlan& plan);
  void carry_out(RequestId id, Request& request, const OsDescriptorPlan& plan);
  void reset_port(RequestId id, Request& request);
  void proceed(RequestId id, Request& request);
  void wait_then_proceed(RequestId id, Request& request, std::set<RequestId> waits_for);
  void submit_control(RequestId id, Request& request, usb::Transfer transfer);
  void transfer_done(RequestId id, Request& request, usb::Completion completion);
  void os_descriptor_step_done(RequestId id, Request& request, usb::Completion completion);
  void sequence_step_done(RequestId id, Request& request, const usb::Completion& completion);
  void raise(Barrier barrier, RequestId holder);
  [[nodiscard]] bool may_submit(const usb::SetupPacket& setup) const;
  [[nodiscard]] bool stall_is_harmless(const usb::SetupPacket& setup) const;
  [[nodiscard]] bool passes_reset_on(const Request& request) const;
  void forget_handles();
  [[nodiscard]] Steps reset_steps() const;
  [[nodiscard]] Steps soft_reset_steps() const;
  [[nodiscard]] Steps port_reset_steps() const;
  /// Those that have not ended at once.
  [[nodiscard]] std::set<RequestId> cancel_transfers_of(const std::set<std::uint32_t>& pipes);
  void clear_halts(const usb::SetupPacket& setup);

  // --- handles and select results (till_role_select.cpp)
  /// Ends the life of the handles of one interface, or of all.
  [[nodiscard]] std::set<std::uint32_t> take_pipes(std::optional<std::uint8_t> interface_number);
  [[nodiscard]] pdu::TsUrbResult::Body success_body(const Request& request);
  [[nodiscard]] static pdu::TsUrbResult::Body failed_body(const Request& request);
  [[nodiscard]] pdu::SelectConfigurationResult configuration_result(
      const SelectConfigurationPlan& plan);
  /// Opens pipes to the endpoints of a setting that is in force now.
  [[nodiscard]] pdu::InterfaceInformationResult open_interface(
      const usb::InterfaceDescriptor& interface, const pdu::InterfaceInformation& asked);
  [[nodiscard]] std::uint32_t new_handle();

  ChannelId channel_;
  std::uint32_t usb_device_;
  Stick& stick_;
  Outputs& outputs_;

  std::optional<std::uint32_t> completion_interface_;  ///< RequestCompletion, while registered
  bool was_registered_ = false;
  Table requests_;
  SpareNodes<Table> spare_requests_;
  std::uint64_t arrivals_ = 0;
  std::size_t outstanding_bytes_ = 0;
  Queue<RequestId> ready_;           ///< waited, and need not any more
  std::deque<RequestId> held_back_;  ///< in order of arrival
  Barrier barrier_ = Barrier::none;
  RequestId barrier_holder_ = 0;

  std::map<std::uint32_t, Pipe> pipes_;  ///< by PipeHandle
  std::uint32_t configuration_handle_ = 0;
  std::uint32_t last_handle_ = 0;
};

}  // namespace tillbridge::rdpeusb::till
