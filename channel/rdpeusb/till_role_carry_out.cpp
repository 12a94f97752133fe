// DeviceChannel: from a plan to transfers, and from their ends to the request's.
#include <algorithm>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/status.hpp"
#include "channel/rdpeusb/till_role_device.hpp"
#include "channel/rdpeusb/till_role_io_control.hpp"
#include "channel/usb/bulk_only.hpp"
#include "channel/usb/requests.hpp"

namespace tillbridge::rdpeusb::till {

namespace {

/// Whether the result still fits TS_URB_RESULT_HEADER.Size, however many entries the server lists.
bool result_fits(const usb::Configuration& configuration,
                 const std::vector<pdu::InterfaceInformation>& asked) {
  std::size_t size =
      pdu::TsUrbResult::header_size + 4 /* ConfigurationHandle */ + 4 /* NumInterfaces */;
  for (const auto& entry : asked) {
    const auto* interface = configuration.find(entry.interface_number, entry.alternate_setting);
    const std::size_t pipes = interface == nullptr ? 0 : interface->endpoints.size();
    size += pdu::InterfaceInformationResult::fixed_size + pipes * pdu::PipeInformationResult::size;
  }
  return size <= 0xFFFF;
}

/// The alternate setting that each listed interface ends up with: the last entry wins.
std::map<std::uint8_t, std::uint8_t> settings_asked(
    const std::vector<pdu::InterfaceInformation>& asked) {
  std::map<std::uint8_t, std::uint8_t> settings;
  for (const auto& entry : asked) settings[entry.interface_number] = entry.alternate_setting;
  return settings;
}

}  // namespace

void DeviceChannel::start(RequestId id, Request& request, Instant now) {
  request.state = Request::State::waiting;
  if (auto* control = std::get_if<ControlPlan>(&request.plan)) {
    carry_out(id, request, *control);
  } else if (auto* transfer = std::get_if<PipeTransferPlan>(&request.plan)) {
    carry_out(id, request, *transfer);
  } else if (const auto* abort = std::get_if<AbortPipePlan>(&request.plan)) {
    carry_out(id, request, *abort);
  } else if (const auto* reset = std::get_if<ResetPipePlan>(&request.plan)) {
    carry_out(id, request, *reset);
  } else if (const auto* configuration = std::get_if<SelectConfigurationPlan>(&request.plan)) {
    carry_out(id, request, *configuration);
  } else if (const auto* interface = std::get_if<SelectInterfacePlan>(&request.plan)) {
    carry_out(id, request, *interface);
  } else if (const auto* descriptor = std::get_if<OsDescriptorPlan>(&request.plan)) {
    carry_out(id, request, *descriptor);
  } else if (std::holds_alternative<FrameNumberPlan>(request.plan)) {
    Outcome outcome;
    outcome.body = pdu::FrameNumberResult{frame_number(now)};
    finish(id, outcome);
  } else {
    reset_port(id, request);
  }
}

void DeviceChannel::carry_out(RequestId id, const Failure& failure) {
  Outcome outcome;
  outcome.status = failure;
  outcome.body = failed_body(requests_.at(id));
  finish(id, outcome);
}

void DeviceChannel::carry_out(RequestId id, Request& request, ControlPlan& plan) {
  if (!may_submit(plan.setup)) return carry_out(id, failure::invalid_parameter);
  usb::Transfer transfer = usb::control_transfer(0, plan.setup, std::move(plan.data));
  transfer.short_not_ok = transfer.in() && !plan.short_ok;
  submit_control(id, request, std::move(transfer));
}

/// The gate for control transfers that come as they are. Configuration and interfaces have requests
/// of their own, which keep handles and state right; a port reset (which USB/IP would make of this
/// class request) has ResetPolicy; the address belongs to the real host; and test mode can only be
/// left by a power cycle, which would lock a TSE.
bool DeviceChannel::may_submit(const usb::SetupPacket& setup) const {
  namespace request = usb::request;
  constexpr std::uint8_t type_bits = 0x60;
  constexpr std::uint16_t feature_test_mode = 2;
  const auto host_request = usb::as_host_request(setup);
  if (host_request && std::holds_alternative<usb::PortReset>(*host_request)) return false;
  if (host_request && std::holds_alternative<usb::ClearHalt>(*host_request)) {
    return stick_.has_endpoint(std::get<usb::ClearHalt>(*host_request).endpoint);
  }
  const bool standard = (setup.request_type & type_bits) == 0;
  if (!standard || setup.in()) return true;
  if (setup.request == request::set_feature && (setup.request_type & 0x1FU) == 0) {
    return setup.value != feature_test_mode;
  }
  return setup.request != request::set_address && setup.request != request::set_configuration &&
         setup.request != request::set_interface;
}

void DeviceChannel::carry_out(RequestId id, Request& request, PipeTransferPlan& plan) {
  const auto found = pipes_.find(plan.pipe);
  if (found == pipes_.end()) return carry_out(id, failure::invalid_pipe_handle);
  const Pipe& pipe = found->second;
  const usb::TransferType type = pipe.endpoint.type();
  const bool pipe_in = (pipe.endpoint.address & 0x80U) != 0;
  if ((type != usb::TransferType::bulk && type != usb::TransferType::interrupt) ||
      pipe_in != plan.in) {
    return carry_out(id, failure::invalid_parameter);
  }
  if (pipe.halted) return carry_out(id, failure::pipe_halted);

  usb::Transfer transfer;
  transfer.type = type;
  transfer.endpoint = pipe.endpoint.address;
  transfer.length = plan.length;
  transfer.short_not_ok = plan.in && !plan.short_ok;
  if (type == usb::TransferType::interrupt) transfer.interval = pipe.endpoint.interval;
  transfer.data = std::move(plan.data);
  request.state = Request::State::running;
  request.transfer = stick_.submit(id, std::move(transfer));
}

void DeviceChannel::carry_out(RequestId id, Request& request, const AbortPipePlan& plan) {
  if (pipes_.count(plan.pipe) == 0) return carry_out(id, failure::invalid_pipe_handle);
  wait_then_proceed(id, request, cancel_transfers_of({plan.pipe}));
}

void DeviceChannel::carry_out(RequestId id, Request& request, const ResetPipePlan& plan) {
  const auto found = pipes_.find(plan.pipe);
  if (found == pipes_.end()) return carry_out(id, failure::invalid_pipe_handle);
  if (plan.on_device) {
    request.steps = {usb::clear_halt(found->second.endpoint.address)};
  } else {
    found->second.halted = false;
  }
  proceed(id, request);
}

void DeviceChannel::carry_out(RequestId id, Request& request, const SelectConfigurationPlan& plan) {
  request.steps = {usb::set_configuration(plan.value.value_or(0))};
  if (plan.value) {
    const auto* configuration = stick_.description().find_configuration(*plan.value);
    if (configuration == nullptr) return carry_out(id, failure::bad_configuration);
    if (!result_fits(*configuration, plan.interfaces)) return carry_out(id, failure::no_resources);
    for (const auto& entry : plan.interfaces) {
      if (configuration->find(entry.interface_number, entry.alternate_setting) == nullptr) {
        return carry_out(id, failure::interface_not_found);
      }
    }
    for (const auto& [interface_number, setting] : settings_asked(plan.interfaces)) {
      if (setting != 0) request.steps.push_back(usb::set_interface(interface_number, setting));
    }
  }
  // Old handles die even where the same configuration is selected again.
  configuration_handle_ = 0;
  raise(Barrier::device, id);
  wait_then_proceed(id, request, cancel_transfers_of(take_pipes(std::nullopt)));
}

void DeviceChannel::carry_out(RequestId id, Request& request, const SelectInterfacePlan& plan) {
  const auto* configuration = stick_.configuration();
  if (configuration_handle_ == 0 || plan.configuration_handle != configuration_handle_ ||
      configuration == nullptr) {
    return carry_out(id, failure::invalid_parameter);
  }
  const auto& asked = plan.interface;
  if (configuration->find(asked.interface_number, asked.alternate_setting) == nullptr) {
    return carry_out(id, failure::interface_not_found);
  }
  request.steps = {usb::set_interface(asked.interface_number, asked.alternate_setting)};
  raise(Barrier::control, id);
  wait_then_proceed(id, request, cancel_transfers_of(take_pipes(asked.interface_number)));
}

void DeviceChannel::carry_out(RequestId id, Request& request, const OsDescriptorPlan& plan) {
  if (stick_.os_descriptor == Stick::OsDescriptor::none) {
    return carry_out(id, failure::not_supported);
  }
  if (stick_.os_descriptor == Stick::OsDescriptor::known) {
    usb::SetupPacket setup = plan.setup;
    setup.request = stick_.os_vendor_code;
    return submit_control(id, request, usb::control_transfer(0, setup));
  }
  raise(Barrier::control, id);
  submit_control(id, request, usb::control_transfer(0, os_string_descriptor_request()));
}

/// RESET_PORT and CYCLE_PORT. A port reset may lock a TSE, so by default a storage stick gets the
/// reset of its own class and anything else none at all, and the server is told it was done.
void DeviceChannel::reset_port(RequestId id, Request& request) {
  if (stick_.reset_policy() == ResetPolicy::refuse) {
    return carry_out(id, failure::not_supported);
  }
  if (reset_steps().empty()) return proceed(id, request);

  raise(Barrier::device, id);
  std::vector<RequestId> earlier;
  for (const auto& [other, running] : requests_) {
    if (running.arrival < request.arrival) earlier.push_back(other);
  }
  std::set<RequestId> waits_for;
  for (const RequestId other : earlier) {
    cancel(other, failure::cancelled);
    if (requests_.count(other) != 0) waits_for.insert(other);
  }
  wait_then_proceed(id, request, std::move(waits_for));
}

DeviceChannel::Steps DeviceChannel::reset_steps() const {
  return stick_.reset_policy() == ResetPolicy::pass ? port_reset_steps() : soft_reset_steps();
}

/// Bulk-Only reset recovery (BOT 5.3.4) of every storage interface.
DeviceChannel::Steps DeviceChannel::soft_reset_steps() const {
  Steps steps;
  const auto* configuration = stick_.configuration();
  if (configuration == nullptr) return steps;
  for (const auto& interface : configuration->interfaces) {
    if (interface.alternate_setting != stick_.alternate_setting(interface.number) ||
        !usb::is_bulk_only(interface)) {
      continue;
    }
    steps.push_back(usb::bulk_only_reset(interface.number));
    for (const auto& endpoint : interface.endpoints) {
      if (endpoint.type() == usb::TransferType::bulk) {
        steps.push_back(usb::clear_halt(endpoint.address));
      }
    }
  }
  return steps;
}

/// Handles stay valid over a port reset: what it undoes is established again.
DeviceChannel::Steps DeviceChannel::port_reset_steps() const {
  Steps steps{usb::port_reset()};
  const auto* configuration = stick_.configuration();
  if (configuration == nullptr) return steps;
  steps.push_back(usb::set_configuration(configuration->value));
  for (const auto& interface : configuration->interfaces) {
    const bool in_force = interface.alternate_setting == stick_.alternate_setting(interface.number);
    if (in_force && interface.alternate_setting != 0) {
      steps.push_back(usb::set_interface(interface.number, interface.alternate_setting));
    }
  }
  return steps;
}

// --- transfers of a request ----------------------------------------------------------------------

void DeviceChannel::raise(Barrier barrier, RequestId holder) {
  barrier_ = barrier;
  barrier_holder_ = holder;
}

std::set<DeviceChannel::RequestId> DeviceChannel::cancel_transfers_of(
    const std::set<std::uint32_t>& pipes) {
  std::vector<RequestId> found;
  for (const auto& [id, request] : requests_) {
    const auto* transfer = std::get_if<PipeTransferPlan>(&request.plan);
    if (transfer != nullptr && pipes.count(transfer->pipe) != 0) found.push_back(id);
  }
  std::set<RequestId> still_running;
  for (const RequestId id : found) {
    cancel(id, failure::cancelled);
    if (requests_.count(id) != 0) still_running.insert(id);
  }
  return still_running;
}

void DeviceChannel::wait_then_proceed(RequestId id, Request& request,
                                      std::set<RequestId> waits_for) {
  request.waits_for = std::move(waits_for);
  if (request.waits_for.empty()) proceed(id, request);
}

void DeviceChannel::proceed(RequestId id, Request& request) {
  // Not before all that it ended has ended: a SELECT may have won, and what the stick has to be
  // brought back to is another configuration.
  if (std::holds_alternative<PortResetPlan>(request.plan) &&
      request.state == Request::State::waiting) {
    request.steps = reset_steps();
  }
  if (request.steps.empty()) {
    Outcome outcome;
    outcome.body = success_body(request);
    finish(id, outcome);
    return;
  }
  const usb::SetupPacket setup = request.steps.front();
  request.steps.erase(request.steps.begin());
  submit_control(id, request, usb::control_transfer(0, setup));
}

void DeviceChannel::submit_control(RequestId id, Request& request, usb::Transfer transfer) {
  request.state = Request::State::running;
  request.setup = transfer.setup;
  request.transfer = stick_.submit(id, std::move(transfer));
}

void DeviceChannel::transfer_done(RequestId id, Request& request, usb::Completion completion) {
  request.transfer = 0;
  if (completion.status == usb::TransferStatus::success) clear_halts(request.setup);
  if (std::holds_alternative<OsDescriptorPlan>(request.plan)) {
    return os_descriptor_step_done(id, request, std::move(completion));
  }
  const auto* pipe_transfer = std::get_if<PipeTransferPlan>(&request.plan);
  const auto* control = std::get_if<ControlPlan>(&request.plan);
  if (pipe_transfer == nullptr && control == nullptr) {
    return sequence_step_done(id, request, completion);
  }

  const bool ended_early = completion.status == usb::TransferStatus::cancelled;
  if (pipe_transfer != nullptr && completion.status == usb::TransferStatus::stall) {
    const auto pipe = pipes_.find(pipe_transfer->pipe);
    if (pipe != pipes_.end()) pipe->second.halted = true;
  }
  const bool short_ok = pipe_transfer != nullptr ? pipe_transfer->short_ok : control->short_ok;
  // GET_STATUS and its like ask the device for less than OutputBufferSize may allow.
  const std::uint32_t length =
      control != nullptr && control->setup.in()
          ? std::min<std::uint32_t>(control->setup.length, request.output_buffer_size)
          : request.output_buffer_size;
  Outcome outcome = outcome_of(std::move(completion), request.in, length, short_ok);
  if (ended_early && request.ending) outcome.status = *request.ending;
  finish(id, outcome);
}

void DeviceChannel::os_descriptor_step_done(RequestId id, Request& request,
                                            usb::Completion completion) {
  using usb::TransferStatus;
  const bool asked_for_code = request.setup == os_string_descriptor_request();
  if (completion.status == TransferStatus::cancelled && request.ending) {
    return carry_out(id, *request.ending);
  }
  if (!asked_for_code) {
    return finish(id, outcome_of(std::move(completion), true, request.output_buffer_size, true));
  }
  const bool answered = completion.status == TransferStatus::success ||
                        completion.status == TransferStatus::short_read ||
                        completion.status == TransferStatus::stall;
  if (!answered) return carry_out(id, failure_of(completion.status));
  const auto vendor_code = completion.status == TransferStatus::success
                               ? tillbridge::rdpeusb::till::os_vendor_code(completion.data)
                               : std::nullopt;
  stick_.os_descriptor = vendor_code ? Stick::OsDescriptor::known : Stick::OsDescriptor::none;
  stick_.os_vendor_code = vendor_code.value_or(0);
  if (request.ending) return carry_out(id, *request.ending);
  carry_out(id, request, std::get<OsDescriptorPlan>(request.plan));
}

void DeviceChannel::sequence_step_done(RequestId id, Request& request,
                                       const usb::Completion& completion) {
  using usb::TransferStatus;
  const bool done =
      completion.status == TransferStatus::success ||
      (completion.status == TransferStatus::stall && stall_is_harmless(request.setup));
  if (done) {
    if (!request.ending || request.steps.empty()) return proceed(id, request);
    if (passes_reset_on(request)) forget_handles();
    return carry_out(id, *request.ending);
  }
  if (passes_reset_on(request) && request.setup != usb::port_reset()) forget_handles();
  if (completion.status == TransferStatus::cancelled && request.ending) {
    return carry_out(id, *request.ending);
  }
  Failure why = failure_of(completion.status);
  if (completion.status == TransferStatus::stall || completion.status == TransferStatus::error) {
    if (std::holds_alternative<SelectConfigurationPlan>(request.plan)) {
      why.usbd_status = pdu::usbd_status::set_config_failed;
    } else if (std::holds_alternative<SelectInterfacePlan>(request.plan)) {
      why.usbd_status = pdu::usbd_status::interface_not_found;
    }
  }
  carry_out(id, why);
}

bool DeviceChannel::passes_reset_on(const Request& request) const {
  return std::holds_alternative<PortResetPlan>(request.plan) &&
         stick_.reset_policy() == ResetPolicy::pass;
}

/// A port reset that was left half done: which endpoints the stick has now cannot be known, so the
/// server has to select its configuration again.
void DeviceChannel::forget_handles() {
  configuration_handle_ = 0;
  pipes_.clear();
}

/// A device with a single alternate setting may stall SET_INTERFACE (USB 2.0, 9.4.10): it is where
/// it was asked to be.
bool DeviceChannel::stall_is_harmless(const usb::SetupPacket& setup) const {
  const auto host_request = usb::as_host_request(setup);
  const auto* configuration = stick_.configuration();
  if (!host_request || configuration == nullptr) return false;
  const auto* interface = std::get_if<usb::SetInterface>(&*host_request);
  if (interface == nullptr) return false;
  const auto settings = std::count_if(
      configuration->interfaces.begin(), configuration->interfaces.end(),
      [&](const auto& setting) { return setting.number == interface->interface_number; });
  return settings == 1;
}

/// The host stack's own call behind CLEAR_FEATURE(HALT) resets both ends of the pipe, whichever
/// request it came from.
void DeviceChannel::clear_halts(const usb::SetupPacket& setup) {
  const auto host_request = usb::as_host_request(setup);
  if (!host_request) return;
  const auto* cleared = std::get_if<usb::ClearHalt>(&*host_request);
  const bool all = std::holds_alternative<usb::PortReset>(*host_request);
  for (auto& [handle, pipe] : pipes_) {
    if (all || (cleared != nullptr && cleared->endpoint == pipe.endpoint.address)) {
      pipe.halted = false;
    }
  }
}

}  // namespace tillbridge::rdpeusb::till
