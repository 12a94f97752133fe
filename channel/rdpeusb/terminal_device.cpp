// Sending side and bookkeeping; what completions do is in terminal_device_completion.cpp.
#include "channel/rdpeusb/terminal_device.hpp"

#include <algorithm>
#include <cassert>

#include "channel/rdpeusb/pdu/device.hpp"

namespace tillbridge::rdpeusb::terminal {

using usb::TransferStatus;

Device::Device(std::uint32_t usb_device, const Habits& habits)
    : usb_device_(usb_device), habits_(habits) {}

void Device::submit(usb::Transfer transfer) {
  assert(running_.count(transfer.id) == 0);
  const auto refused = refusal(transfer);
  bytes_in_flight_ += transfer.length;
  Running& running = spare_running_.insert(running_, transfer.id, {})->second;
  running.transfer = std::move(transfer);
  if (refused) {
    complete(running, *refused);
  } else {
    start(running);
  }
}

std::optional<TransferStatus> Device::refusal(const usb::Transfer& transfer) const {
  if (running_.size() >= limits::transfers_in_flight_per_device ||
      requests_.size() >= limits::transfers_in_flight_per_device ||
      transfer.length > limits::transfer_bytes ||
      bytes_in_flight_ + transfer.length > limits::transfer_bytes_in_flight_per_device) {
    return TransferStatus::no_resources;
  }
  if (transfer.type == usb::TransferType::isochronous) return TransferStatus::refused;
  if (!transfer.in() && transfer.data.size() != transfer.length) return TransferStatus::refused;
  if (transfer.type == usb::TransferType::control) {
    // Addresses are the host controller's matter; a client's device has one already.
    const bool set_address =
        transfer.setup.request_type == 0 && transfer.setup.request == usb::request::set_address;
    if (transfer.endpoint_number() != 0 || transfer.setup.in() != transfer.in() ||
        transfer.setup.length != transfer.length || set_address) {
      return TransferStatus::refused;
    }
  }
  return std::nullopt;
}

void Device::start(Running& running) {
  if (running.transfer.type == usb::TransferType::control) {
    start_control(running);
  } else {
    start_pipe(running);
  }
}

void Device::start_control(Running& running) {
  if (const auto host_request = usb::as_host_request(running.transfer.setup)) {
    std::visit([&](const auto& request) { start(running, request); }, *host_request);
    return;
  }
  send(running, Step::transfer, control_request(running.transfer));
}

void Device::start_pipe(Running& running) {
  const Pipe* pipe = find_pipe(running.transfer.endpoint);
  if (pipe == nullptr) {
    complete(running, TransferStatus::refused);
    return;
  }
  const usb::Transfer& transfer = running.transfer;
  // The protocol has no flag for it, but a zero-length request is really sent (rdpeusb.md 4.4).
  const bool zero_packet = transfer.zero_packet && !transfer.in() && transfer.length != 0 &&
                           pipe->max_packet_size != 0 &&
                           transfer.length % pipe->max_packet_size == 0;
  const std::uint32_t handle = pipe->handle;
  send(running, Step::transfer, pipe_transfer(transfer, handle));
  if (zero_packet) send(running, Step::zero_packet, zero_length_packet(handle));
}

void Device::start(Running& running, const usb::SetConfiguration& host_request) {
  if (host_request.value == 0) {
    selected_ = nullptr;
    pipes_.clear();
    send(running, Step::select_configuration, unconfigure());
    return;
  }
  const usb::Configuration* configuration = find_configuration(host_request.value);
  if (configuration != nullptr) {
    select(running, *configuration);
  } else {
    read_descriptor(running);
  }
}

void Device::select(Running& running, const usb::Configuration& configuration) {
  // The old handles die with this request, whatever comes of it.
  selected_ = nullptr;
  pipes_.clear();
  pdu::TransferRequest request = select_configuration(configuration);
  if (!pdu::fits(request.urb)) {
    outputs_.emplace_back(fail(
        ErrorCode::limit, "the configuration is too large for MS-RDPEUSB and cannot be selected"));
    complete(running, TransferStatus::no_resources);
    return;
  }
  send(running, Step::select_configuration, std::move(request));
}

void Device::read_descriptor(Running& running) {
  while (running.descriptor_index < configurations_.size() &&
         configurations_.at(running.descriptor_index)) {
    ++running.descriptor_index;
  }
  if (running.descriptor_index >= configurations_.size()) {
    complete(running, TransferStatus::stall);  // what a device answers to a value it does not have
    return;
  }
  constexpr std::uint16_t header_size = 9;
  send(running, Step::descriptor_header,
       get_configuration_descriptor(running.descriptor_index, header_size));
}

void Device::start(Running& running, const usb::SetInterface& host_request) {
  const usb::InterfaceDescriptor* interface =
      selected_ == nullptr
          ? nullptr
          : selected_->find(host_request.interface_number, host_request.alternate_setting);
  if (interface == nullptr) {
    complete(running, TransferStatus::stall);
    return;
  }
  pipes_.erase(
      std::remove_if(pipes_.begin(), pipes_.end(),
                     [&](const Pipe& pipe) { return pipe.interface_number == interface->number; }),
      pipes_.end());
  send(running, Step::select_interface, select_interface(configuration_handle_, *interface));
}

void Device::start(Running& running, const usb::ClearHalt& host_request) {
  if (const Pipe* pipe = find_pipe(host_request.endpoint)) {
    send(running, Step::transfer, clear_stall(pipe->handle));
  } else {
    send(running, Step::transfer,
         control_request(running.transfer));  // endpoint 0, or the device's own refusal
  }
}

void Device::start(Running& running, const usb::PortReset& /*host_request*/) {
  if (habits_.port_status_before_reset) {
    send_port_control(running, Step::port_status, pdu::io_control_code::get_port_status,
                      sizeof(std::uint32_t));
  } else {
    send_port_control(running, Step::transfer, pdu::io_control_code::reset_port, 0);
  }
}

void Device::send_port_control(Running& running, Step step, std::uint32_t code,
                               std::uint32_t output_bytes) {
  const std::uint32_t id = next_request_id();
  const bool in = output_bytes != 0;
  requests_[id] = Request{running.transfer.id, step, 0, true, Asked{in, true, output_bytes}};
  running.requests.push_back(id);
  send_io_control(id, code, output_bytes);
}

void Device::io_control(std::uint32_t code, std::uint32_t output_bytes, Instant now) {
  Control& control = controls_.emplace_back();
  if (requests_.size() >= limits::transfers_in_flight_per_device ||
      output_bytes > limits::rdpeusb_io_control_bytes) {
    control.end = IoControlEnd{pdu::hresult::out_of_memory, {}};
    pass_control_ends();
    return;
  }
  const std::uint32_t id = next_request_id();
  control.request = id;
  control.deadline = now + io_control_patience;
  requests_[id] = Request{0, Step::io_control, 0, true, Asked{true, true, output_bytes}};
  send_io_control(id, code, output_bytes);
}

void Device::send_io_control(std::uint32_t id, std::uint32_t code, std::uint32_t output_bytes) {
  pdu::IoControl message;
  message.address.interface = usb_device_;
  message.code = code;
  message.output_buffer_size = output_bytes;
  message.request = id;
  outputs_.emplace_back(pdu::encode(message));
}

void Device::end_control(std::uint32_t request, IoControlEnd end) {
  const auto found =
      std::find_if(controls_.begin(), controls_.end(), [request](const Control& control) {
        return !control.end && control.request == request;  // ids are used again
      });
  if (found != controls_.end()) found->end = std::move(end);
  pass_control_ends();
}

void Device::pass_control_ends() {
  while (!controls_.empty() && controls_.front().end) {
    outputs_.emplace_back(*std::move(controls_.front().end));
    controls_.pop_front();
  }
}

void Device::send(Running& running, Step step, pdu::TransferRequest request) {
  const std::uint32_t id = next_request_id();
  request.address.interface = usb_device_;
  request.urb.request = id;
  const bool control = request.urb.function != pdu::urb_function::bulk_or_interrupt_transfer;
  spare_requests_.insert(requests_, id,
                         {running.transfer.id, step, request.urb.function, false,
                          Asked{request.in, control, request.output_buffer_size}});
  running.requests.push_back(id);
  outputs_.emplace_back(pdu::encode(request));
  // OUT data is never sent twice, so there is no reason to keep it.
  if (step == Step::transfer) running.transfer.data = Bytes();
}

std::uint32_t Device::next_request_id() {
  if (habits_.lowest_request_id) {
    std::uint32_t id = 0;
    for (const auto& [used, request] : requests_) {
      if (used != id) break;
      ++id;
    }
    return id;
  }
  // 31 bits by the protocol, 30 in effect: FreeRDP loses bit 30 of a bulk request's id in its
  // completion.
  constexpr std::uint32_t largest = 0x3FFFFFFF;
  do {
    last_request_ = last_request_ == largest ? 1 : last_request_ + 1;
  } while (requests_.count(last_request_) != 0);
  return last_request_;
}

void Device::cancel(usb::TransferId id, Instant now) {
  const auto found = running_.find(id);
  if (found == running_.end() || found->second.cancel_deadline) return;
  cancel_requests(found->second, now);
}

void Device::cancel_requests(Running& running, Instant now) {
  running.cancel_deadline = now + cancel_patience;
  for (const std::uint32_t request : running.requests) {
    outputs_.emplace_back(pdu::encode(pdu::CancelRequest{{usb_device_, 0}, request}));
  }
}

void Device::complete(usb::Completion completion) {
  const auto found = running_.find(completion.id);
  assert(found != running_.end());
  bytes_in_flight_ -= found->second.transfer.length;
  for (const std::uint32_t request : found->second.requests) {
    requests_.at(request).transfer = 0;
    ++abandoned_;
  }
  spare_running_.erase(running_, found);
  outputs_.emplace_back(std::move(completion));
}

void Device::complete(const Running& running, TransferStatus status) {
  usb::Completion completion;
  completion.id = running.transfer.id;
  completion.status = status;
  complete(std::move(completion));
}

Status Device::advance(Instant now) {
  std::vector<usb::TransferId> due;
  for (const auto& [id, running] : running_) {
    if (running.cancel_deadline && *running.cancel_deadline <= now) due.push_back(id);
  }
  for (const usb::TransferId id : due) {
    Running& running = running_.at(id);
    note(Quirk::silent_request);
    if (running.result) {
      complete(*std::move(running.result));
    } else {
      complete(running, TransferStatus::cancelled);
    }
  }
  for (Control& control : controls_) {
    if (control.end || control.deadline > now) continue;
    note(Quirk::silent_request);
    control.end = IoControlEnd{pdu::hresult::timeout, {}};
    requests_.at(*control.request).step = Step::transfer;  // abandoned from now on
    ++abandoned_;
  }
  pass_control_ends();
  if (abandoned_ > limits::rdpeusb_abandoned_requests) {
    return fail(ErrorCode::limit, "the client left more than " +
                                      std::to_string(limits::rdpeusb_abandoned_requests) +
                                      " cancelled requests without a completion");
  }
  return {};
}

void Device::send_of_opening(Opening::Request request) {
  std::visit([this](auto& message) { message.address.interface = usb_device_; }, request);
  if (auto* io_control = std::get_if<pdu::IoControl>(&request)) {
    io_control->request = next_request_id();
    requests_[io_control->request] =
        Request{0, Step::opening, 0, true, Asked{true, true, io_control->output_buffer_size}};
  } else if (auto* transfer = std::get_if<pdu::TransferRequest>(&request)) {
    pdu::TsUrb& urb = transfer->urb;
    urb.request = next_request_id();
    requests_[urb.request] =
        Request{0, urb.no_ack ? Step::no_ack : Step::opening, urb.function, false,
                Asked{transfer->in, true, transfer->output_buffer_size}};
  } else if (auto* cancel = std::get_if<pdu::CancelRequest>(&request)) {
    cancel->request = next_request_id();
  } else if (const auto* callback = std::get_if<pdu::RegisterRequestCallback>(&request)) {
    if (callback->count == 0) end_no_ack();  // there is no interface left to answer on
  }
  outputs_.emplace_back(
      std::visit([](const auto& message) { return pdu::encode(message); }, request));
}

void Device::give_up_opening() {
  for (auto& [id, request] : requests_) {
    if (request.step != Step::opening) continue;
    request.step = Step::transfer;  // abandoned from now on
    ++abandoned_;
    outputs_.emplace_back(pdu::encode(pdu::CancelRequest{{usb_device_, 0}, id}));
  }
}

void Device::end_no_ack() {
  std::erase_if(requests_, [](const auto& request) { return request.second.step == Step::no_ack; });
}

void Device::take_leave() {
  for (const auto& [id, request] : requests_)
    outputs_.emplace_back(pdu::encode(pdu::CancelRequest{{usb_device_, 0}, id}));
  outputs_.emplace_back(pdu::encode(pdu::RegisterRequestCallback{{usb_device_, 0}, 0, 0}));
  outputs_.emplace_back(pdu::encode(pdu::RetractDevice{{usb_device_, 0}}));
}

void Device::close() {
  requests_.clear();
  abandoned_ = 0;
  for (const auto& [id, running] : running_) {
    usb::Completion completion;
    completion.id = id;
    completion.status = TransferStatus::device_gone;
    outputs_.emplace_back(std::move(completion));
  }
  running_.clear();
  bytes_in_flight_ = 0;
  for (Control& control : controls_) {
    if (!control.end) control.end = IoControlEnd{pdu::hresult::device_not_connected, {}};
  }
  pass_control_ends();
}

std::optional<Instant> Device::next_deadline() const {
  std::optional<Instant> earliest;
  for (const auto& [id, running] : running_) {
    if (running.cancel_deadline && (!earliest || *running.cancel_deadline < *earliest))
      earliest = running.cancel_deadline;
  }
  for (const Control& control : controls_) {
    if (!control.end && (!earliest || control.deadline < *earliest)) earliest = control.deadline;
  }
  return earliest;
}

std::optional<Device::Output> Device::poll() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

void Device::note(Quirk quirk) {
  const auto bit = static_cast<std::size_t>(quirk);
  if (noted_.test(bit)) return;
  noted_.set(bit);
  outputs_.emplace_back(quirk);
}

const usb::Configuration* Device::find_configuration(std::uint8_t value) const {
  for (const auto& configuration : configurations_) {
    if (configuration && configuration->value == value) return &*configuration;
  }
  return nullptr;
}

const Pipe* Device::find_pipe(std::uint8_t endpoint) const {
  const auto found = std::find_if(pipes_.begin(), pipes_.end(),
                                  [&](const Pipe& pipe) { return pipe.endpoint == endpoint; });
  return found == pipes_.end() ? nullptr : &*found;
}

}  // namespace tillbridge::rdpeusb::terminal
