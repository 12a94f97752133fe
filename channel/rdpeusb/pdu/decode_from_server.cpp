#include <string>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/message.hpp"

namespace tillbridge::rdpeusb::pdu {

namespace {

using Kind = BadRequest::Kind;

BadRequest bad(const Address& address, Kind kind, std::uint32_t request, const Error& error) {
  BadRequest outcome;
  outcome.address = address;
  outcome.kind = kind;
  outcome.request = request;
  outcome.reason = error.message;
  switch (error.code) {
    case ErrorCode::refused:
      outcome.usbd_status = usbd_status::invalid_urb_function;
      outcome.hresult = hresult::not_supported;
      break;
    case ErrorCode::limit:
      outcome.usbd_status = usbd_status::insufficient_resources;
      outcome.hresult = hresult::out_of_memory;
      break;
    default:
      outcome.usbd_status = usbd_status::invalid_parameter;
      outcome.hresult = hresult::invalid_argument;
      break;
  }
  return outcome;
}

/// TransferFlags of the functions whose direction goes by flag; nothing for all others.
std::optional<std::uint32_t> flags_of(const TsUrb& urb) {
  if (const auto* body = std::get_if<ControlTransfer>(&urb.body)) return body->flags;
  if (const auto* body = std::get_if<ControlTransferEx>(&urb.body)) return body->flags;
  if (const auto* body = std::get_if<BulkOrInterruptTransfer>(&urb.body)) return body->flags;
  if (const auto* body = std::get_if<IsochronousTransfer>(&urb.body)) return body->flags;
  if (const auto* body = std::get_if<VendorOrClassRequest>(&urb.body)) return body->flags;
  return std::nullopt;
}

/// What rdpeusb.md 4.4 and 2.9 ask of a transfer beyond its layout.
Status check_kind(const TransferRequest& request) {
  const auto name = [&request] { return urb_function_text(request.urb.function); };
  const UrbDirection direction = direction_of(request.urb.function);
  if ((direction == UrbDirection::in && !request.in) ||
      (direction == UrbDirection::out && request.in)) {
    return fail(ErrorCode::malformed, name() + " came in the wrong kind of transfer request");
  }
  if (const auto flags = flags_of(request.urb)) {
    const bool flag_in = (*flags & transfer_flag::direction_in) != 0;
    // A request that moves no data may come as TRANSFER_IN without the flag; nothing depends on its
    // direction.
    if (flag_in != request.in && !(request.in && request.output_buffer_size == 0)) {
      return fail(ErrorCode::malformed,
                  name() + ": TransferFlags contradict the kind of transfer request");
    }
  }
  if (request.urb.no_ack &&
      (request.in || request.urb.function != urb_function::isochronous_transfer)) {
    return fail(ErrorCode::malformed, name() + ": NoAck is only for isochronous OUT");
  }
  if (request.output_buffer_size > limits::transfer_bytes) {
    return fail(ErrorCode::limit, name() + " of " + std::to_string(request.output_buffer_size) +
                                      " bytes is above " + std::to_string(limits::transfer_bytes));
  }
  return {};
}

Result<FromServer> decode_transfer(ByteReader& in, const Address& address, bool is_in) {
  const std::uint32_t urb_size = in.u32le();
  // The URB's header stands at a fixed place, so it can be read whatever the sizes around it say.
  ByteReader peek = in;
  peek.skip(2);
  const std::uint16_t function = peek.u16le();
  const std::uint32_t request_word = peek.u32le();
  if (!peek.ok()) return fail(ErrorCode::malformed, "a transfer request ends before its RequestId");

  const Kind kind = is_in ? Kind::transfer_in : Kind::transfer_out;
  const auto refuse = [&](const Error& error) {
    BadRequest outcome = bad(address, kind, request_word & 0x7FFFFFFFU, error);
    outcome.no_ack = (request_word & 0x80000000U) != 0;
    outcome.function = function;
    return FromServer(std::move(outcome));
  };
  if (urb_size > in.remaining())
    return refuse(fail(ErrorCode::malformed, "CbTsUrb is larger than the message"));
  Result<TsUrb> urb = decode_ts_urb(in.take(urb_size));
  if (!urb) return refuse(urb.error());

  TransferRequest request;
  request.address = address;
  request.in = is_in;
  request.urb = std::move(*urb);
  request.output_buffer_size = in.u32le();
  if (!is_in) request.output_buffer = in.take(request.output_buffer_size);
  if (!in.finished())
    return refuse(fail(ErrorCode::malformed, "OutputBufferSize does not fit the message"));
  if (const Status status = check_kind(request); !status) return refuse(status.error());
  return FromServer(std::move(request));
}

Result<FromServer> decode_io_control(ByteReader& in, const Address& address, bool internal) {
  IoControl request;
  request.address = address;
  request.internal = internal;
  request.code = in.u32le();
  request.input = in.take(in.u32le());
  request.output_buffer_size = in.u32le();
  request.request = in.u32le();
  if (!in.ok()) return fail(ErrorCode::malformed, "an I/O control ends before its RequestId");
  const Kind kind = internal ? Kind::internal_io_control : Kind::io_control;
  const auto refuse = [&](const Error& error) {
    return FromServer(bad(address, kind, request.request, error));
  };
  if (in.remaining() != 0)
    return refuse(fail(ErrorCode::malformed, "bytes follow the I/O control"));
  if (request.input.size() > limits::rdpeusb_io_control_bytes ||
      request.output_buffer_size > limits::rdpeusb_io_control_bytes) {
    return refuse(fail(ErrorCode::limit, "an I/O control's buffer is above " +
                                             std::to_string(limits::rdpeusb_io_control_bytes)));
  }
  return FromServer(request);
}

/// The outcome if the message ended exactly where it should, else nothing to act upon.
template <typename T>
Result<FromServer> whole(const ByteReader& in, T pdu, const char* name) {
  if (in.finished()) return FromServer(std::move(pdu));
  return FromServer(Ignored{std::string("malformed ") + name});
}

Result<FromServer> decode_interface_manipulation(ByteReader& in, const Header& header) {
  const Address address{header.interface, header.message};
  if (header.function == function_id::release)
    return whole(in, ReleaseInterface{address, header.mask}, "RIMCALL_RELEASE");
  QueryInterface query{address, header.mask, {}};
  for (std::uint8_t& byte : query.guid) byte = in.u8();
  return whole(in, query, "RIMCALL_QUERYINTERFACE");
}

Result<FromServer> decode_device_request(ByteReader& in, const Header& header) {
  const Address address{header.interface, header.message};
  switch (header.function) {
    case function_id::cancel_request:
      return whole(in, CancelRequest{address, in.u32le()}, "CANCEL_REQUEST");
    case function_id::register_request_callback: {
      RegisterRequestCallback pdu{address, in.u32le(), 0};
      if (pdu.count != 0) pdu.request_completion = in.u32le() & interface_id::bits;
      return whole(in, pdu, "REGISTER_REQUEST_CALLBACK");
    }
    case function_id::io_control:
    case function_id::internal_io_control:
      return decode_io_control(in, address, header.function == function_id::internal_io_control);
    case function_id::query_device_text: {
      QueryDeviceText pdu{address, 0, 0};
      pdu.text_type = in.u32le();
      pdu.locale = in.u32le();
      return whole(in, pdu, "QUERY_DEVICE_TEXT");
    }
    case function_id::transfer_in_request:
    case function_id::transfer_out_request:
      return decode_transfer(in, address, header.function == function_id::transfer_in_request);
    case function_id::retract_device:
      return whole(in, RetractDevice{address, in.u32le()}, "RETRACT_DEVICE");
    default:
      return FromServer(UnknownFunction{address, header.function});
  }
}

Result<FromServer> decode_capability(ByteReader& in, const Header& header) {
  if (header.function != function_id::exchange_capability) {
    return FromServer(UnknownFunction{{header.interface, header.message}, header.function});
  }
  return whole(in, CapabilityRequest{header.message, in.u32le()},
               "RIM_EXCHANGE_CAPABILITY_REQUEST");
}

Result<FromServer> decode_notification(ByteReader& in, const Header& header) {
  if (header.function != function_id::channel_created) {
    return FromServer(UnknownFunction{{header.interface, header.message}, header.function});
  }
  ChannelCreated pdu;
  pdu.message = header.message;
  pdu.major = in.u32le();
  pdu.minor = in.u32le();
  pdu.capabilities = in.u32le();
  return whole(in, pdu, "CHANNEL_CREATED");
}

}  // namespace

Result<FromServer> decode_from_server(ByteView message, const TillContext& context) {
  ByteReader in(message);
  const Header header = decode_request_header(in);
  if (!in.ok()) return FromServer(Ignored{"shorter than a request's header"});
  if (header.mask == Mask::stub) return FromServer(Ignored{"a response nobody waits for"});
  if (header.mask == Mask::invalid) return FromServer(Ignored{"mask 3"});

  const bool capabilities =
      header.mask == Mask::none && header.interface == interface_id::capabilities;
  const bool device = header.mask == Mask::proxy && context.usb_device &&
                      header.interface == (*context.usb_device & interface_id::bits);
  // Second to the device's own id: a client may give out 2 itself.
  const bool notification =
      header.mask == Mask::proxy && header.interface == interface_id::notification_to_client;
  const bool live = capabilities || device || notification;
  // A release is for any interface, and never an error.
  if (header.function == function_id::release ||
      (header.function == function_id::query_interface && live)) {
    return decode_interface_manipulation(in, header);
  }
  if (device) return decode_device_request(in, header);
  if (capabilities) return decode_capability(in, header);
  if (notification) return decode_notification(in, header);
  return FromServer(
      Ignored{"interface " + std::to_string(header.interface) + " is not known here"});
}

}  // namespace tillbridge::rdpeusb::pdu
