// What the completions of requests do to the transfers they were sent for.
#include <algorithm>

#include "channel/rdpeusb/terminal_device.hpp"

namespace tillbridge::rdpeusb::terminal {

using usb::TransferStatus;

namespace {

Answer answer_of(const pdu::UrbCompletion& completion) {
  Answer answer;
  answer.message = Answer::Message::urb_completion;
  answer.status = completion.result.status;
  answer.hresult = completion.hresult;
  answer.size = static_cast<std::uint32_t>(completion.output.size());
  answer.data.assign(completion.output.begin(), completion.output.end());
  return answer;
}

Answer answer_of(const pdu::UrbCompletionNoData& completion) {
  Answer answer;
  answer.message = Answer::Message::urb_completion_no_data;
  answer.status = completion.result.status;
  answer.hresult = completion.hresult;
  answer.size = completion.output_buffer_size;
  answer.frame_number = std::holds_alternative<pdu::FrameNumberResult>(completion.result.body);
  return answer;
}

Answer answer_of(const pdu::IoControlCompletion& completion) {
  Answer answer;
  answer.message = Answer::Message::io_control_completion;
  answer.hresult = completion.hresult;
  answer.information = completion.information;
  answer.size = completion.output_buffer_size;
  answer.data.assign(completion.output.begin(), completion.output.end());
  return answer;
}

}  // namespace

std::optional<pdu::OutstandingRequest> Device::outstanding(std::uint32_t request) const {
  const auto found = requests_.find(request);
  if (found == requests_.end()) return std::nullopt;
  return pdu::OutstandingRequest{found->second.io_control, found->second.function,
                                 found->second.asked.output_buffer_size};
}

Status Device::receive(const pdu::UrbCompletion& completion, Instant now) {
  const auto found = requests_.find(completion.request);
  if (found == requests_.end()) return fail(ErrorCode::protocol, "a completion for no request");
  const Result<Outcome> outcome = outcome_of(found->second.asked, completion);
  if (!outcome) return outcome.error();
  if (found->second.of_opening())
    return answered_opening(completion.request, *outcome, answer_of(completion));
  return arrived(completion.request, *outcome, &completion.result, now);
}

Status Device::receive(const pdu::UrbCompletionNoData& completion, Instant now) {
  const auto found = requests_.find(completion.request);
  if (found == requests_.end()) return fail(ErrorCode::protocol, "a completion for no request");
  const Result<Outcome> outcome = outcome_of(found->second.asked, completion);
  if (!outcome) return outcome.error();
  if (found->second.of_opening())
    return answered_opening(completion.request, *outcome, answer_of(completion));
  return arrived(completion.request, *outcome, &completion.result, now);
}

Status Device::receive(const pdu::IoControlCompletion& completion, Instant now) {
  const auto found = requests_.find(completion.request);
  if (found == requests_.end()) return fail(ErrorCode::protocol, "a completion for no request");
  const Result<Outcome> outcome = outcome_of(found->second.asked, completion);
  if (!outcome) return outcome.error();
  if (found->second.of_opening())
    return answered_opening(completion.request, *outcome, answer_of(completion));
  if (found->second.step == Step::io_control) {
    const std::uint32_t asked = found->second.asked.output_buffer_size;
    requests_.erase(found);
    for (const Quirk quirk : outcome->quirks) note(quirk);
    IoControlEnd end{completion.hresult, {}};
    if (!pdu::hresult::failed(completion.hresult)) {
      const ByteView output =
          completion.output.first(std::min<std::size_t>(completion.output.size(), asked));
      end.output.assign(output.begin(), output.end());
    }
    end_control(completion.request, std::move(end));
    return {};
  }
  return arrived(completion.request, *outcome, nullptr, now);
}

Status Device::answered_opening(std::uint32_t request, const Outcome& outcome, Answer answer) {
  const auto found = requests_.find(request);
  const bool despite_no_ack = found->second.step == Step::no_ack;
  requests_.erase(found);
  for (const Quirk quirk : outcome.quirks) note(quirk);
  outputs_.emplace_back(OpeningAnswer{std::move(answer), despite_no_ack});
  return {};
}

Status Device::arrived(std::uint32_t request_id, const Outcome& outcome,
                       const pdu::TsUrbResult* result, Instant now) {
  const auto found = requests_.find(request_id);
  const Request request = found->second;
  spare_requests_.erase(requests_, found);
  for (const Quirk quirk : outcome.quirks) note(quirk);
  if (request.transfer == 0) {
    --abandoned_;
    return {};
  }
  Running& running = running_.at(request.transfer);
  running.requests.erase(std::remove(running.requests.begin(), running.requests.end(), request_id),
                         running.requests.end());
  switch (request.step) {
    case Step::transfer:
    case Step::zero_packet:
      ended(running, request.step, outcome, now);
      return {};
    case Step::descriptor_header:
    case Step::descriptor_whole:
      descriptor_read(running, request.step, outcome);
      return {};
    case Step::select_configuration:
      return configuration_selected(running, outcome, result);
    case Step::select_interface:
      return interface_selected(running, outcome, result);
    case Step::port_status:
      // A driver that hears that the port is gone resets it all the same, and hears it again.
      if (running.cancel_deadline) {
        complete(running, TransferStatus::cancelled);
      } else {
        send_port_control(running, Step::transfer, pdu::io_control_code::reset_port, 0);
      }
      return {};
    case Step::io_control:
    case Step::opening:
    case Step::no_ack:
      break;  // have no transfer: receive() has dealt with them
  }
  return {};
}

void Device::ended(Running& running, Step step, const Outcome& outcome, Instant now) {
  if (step == Step::transfer && ask_again(running, outcome)) return;
  const usb::SetupPacket& setup = running.transfer.setup;
  if (running.transfer.type == usb::TransferType::control &&
      outcome.status == TransferStatus::success && setup.request_type == 0x80 &&
      setup.request == usb::request::get_descriptor &&
      (setup.value >> 8U) == usb::descriptor_type::configuration) {
    remember_descriptor(static_cast<std::uint8_t>(setup.value & 0xFFU), outcome.data);
  }
  usb::Completion completion = finish(running.transfer, outcome);
  const bool failed = completion.status != TransferStatus::success;
  if (!running.result) {
    running.result = std::move(completion);
  } else {  // the transfer and its zero-length packet: both count, the first failure decides
    running.result->actual_length += completion.actual_length;
    if (running.result->status == TransferStatus::success)
      running.result->status = completion.status;
  }
  if (running.requests.empty()) {
    complete(*std::move(running.result));
  } else if (failed && !running.cancel_deadline) {
    cancel_requests(running, now);
  }
}

bool Device::ask_again(Running& running, const Outcome& outcome) {
  // A conforming client never ends a read by itself. FreeRDP does, with libusb's status: after 10
  // s, and for every pipe when one is reset. An empty one took nothing from the device, so it can
  // be asked for again without the session noticing: otherwise a stick that takes its time (a TSE's
  // self test: a minute) would fail there. A write is never repeated.
  const bool unmapped = std::find(outcome.quirks.begin(), outcome.quirks.end(),
                                  Quirk::unmapped_status) != outcome.quirks.end();
  const bool cut_off =
      outcome.status == TransferStatus::timeout || outcome.status == TransferStatus::cancelled;
  if (!unmapped || !cut_off || running.cancel_deadline) return false;
  if (!running.transfer.in()) {
    note(Quirk::write_cut_off);
    return false;
  }
  const Pipe* pipe = find_pipe(running.transfer.endpoint);
  if (outcome.actual_length != 0 || pipe == nullptr) return false;
  note(Quirk::read_cut_off);
  send(running, Step::transfer, pipe_transfer(running.transfer, pipe->handle));
  return true;
}

void Device::remember_descriptor(std::uint8_t index, ByteView data) {
  if (index >= configurations_.size()) return;
  auto& place = configurations_.at(index);
  if (place && selected_ == &*place) return;  // its pipes were checked against this one
  ByteReader header(data);
  header.skip(2);
  if (header.u16le() != data.size() || !header.ok())
    return;  // a part of it: the header alone, usually
  Result<usb::Configuration> configuration = usb::parse_configuration(data);
  if (configuration) place = *std::move(configuration);
}

void Device::descriptor_read(Running& running, Step step, const Outcome& outcome) {
  if (outcome.status != TransferStatus::success || running.cancel_deadline) {
    complete(running, running.cancel_deadline ? TransferStatus::cancelled : outcome.status);
    return;
  }
  const auto wanted = static_cast<std::uint8_t>(running.transfer.setup.value & 0xFFU);
  if (step == Step::descriptor_header) {
    ByteReader header(outcome.data);
    header.skip(2);
    const std::uint16_t total = header.u16le();
    header.skip(1);
    const std::uint8_t value = header.u8();
    if (!header.ok()) {
      complete(running, TransferStatus::error);
    } else if (value == wanted) {
      send(running, Step::descriptor_whole,
           get_configuration_descriptor(running.descriptor_index, total));
    } else {
      ++running.descriptor_index;
      read_descriptor(running);
    }
    return;
  }
  remember_descriptor(running.descriptor_index, outcome.data);
  if (const usb::Configuration* configuration = find_configuration(wanted)) {
    select(running, *configuration);
  } else {
    outputs_.emplace_back(
        fail(ErrorCode::malformed,
             "the configuration descriptor cannot be read; its configuration cannot be selected"));
    complete(running, TransferStatus::error);
  }
}

Status Device::configuration_selected(Running& running, const Outcome& outcome,
                                      const pdu::TsUrbResult* result) {
  const auto value = static_cast<std::uint8_t>(running.transfer.setup.value & 0xFFU);
  const auto* body =
      result == nullptr ? nullptr : std::get_if<pdu::SelectConfigurationResult>(&result->body);
  if (outcome.status != TransferStatus::success || value == 0 || body == nullptr) {
    complete(running, outcome.status);
    return {};
  }
  const usb::Configuration* configuration = find_configuration(value);
  if (configuration == nullptr) {
    complete(running, TransferStatus::error);
    return {};
  }
  const auto settings = selected_settings(*configuration);
  if (body->interfaces.empty() && !settings.empty()) {
    note(Quirk::empty_configuration);
    complete(running, TransferStatus::error);
    return {};
  }
  if (body->interfaces.size() != settings.size()) {
    return fail(ErrorCode::protocol,
                "a select result with " + std::to_string(body->interfaces.size()) +
                    " interfaces instead of " + std::to_string(settings.size()));
  }
  std::vector<Pipe> pipes;
  for (std::size_t i = 0; i < settings.size(); ++i) {
    Result<std::vector<Pipe>> of_interface = pipes_of(body->interfaces[i], *settings[i]);
    if (!of_interface) return of_interface.error();
    pipes.insert(pipes.end(), of_interface->begin(), of_interface->end());
  }
  selected_ = configuration;
  configuration_handle_ = body->configuration_handle;
  pipes_ = std::move(pipes);
  complete(running, TransferStatus::success);
  return {};
}

Status Device::interface_selected(Running& running, const Outcome& outcome,
                                  const pdu::TsUrbResult* result) {
  const auto* body =
      result == nullptr ? nullptr : std::get_if<pdu::SelectInterfaceResult>(&result->body);
  if (outcome.status != TransferStatus::success || body == nullptr) {
    complete(running, outcome.status);
    return {};
  }
  const usb::SetupPacket& setup = running.transfer.setup;
  const usb::InterfaceDescriptor* interface =
      selected_ == nullptr ? nullptr
                           : selected_->find(static_cast<std::uint8_t>(setup.index & 0xFFU),
                                             static_cast<std::uint8_t>(setup.value & 0xFFU));
  if (interface == nullptr) {  // another configuration was selected meanwhile
    complete(running, TransferStatus::error);
    return {};
  }
  Result<std::vector<Pipe>> pipes = pipes_of(body->interface, *interface);
  if (!pipes) return pipes.error();
  pipes_.erase(
      std::remove_if(pipes_.begin(), pipes_.end(),
                     [&](const Pipe& pipe) { return pipe.interface_number == interface->number; }),
      pipes_.end());
  pipes_.insert(pipes_.end(), pipes->begin(), pipes->end());
  complete(running, TransferStatus::success);
  return {};
}

}  // namespace tillbridge::rdpeusb::terminal
