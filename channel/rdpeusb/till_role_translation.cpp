#include "channel/rdpeusb/till_role_translation.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/urb_function.hpp"

namespace tillbridge::rdpeusb::till {

namespace status = pdu::usbd_status;

namespace {

namespace function = pdu::urb_function;

constexpr std::uint8_t direction_in = 0x80;

bool has(std::uint32_t flags, std::uint32_t flag) {
  return (flags & flag) != 0;
}

Bytes copy(ByteView data) {
  return {data.begin(), data.end()};
}

/// A control request whose data stage is the message's: `setup.length` is still to be filled in.
Plan control(const pdu::TransferRequest& request, usb::SetupPacket setup, bool short_ok) {
  if (request.output_buffer_size > limits::control_transfer_bytes) return failure::no_resources;
  setup.length = static_cast<std::uint16_t>(request.output_buffer_size);
  return ControlPlan{setup, copy(request.output_buffer), short_ok, 0};
}

usb::SetupPacket setup_of(std::uint16_t function, std::uint16_t value, std::uint16_t index) {
  const pdu::ControlForm form = pdu::control_form_of(function);
  return {form.request_type, form.request, value, index, 0};
}

/// CONTROL_TRANSFER and CONTROL_TRANSFER_EX: the setup packet as it is.
Plan raw_control(const pdu::TransferRequest& request, std::uint32_t pipe, std::uint32_t flags,
                 const usb::SetupPacket& setup, std::uint32_t timeout_ms) {
  // Only endpoint 0 is a control pipe, and it has no handle: drivers say so by the flag, or by 0.
  if (!has(flags, pdu::transfer_flag::default_pipe) && pipe != 0) {
    return failure::invalid_pipe_handle;
  }
  const bool directions_agree = setup.length == 0 || setup.in() == request.in;
  if (!directions_agree || setup.length != request.output_buffer_size) {
    return failure::invalid_parameter;
  }
  const bool short_ok = has(flags, pdu::transfer_flag::short_transfer_ok);
  return ControlPlan{setup, copy(request.output_buffer), short_ok, timeout_ms};
}

class Planner {
 public:
  explicit Planner(const pdu::TransferRequest& request) : request_(request) {}

  Plan operator()(const pdu::NoParameters&) const {
    if (request_.urb.function == function::get_current_frame_number) return FrameNumberPlan{};
    if (request_.urb.function == function::get_configuration) return fixed_size_in(0, 0, 1);
    return failure::invalid_parameter;
  }

  Plan operator()(const pdu::SelectConfiguration& select) const {
    if (select.descriptor_valid == 0) return SelectConfigurationPlan{std::nullopt, {}};
    // Only bConfigurationValue (offset 5) counts: what the configuration really holds is looked up
    // in the stick's own descriptors (CVE-2026-22859 trusted the server's).
    ByteReader reader(select.descriptor);
    reader.skip(5);
    const std::uint8_t value = reader.u8();
    if (!reader.ok() || value == 0) return failure::bad_configuration;
    return SelectConfigurationPlan{value, select.interfaces};
  }

  Plan operator()(const pdu::SelectInterface& select) const {
    return SelectInterfacePlan{select.configuration_handle, select.interface};
  }

  Plan operator()(const pdu::PipeRequest& pipe) const {
    if (request_.urb.function == function::abort_pipe) return AbortPipePlan{pipe.pipe_handle};
    const bool on_device = request_.urb.function != function::sync_reset_pipe;
    return ResetPipePlan{pipe.pipe_handle, on_device};
  }

  Plan operator()(const pdu::ControlTransfer& transfer) const {
    return raw_control(request_, transfer.pipe_handle, transfer.flags, transfer.setup, 0);
  }

  Plan operator()(const pdu::ControlTransferEx& transfer) const {
    return raw_control(request_, transfer.pipe_handle, transfer.flags, transfer.setup,
                       transfer.timeout_ms);
  }

  Plan operator()(const pdu::BulkOrInterruptTransfer& transfer) const {
    if (request_.output_buffer_size > limits::transfer_bytes) return failure::no_resources;
    return PipeTransferPlan{transfer.pipe_handle, request_.in, request_.output_buffer_size,
                            has(transfer.flags, pdu::transfer_flag::short_transfer_ok),
                            copy(request_.output_buffer)};
  }

  /// Isochronous transfers are refused, but a malformed one is told from one that is not served.
  Plan operator()(const pdu::IsochronousTransfer& transfer) const {
    if (transfer.packets.empty()) return failure::invalid_parameter;  // CVE-2022-39318
    if (transfer.packets.size() > limits::isochronous_packets) return failure::no_resources;
    std::uint32_t previous = 0;
    for (const auto& packet : transfer.packets) {
      if (packet.offset < previous || packet.offset > request_.output_buffer_size) {
        return failure::invalid_parameter;
      }
      previous = packet.offset;
    }
    return failure::not_supported;
  }

  Plan operator()(const pdu::DescriptorRequest& descriptor) const {
    const auto value = static_cast<std::uint16_t>((static_cast<unsigned>(descriptor.type) << 8U) |
                                                  descriptor.index);
    return control(request_, setup_of(request_.urb.function, value, descriptor.language), true);
  }

  /// Travels as TRANSFER_IN, but is an OUT without data on the bus (FreeRDP gets this wrong).
  Plan operator()(const pdu::FeatureRequest& feature) const {
    return ControlPlan{
        setup_of(request_.urb.function, feature.selector, feature.index), {}, true, 0};
  }

  Plan operator()(const pdu::StatusRequest& get_status) const {
    return fixed_size_in(0, get_status.index, 2);
  }

  Plan operator()(const pdu::VendorOrClassRequest& request) const {
    // By the flag; decoding has checked that it agrees with the message. With no data stage the
    // message alone decides, as the flag is of no consequence.
    usb::SetupPacket setup = setup_of(request_.urb.function, request.value, request.index);
    setup.request_type = static_cast<std::uint8_t>(
        setup.request_type | (request.reserved_bits & 0x1FU) | (request_.in ? direction_in : 0U));
    setup.request = request.request;
    return control(request_, setup, has(request.flags, pdu::transfer_flag::short_transfer_ok));
  }

  Plan operator()(const pdu::GetInterfaceRequest& request) const {
    return fixed_size_in(0, request.interface, 1);
  }

  Plan operator()(const pdu::OsFeatureDescriptorRequest& request) const {
    if (request.recipient > 2) return failure::invalid_parameter;
    if (request_.output_buffer_size > limits::control_transfer_bytes) return failure::no_resources;
    constexpr std::uint8_t in_vendor = 0xC0;
    return OsDescriptorPlan{
        {static_cast<std::uint8_t>(in_vendor | request.recipient), 0,
         static_cast<std::uint16_t>((static_cast<unsigned>(request.interface_number) << 8U) |
                                    request.page),
         request.feature_descriptor_index,
         static_cast<std::uint16_t>(request_.output_buffer_size)}};
  }

 private:
  /// A request whose answer has one size by the specification of USB.
  [[nodiscard]] Plan fixed_size_in(std::uint16_t value, std::uint16_t index,
                                   std::uint16_t size) const {
    if (request_.output_buffer_size < size) return failure::invalid_parameter;
    usb::SetupPacket setup = setup_of(request_.urb.function, value, index);
    setup.length = size;
    return ControlPlan{setup, {}, true, 0};
  }

  const pdu::TransferRequest& request_;
};

}  // namespace

Plan plan_of(const pdu::TransferRequest& request) {
  // NoAck outside isochronous OUT contradicts itself: something is to be done, nobody is to hear.
  if (request.urb.no_ack) return failure::invalid_parameter;
  return std::visit(Planner(request), request.urb.body);
}

usb::SetupPacket os_string_descriptor_request() {
  return usb::SetupPacket{0x80, 6 /* GET_DESCRIPTOR */, 0x03EE, 0, 18};
}

std::optional<std::uint8_t> os_vendor_code(ByteView descriptor) {
  static constexpr std::array<std::uint8_t, 14> signature{'M', 0,   'S', 0,   'F', 0,   'T',
                                                          0,   '1', 0,   '0', 0,   '0', 0};
  ByteReader reader(descriptor);
  const std::uint8_t length = reader.u8();
  const std::uint8_t type = reader.u8();
  const ByteView found = reader.take(signature.size());
  const std::uint8_t vendor_code = reader.u8();
  reader.skip(1);  // bPad
  // The specification demands 0x14, real descriptors have 0x12 (rdpeusb.md 3.2, no. 14).
  if (!reader.finished() || (length != 0x12 && length != 0x14) || type != 3) return std::nullopt;
  if (!std::equal(found.begin(), found.end(), signature.begin())) return std::nullopt;
  return vendor_code;
}

Failure failure_of(usb::TransferStatus transfer) noexcept {
  using usb::TransferStatus;
  switch (transfer) {
    case TransferStatus::success:
      return {};
    case TransferStatus::stall:
      return {status::stall_pid, pdu::hresult::general_failure};
    case TransferStatus::cancelled:
      return failure::cancelled;
    case TransferStatus::short_read:
      return failure::short_transfer;
    case TransferStatus::overflow:
      return failure::babble;
    case TransferStatus::timeout:
      return failure::timed_out;
    case TransferStatus::error:
      return {status::transaction_error, pdu::hresult::general_failure};
    case TransferStatus::device_gone:
      return {status::device_gone, pdu::hresult::device_not_connected};
    case TransferStatus::refused:
      return {status::request_failed, pdu::hresult::general_failure};
    case TransferStatus::no_resources:
      return failure::no_resources;
  }
  return {status::status_not_mapped, pdu::hresult::general_failure};
}

Outcome outcome_of(usb::Completion completion, bool in, std::uint32_t length, bool short_ok) {
  using usb::TransferStatus;
  Outcome outcome;
  outcome.status = failure_of(completion.status);
  if (in) {
    // More than was asked for never leaves the till, whoever counted wrong.
    if (completion.data.size() > length) {
      outcome.status = failure::babble;
      return outcome;
    }
    const bool success = completion.status == TransferStatus::success;
    if (success && !short_ok && completion.data.size() < length) {
      outcome.status = failure::short_transfer;
    }
    // A short read fails, but what was read is delivered.
    if (success || completion.status == TransferStatus::short_read) {
      outcome.data = std::move(completion.data);
    }
    return outcome;
  }
  const bool some_went_out = completion.status == TransferStatus::success ||
                             completion.status == TransferStatus::cancelled;
  if (some_went_out) outcome.accepted = std::min(completion.actual_length, length);
  return outcome;
}

}  // namespace tillbridge::rdpeusb::till
