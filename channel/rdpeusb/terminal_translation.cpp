#include "channel/rdpeusb/terminal_translation.hpp"

#include <algorithm>
#include <string>

#include "channel/rdpeusb/pdu/status.hpp"
#include "channel/usb/requests.hpp"

namespace tillbridge::rdpeusb::terminal {

namespace {

using usb::TransferStatus;

// bmRequestType (USB 2.0, table 9-2).
constexpr std::uint8_t recipient_bits = 0x1F;
constexpr unsigned type_shift = 5;
constexpr std::uint8_t type_standard = 0, type_class = 1, type_vendor = 2;

pdu::TransferRequest request(std::uint16_t function, pdu::TsUrb::Body body, bool in,
                             std::uint32_t length) {
  pdu::TransferRequest request;
  request.in = in;
  request.urb.function = function;
  request.urb.body = std::move(body);
  request.output_buffer_size = length;
  return request;
}

/// A control transfer's data stage in a request.
pdu::TransferRequest with_data(std::uint16_t function, pdu::TsUrb::Body body,
                               const usb::Transfer& transfer) {
  pdu::TransferRequest result =
      request(function, std::move(body), transfer.setup.in(), transfer.length);
  if (!result.in) result.output_buffer = transfer.data;
  return result;
}

std::uint32_t direction_flags(bool in) {
  return in ? pdu::transfer_flag::direction_in | pdu::transfer_flag::short_transfer_ok : 0U;
}

/// The function of a standard request that has a typed form for this recipient, or nothing.
std::optional<std::uint16_t> standard_function(const usb::SetupPacket& setup) {
  namespace f = pdu::urb_function;
  const std::uint8_t recipient = setup.request_type & recipient_bits;
  const bool in = setup.in();
  const auto pick = [recipient](
                        std::uint16_t device, std::uint16_t interface, std::uint16_t endpoint,
                        std::optional<std::uint16_t> other) -> std::optional<std::uint16_t> {
    switch (recipient) {
      case 0:
        return device;
      case 1:
        return interface;
      case 2:
        return endpoint;
      case 3:
        return other;
      default:
        return std::nullopt;
    }
  };
  switch (setup.request) {
    case usb::request::get_descriptor:
      if (!in) return std::nullopt;
      return pick(f::get_descriptor_from_device, f::get_descriptor_from_interface,
                  f::get_descriptor_from_endpoint, std::nullopt);
    case usb::request::set_descriptor:
      if (in) return std::nullopt;
      return pick(f::set_descriptor_to_device, f::set_descriptor_to_interface,
                  f::set_descriptor_to_endpoint, std::nullopt);
    case usb::request::get_status:
      if (!in || setup.value != 0 || setup.length != 2) return std::nullopt;
      return pick(f::get_status_from_device, f::get_status_from_interface,
                  f::get_status_from_endpoint, f::get_status_from_other);
    case usb::request::set_feature:
      if (in || setup.length != 0) return std::nullopt;
      return pick(f::set_feature_to_device, f::set_feature_to_interface, f::set_feature_to_endpoint,
                  f::set_feature_to_other);
    case usb::request::clear_feature:
      if (in || setup.length != 0) return std::nullopt;
      return pick(f::clear_feature_to_device, f::clear_feature_to_interface,
                  f::clear_feature_to_endpoint, f::clear_feature_to_other);
    case usb::request::get_configuration:
      if (!in || recipient != 0 || setup.value != 0 || setup.index != 0 || setup.length != 1)
        return std::nullopt;
      return f::get_configuration;
    case usb::request::get_interface:
      if (!in || recipient != 1 || setup.value != 0 || setup.length != 1) return std::nullopt;
      return f::get_interface;
    default:
      return std::nullopt;
  }
}

std::optional<pdu::TransferRequest> standard_request(const usb::Transfer& transfer) {
  const usb::SetupPacket& setup = transfer.setup;
  const auto function = standard_function(setup);
  if (!function) return std::nullopt;
  switch (pdu::body_of(*function)) {
    case pdu::UrbBody::descriptor: {
      pdu::DescriptorRequest body;
      body.index = static_cast<std::uint8_t>(setup.value & 0xFFU);
      body.type = static_cast<std::uint8_t>(setup.value >> 8U);
      body.language = setup.index;
      return with_data(*function, body, transfer);
    }
    case pdu::UrbBody::feature:
      // Travels as TRANSFER_IN although the device sees an OUT request; Windows' client insists on
      // it.
      return request(*function, pdu::FeatureRequest{setup.value, setup.index}, true, 0);
    case pdu::UrbBody::status:
      return request(*function, pdu::StatusRequest{setup.index, 0}, true, setup.length);
    case pdu::UrbBody::get_interface:
      return request(*function, pdu::GetInterfaceRequest{setup.index, 0}, true, setup.length);
    default:
      return request(*function, pdu::NoParameters{}, true, setup.length);
  }
}

std::optional<pdu::TransferRequest> class_or_vendor_request(const usb::Transfer& transfer) {
  namespace f = pdu::urb_function;
  const usb::SetupPacket& setup = transfer.setup;
  const std::uint8_t recipient = setup.request_type & recipient_bits;
  if (recipient > 3) return std::nullopt;
  static constexpr std::uint16_t class_functions[] = {f::class_device, f::class_interface,
                                                      f::class_endpoint, f::class_other};
  static constexpr std::uint16_t vendor_functions[] = {f::vendor_device, f::vendor_interface,
                                                       f::vendor_endpoint, f::vendor_other};
  const bool vendor = ((setup.request_type >> type_shift) & 3U) == type_vendor;
  pdu::VendorOrClassRequest body;
  body.flags = direction_flags(setup.in());
  body.request = setup.request;
  body.value = setup.value;
  body.index = setup.index;
  return with_data(vendor ? vendor_functions[recipient] : class_functions[recipient], body,
                   transfer);
}

pdu::InterfaceInformation interface_information(const usb::InterfaceDescriptor& interface) {
  pdu::InterfaceInformation information;
  information.pipes_expected = static_cast<std::uint16_t>(interface.endpoints.size());
  information.interface_number = interface.number;
  information.alternate_setting = interface.alternate_setting;
  information.pipes.resize(interface.endpoints.size());
  return information;
}

TransferStatus status_of_failure(std::uint32_t status) {
  namespace s = pdu::usbd_status;
  switch (status) {
    case s::stall_pid:
    case s::endpoint_halted:
      return TransferStatus::stall;
    case s::canceled:
      return TransferStatus::cancelled;
    case s::device_gone:
      return TransferStatus::device_gone;
    case s::timeout:
      return TransferStatus::timeout;
    case s::babble_detected:
    case s::data_overrun:
    case s::buffer_overrun:
      return TransferStatus::overflow;
    case s::error_short_transfer:
    case s::data_underrun:
      return TransferStatus::short_read;
    case s::insufficient_resources:
    case s::no_memory:
    case s::no_bandwidth:
      return TransferStatus::no_resources;
    case s::invalid_urb_function:
    case s::invalid_parameter:
    case s::invalid_pipe_handle:
    case s::not_supported:
    case s::not_accessed:
      return TransferStatus::refused;
    default:
      return TransferStatus::error;
  }
}

TransferStatus status_of_hresult(std::uint32_t value) {
  namespace h = pdu::hresult;
  switch (value) {
    case h::aborted:
      return TransferStatus::cancelled;
    case h::device_not_connected:
      return TransferStatus::device_gone;
    case h::timeout:
      return TransferStatus::timeout;
    case h::not_supported:
    case h::invalid_argument:
      return TransferStatus::refused;
    case h::out_of_memory:
      return TransferStatus::no_resources;
    default:
      return TransferStatus::error;
  }
}

/// enum libusb_transfer_status, which FreeRDP sends as it is.
std::optional<TransferStatus> libusb_failure(std::uint32_t status) {
  switch (status) {
    case 1:
      return TransferStatus::error;
    case 2:
      return TransferStatus::timeout;
    case 3:
      return TransferStatus::cancelled;
    case 4:
      return TransferStatus::stall;
    case 5:
      return TransferStatus::device_gone;
    case 6:
      return TransferStatus::overflow;
    default:
      return std::nullopt;
  }
}

Outcome judge(const Asked& asked, const pdu::TsUrbResult& result, std::uint32_t hresult) {
  Outcome outcome;
  if (pdu::usbd_status::failed(result.status)) {
    outcome.status = status_of_failure(result.status);
    if (!pdu::hresult::failed(hresult)) outcome.quirks.push_back(Quirk::failure_as_success);
  } else if (pdu::hresult::failed(hresult)) {
    outcome.status = status_of_hresult(hresult);
  } else if (const auto failure = libusb_failure(result.status); failure && !asked.control) {
    outcome.status = *failure;
    outcome.quirks.push_back(Quirk::unmapped_status);
  } else if (result.status == pdu::usbd_status::pending) {
    outcome.status = TransferStatus::error;  // a completion that says it is none
  }
  return outcome;
}

/// Of a failed transfer, only these ends leave data that really passed the bus.
bool keeps_data(const Asked& asked, TransferStatus status) {
  if (status == TransferStatus::success) return true;
  return !asked.control &&
         (status == TransferStatus::short_read || status == TransferStatus::cancelled ||
          status == TransferStatus::timeout);
}

Error lie(const std::string& what) {
  return fail(ErrorCode::protocol, what);
}

}  // namespace

pdu::TransferRequest control_request(const usb::Transfer& transfer) {
  const std::uint8_t type = (transfer.setup.request_type >> type_shift) & 3U;
  std::optional<pdu::TransferRequest> typed;
  if (type == type_standard) typed = standard_request(transfer);
  if (type == type_class || type == type_vendor) typed = class_or_vendor_request(transfer);
  if (typed) return *std::move(typed);
  pdu::ControlTransfer body;
  body.flags = direction_flags(transfer.setup.in()) | pdu::transfer_flag::default_pipe;
  body.setup = transfer.setup;
  return with_data(pdu::urb_function::control_transfer, body, transfer);
}

pdu::TransferRequest pipe_transfer(const usb::Transfer& transfer, std::uint32_t pipe_handle) {
  const bool in = transfer.in();
  pdu::TransferRequest result =
      request(pdu::urb_function::bulk_or_interrupt_transfer,
              pdu::BulkOrInterruptTransfer{pipe_handle, direction_flags(in)}, in, transfer.length);
  if (!in) result.output_buffer = transfer.data;
  return result;
}

pdu::TransferRequest zero_length_packet(std::uint32_t pipe_handle) {
  return request(pdu::urb_function::bulk_or_interrupt_transfer,
                 pdu::BulkOrInterruptTransfer{pipe_handle, 0}, false, 0);
}

std::vector<const usb::InterfaceDescriptor*> selected_settings(
    const usb::Configuration& configuration) {
  std::vector<const usb::InterfaceDescriptor*> settings;
  for (const usb::InterfaceDescriptor& interface : configuration.interfaces) {
    const auto same = [&](const usb::InterfaceDescriptor* other) {
      return other->number == interface.number;
    };
    if (std::none_of(settings.begin(), settings.end(), same)) settings.push_back(&interface);
  }
  return settings;
}

pdu::TransferRequest select_configuration(const usb::Configuration& configuration) {
  pdu::SelectConfiguration body;
  body.descriptor_valid = 1;
  for (const usb::InterfaceDescriptor* setting : selected_settings(configuration)) {
    body.interfaces.push_back(interface_information(*setting));
  }
  body.descriptor = configuration.raw;
  return request(pdu::urb_function::select_configuration, std::move(body), true, 0);
}

pdu::TransferRequest unconfigure() {
  return request(pdu::urb_function::select_configuration, pdu::SelectConfiguration{}, true, 0);
}

pdu::TransferRequest select_interface(std::uint32_t configuration_handle,
                                      const usb::InterfaceDescriptor& interface) {
  return request(pdu::urb_function::select_interface,
                 pdu::SelectInterface{configuration_handle, interface_information(interface)}, true,
                 0);
}

pdu::TransferRequest clear_stall(std::uint32_t pipe_handle) {
  return request(pdu::urb_function::sync_reset_pipe_and_clear_stall, pdu::PipeRequest{pipe_handle},
                 true, 0);
}

pdu::TransferRequest get_configuration_descriptor(std::uint8_t index, std::uint16_t length) {
  return request(pdu::urb_function::get_descriptor_from_device,
                 pdu::DescriptorRequest{index, usb::descriptor_type::configuration, 0}, true,
                 length);
}

Result<Outcome> outcome_of(const Asked& asked, const pdu::UrbCompletion& completion) {
  if (completion.output.size() > asked.output_buffer_size) {
    return lie("a completion with " + std::to_string(completion.output.size()) +
               " bytes, more than the " + std::to_string(asked.output_buffer_size) + " asked for");
  }
  Outcome outcome = judge(asked, completion.result, completion.hresult);
  if (!asked.in) outcome.quirks.push_back(Quirk::echoed_output);
  if (keeps_data(asked, outcome.status)) {
    outcome.actual_length = static_cast<std::uint32_t>(completion.output.size());
    if (asked.in) outcome.data = completion.output;
  } else if (asked.in && !completion.output.empty()) {
    outcome.quirks.push_back(Quirk::data_with_failure);
  }
  return outcome;
}

Result<Outcome> outcome_of(const Asked& asked, const pdu::UrbCompletionNoData& completion) {
  const std::uint32_t most = asked.in ? 0 : asked.output_buffer_size;
  if (completion.output_buffer_size > most) {
    return lie("a completion without data that claims " +
               std::to_string(completion.output_buffer_size) + " bytes, of at most " +
               std::to_string(most));
  }
  Outcome outcome = judge(asked, completion.result, completion.hresult);
  if (keeps_data(asked, outcome.status)) outcome.actual_length = completion.output_buffer_size;
  return outcome;
}

Result<Outcome> outcome_of(const Asked& asked, const pdu::IoControlCompletion& completion) {
  Outcome outcome;
  if (completion.output_buffer_size > asked.output_buffer_size) {
    if (completion.output_buffer_size - asked.output_buffer_size !=
        pdu::freerdp_io_control_surplus) {
      return lie("an I/O control's completion with " +
                 std::to_string(completion.output_buffer_size) + " bytes, more than the " +
                 std::to_string(asked.output_buffer_size) + " asked for");
    }
    outcome.quirks.push_back(Quirk::surplus_announced);
  }
  if (pdu::hresult::failed(completion.hresult))
    outcome.status = status_of_hresult(completion.hresult);
  return outcome;
}

Result<std::vector<Pipe>> pipes_of(const pdu::InterfaceInformationResult& result,
                                   const usb::InterfaceDescriptor& interface) {
  const std::string name = "interface " + std::to_string(interface.number);
  if (result.interface_number != interface.number ||
      result.alternate_setting != interface.alternate_setting) {
    return lie("a select result for another interface or setting than " + name);
  }
  if (result.pipes.size() != interface.endpoints.size()) {
    return lie("a select result with " + std::to_string(result.pipes.size()) + " pipes for " +
               name + ", which has " + std::to_string(interface.endpoints.size()));
  }
  std::vector<Pipe> pipes;
  for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
    const auto found = std::find_if(
        result.pipes.begin(), result.pipes.end(),
        [&](const pdu::PipeInformationResult& pipe) { return pipe.endpoint == endpoint.address; });
    if (found == result.pipes.end() || found->type != static_cast<std::uint32_t>(endpoint.type())) {
      return lie("a select result whose pipes are not the endpoints of " + name);
    }
    constexpr std::uint16_t packet_size_bits =
        0x7FF;  // bits 11-12 are the high-bandwidth multiplier
    pipes.push_back({endpoint.address, interface.number, found->handle, endpoint.type(),
                     static_cast<std::uint16_t>(endpoint.max_packet_size & packet_size_bits)});
  }
  return pipes;
}

usb::Completion finish(const usb::Transfer& transfer, const Outcome& outcome) {
  usb::Completion completion;
  completion.id = transfer.id;
  completion.status = outcome.status;
  completion.actual_length = outcome.actual_length;
  completion.data.assign(outcome.data.begin(), outcome.data.end());
  if (outcome.status == TransferStatus::success && transfer.in() && transfer.short_not_ok &&
      outcome.actual_length < transfer.length) {
    completion.status = TransferStatus::short_read;
  }
  return completion;
}

}  // namespace tillbridge::rdpeusb::terminal
