#include "channel/rdpeusb/till_role_device.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/status.hpp"
#include "channel/rdpeusb/till_role_identity.hpp"
#include "channel/rdpeusb/till_role_io_control.hpp"

namespace tillbridge::rdpeusb::till {

namespace {

/// A TS_URB may list 64 KiB of interfaces and pipes: a thousand of them that wait are worth
/// counting.
std::size_t listed_bytes(const std::vector<pdu::InterfaceInformation>& interfaces) {
  std::size_t bytes = 0;
  for (const auto& interface : interfaces) {
    bytes += sizeof(interface) + interface.pipes.size() * sizeof(pdu::PipeInformation);
  }
  return bytes;
}

}  // namespace

DeviceChannel::DeviceChannel(ChannelId channel, std::uint32_t usb_device, Stick& stick,
                             Outputs& outputs)
    : channel_(channel), usb_device_(usb_device), stick_(stick), outputs_(outputs) {}

Status DeviceChannel::receive(const pdu::FromServer& message, Instant now) {
  Status status = std::visit(
      [&](const auto& pdu) -> Status {
        // The handshake's messages are the role's business.
        if constexpr (requires { handle(pdu, now); }) return handle(pdu, now);
        return {};
      },
      message);
  if (status) pump(now);
  return status;
}

void DeviceChannel::complete(std::uint32_t request, usb::Completion completion, Instant now) {
  const auto found = requests_.find(request);
  if (found == requests_.end() || found->second.transfer != completion.id) return;
  transfer_done(request, found->second, std::move(completion));
  pump(now);
}

void DeviceChannel::abandoned_ended(Instant now) {
  pump(now);
}

void DeviceChannel::advance(Instant now) {
  std::vector<RequestId> expired;
  for (auto& [id, request] : requests_) {
    if (!request.deadline || *request.deadline > now) continue;
    request.deadline.reset();
    expired.push_back(id);
  }
  for (const RequestId id : expired) cancel(id, failure::timed_out);
  pump(now);
}

std::optional<Instant> DeviceChannel::next_deadline() const {
  std::optional<Instant> next;
  for (const auto& [id, request] : requests_) {
    if (request.deadline && (!next || *request.deadline < *next)) next = request.deadline;
  }
  return next;
}

// --- what comes in -------------------------------------------------------------------------------

Status DeviceChannel::handle(const pdu::CancelRequest& message, Instant) {
  cancel(message.request, failure::cancelled);
  return {};
}

/// Count 0 comes when a driver stack is torn down; another may register on the same channel.
Status DeviceChannel::handle(const pdu::RegisterRequestCallback& message, Instant) {
  if (message.count == 0) {
    end_registration();
    return {};
  }
  completion_interface_ = message.request_completion & pdu::interface_id::bits;
  if (!was_registered_) outputs_.emplace_back(TillRole::DeviceInSession{stick_.id()});
  was_registered_ = true;
  return {};
}

void DeviceChannel::end_registration() {
  completion_interface_.reset();
  for (const auto& [id, request] : requests_) {
    if (passes_reset_on(request) && request.state == Request::State::running) {
      forget_handles();
      break;
    }
  }
  stick_.abandon_all();
  requests_.clear();
  held_back_.clear();
  ready_.clear();
  barrier_ = Barrier::none;
  outstanding_bytes_ = 0;
}

Status DeviceChannel::handle(const pdu::QueryDeviceText& message, Instant) {
  pdu::QueryDeviceTextResponse response;
  response.address = message.address;
  if (message.text_type == pdu::QueryDeviceText::description) {
    response.text = description_text(stick_.description());
  } else if (message.text_type == pdu::QueryDeviceText::location) {
    response.text = location_text(stick_.description());
  } else {
    response.result = pdu::hresult::invalid_argument;
  }
  send(pdu::encode(response));
  return {};
}

Status DeviceChannel::handle(const pdu::RetractDevice& message, Instant) {
  return fail(
      ErrorCode::refused,
      "the terminal server does not let this device into the session (RETRACT_DEVICE, "
      "reason " +
          std::to_string(message.reason) +
          "); its group policy \"Do not allow supported Plug and Play device redirection\" must "
          "be set to Disabled");
}

/// Completing either of two requests with one id would be ambiguous: only closing is safe.
Status DeviceChannel::check_unused(RequestId id) const {
  if (requests_.count(id) == 0) return {};
  return fail(ErrorCode::protocol,
              "the terminal server used request id " + std::to_string(id) + " while it is running");
}

Status DeviceChannel::handle(const pdu::IoControl& message, Instant now) {
  if (!completion_interface_) return {};
  if (Status unused = check_unused(message.request); !unused) return unused;
  if (is_port_reset(message)) {
    Request request;
    request.io_control = true;
    request.output_buffer_size = message.output_buffer_size;
    request.plan = PortResetPlan{};
    admit(message.request, std::move(request), now);
    return {};
  }
  const IoControlAnswer answer = answer_io_control(message, stick_.description(), now);
  pdu::IoControlCompletion completion;
  completion.address.interface = *completion_interface_;
  completion.request = message.request;
  completion.hresult = answer.hresult;
  completion.information = answer.information;
  completion.output = answer.output;
  send(pdu::encode(completion));
  return {};
}

Status DeviceChannel::handle(const pdu::TransferRequest& message, Instant now) {
  if (!completion_interface_) return {};
  // Nobody waits for an isochronous OUT with NoAck, and we carry none out.
  if (message.urb.no_ack && !message.in &&
      message.urb.function == pdu::urb_function::isochronous_transfer) {
    return {};
  }
  if (Status unused = check_unused(message.urb.request); !unused) return unused;
  Request request;
  request.function = message.urb.function;
  request.in = message.in;
  request.output_buffer_size = message.output_buffer_size;
  request.plan = plan_of(message);
  admit(message.urb.request, std::move(request), now);
  return {};
}

Status DeviceChannel::handle(const pdu::BadRequest& message, Instant) {
  using Kind = pdu::BadRequest::Kind;
  if (!completion_interface_) return {};
  if (message.no_ack && message.kind == Kind::transfer_out &&
      message.function == pdu::urb_function::isochronous_transfer) {
    return {};
  }
  if (Status unused = check_unused(message.request); !unused) return unused;
  outputs_.emplace_back(TillRole::Event{
      Level::debug, "stick " + stick_.label() + ": request refused: " + message.reason});
  Request request;
  request.io_control =
      message.kind == Kind::io_control || message.kind == Kind::internal_io_control;
  request.function = message.function.value_or(0);
  request.in = message.kind != Kind::transfer_out;
  Outcome outcome;
  outcome.status = {message.usbd_status, message.hresult};
  outcome.body = failed_body(request);
  send_completion(message.request, request, outcome);
  return {};
}

void DeviceChannel::admit(RequestId id, Request request, Instant now) {
  request.bytes = request.output_buffer_size;
  if (const auto* select = std::get_if<SelectConfigurationPlan>(&request.plan)) {
    request.bytes += listed_bytes(select->interfaces);
  }
  const std::size_t transfers = requests_.size() + stick_.abandoned();
  const std::size_t bytes = outstanding_bytes_ + stick_.abandoned_bytes();
  if (transfers >= limits::transfers_in_flight_per_device ||
      request.output_buffer_size > limits::transfer_bytes ||
      bytes + request.bytes > limits::transfer_bytes_in_flight_per_device) {
    request.plan = Failure(failure::no_resources);
  }
  if (const auto* refused = std::get_if<Failure>(&request.plan)) {
    Outcome outcome;
    outcome.status = *refused;
    outcome.body = failed_body(request);
    send_completion(id, request, outcome);
    return;
  }
  outstanding_bytes_ += request.bytes;
  request.arrival = ++arrivals_;
  if (const auto* control = std::get_if<ControlPlan>(&request.plan)) {
    if (control->timeout_ms != 0) {
      request.deadline = now + std::chrono::milliseconds(control->timeout_ms);
    }
  }
  const auto entry = spare_requests_.insert(requests_, id, std::move(request));
  if (must_wait(entry->second)) {
    held_back_.push_back(id);
  } else {
    start(id, entry->second, now);
  }
}

// --- the table -----------------------------------------------------------------------------------

/// Unknown and finished ids are the ordinary race. What has reached the stick ends when its
/// transfer does; it may still win.
void DeviceChannel::cancel(RequestId id, const Failure& why) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  Request& request = found->second;
  if (request.state == Request::State::running) {
    if (!request.ending) request.ending = why;
    stick_.cancel(request.transfer);
    return;
  }
  Outcome outcome;
  outcome.status = why;
  outcome.body = failed_body(request);
  finish(id, outcome);
}

/// The one place where an admitted request ends.
void DeviceChannel::finish(RequestId id, const Outcome& outcome) {
  const auto found = requests_.find(id);
  const Request request = std::move(found->second);
  spare_requests_.erase(requests_, found);  // from here on the id is free: the server may reuse it
  send_completion(id, request, outcome);

  outstanding_bytes_ -= request.bytes;
  if (request.state == Request::State::held_back) {
    held_back_.erase(std::remove(held_back_.begin(), held_back_.end(), id), held_back_.end());
  }
  if (barrier_ != Barrier::none && barrier_holder_ == id) barrier_ = Barrier::none;
  for (auto& [other, waiting] : requests_) {
    if (waiting.waits_for.erase(id) != 0 && waiting.waits_for.empty()) ready_.push_back(other);
  }
}

void DeviceChannel::send_completion(RequestId id, const Request& request, const Outcome& outcome) {
  if (request.io_control) {
    pdu::IoControlCompletion completion;
    completion.address.interface = *completion_interface_;
    completion.request = id;
    completion.hresult = outcome.status.hresult;
    send(pdu::encode(completion));
    return;
  }
  pdu::TsUrbResult result;
  result.padding = request.function;  // as Microsoft's client does; handy in traces
  result.status = outcome.status.usbd_status;
  result.body = outcome.body;
  // The request's direction and the bytes returned decide, never the request's OutputBufferSize:
  // an OUT answered with URB_COMPLETION was FreeRDP's fault for years (their issue 13112).
  if (request.in && !outcome.data.empty()) {
    pdu::UrbCompletion completion;
    completion.address.interface = *completion_interface_;
    completion.request = id;
    completion.result = std::move(result);
    completion.hresult = outcome.status.hresult;
    completion.output = outcome.data;
    send(pdu::encode(completion));
    return;
  }
  pdu::UrbCompletionNoData completion;
  completion.address.interface = *completion_interface_;
  completion.request = id;
  completion.result = std::move(result);
  completion.hresult = outcome.status.hresult;
  completion.output_buffer_size = request.in ? 0 : outcome.accepted;
  send(pdu::encode(completion));
}

void DeviceChannel::send(Bytes message) {
  outputs_.emplace_back(TillRole::SendMessage{channel_, std::move(message)});
}

/// Starts whatever no longer has to wait, until nothing changes any more.
void DeviceChannel::pump(Instant now) {
  while (true) {
    if (!ready_.empty()) {
      const RequestId id = ready_.front();
      ready_.pop_front();
      const auto found = requests_.find(id);
      if (found != requests_.end() && found->second.state == Request::State::waiting) {
        proceed(id, found->second);
      }
      continue;
    }
    const auto next = std::find_if(held_back_.begin(), held_back_.end(),
                                   [&](RequestId id) { return !must_wait(requests_.at(id)); });
    if (next == held_back_.end()) return;
    const RequestId id = *next;
    held_back_.erase(next);
    start(id, requests_.at(id), now);
  }
}

bool DeviceChannel::must_wait(const Request& request) const {
  const auto* transfer = std::get_if<PipeTransferPlan>(&request.plan);
  const auto* reset = std::get_if<ResetPipePlan>(&request.plan);
  // These do not reach the stick, and what is on a dead handle can be refused at once.
  if (std::holds_alternative<AbortPipePlan>(request.plan) ||
      std::holds_alternative<FrameNumberPlan>(request.plan) ||
      (transfer != nullptr && pipes_.count(transfer->pipe) == 0) ||
      (reset != nullptr && (!reset->on_device || pipes_.count(reset->pipe) == 0))) {
    return false;
  }
  // What an earlier registration left half done: until it has ended nobody can tell what the stick
  // has.
  if (stick_.unsettled()) return true;
  if (barrier_ == Barrier::none) return false;
  // A port reset ends whatever is under way, except another one.
  if (std::holds_alternative<PortResetPlan>(request.plan)) {
    return std::holds_alternative<PortResetPlan>(requests_.at(barrier_holder_).plan);
  }
  return transfer == nullptr || barrier_ == Barrier::device;
}

}  // namespace tillbridge::rdpeusb::till
