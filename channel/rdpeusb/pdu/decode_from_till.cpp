#include <string>

#include "channel/rdpeusb/pdu/message.hpp"
#include "channel/rdpeusb/pdu/strings.hpp"

namespace tillbridge::rdpeusb::pdu {

namespace {

template <typename T>
Result<FromTill> whole(const ByteReader& in, T pdu, const char* name) {
  if (in.finished()) return FromTill(std::move(pdu));
  return fail(ErrorCode::malformed, std::string("malformed ") + name);
}

Result<FromTill> decode_add_device(ByteReader& in, const Header& header) {
  AddDevice pdu;
  pdu.message = header.message;
  pdu.device_count = in.u32le();
  pdu.usb_device = in.u32le() & interface_id::bits;
  pdu.instance_id = decode_string(in);
  pdu.hardware_ids = decode_multi_string(in);
  pdu.compatible_ids = decode_multi_string(in);
  pdu.container_id = decode_string(in);
  if (in.u32le() != UsbDeviceCapabilities::size) in.fail();
  pdu.capabilities.bus_interface_version = in.u32le();
  pdu.capabilities.usbdi_version = in.u32le();
  pdu.capabilities.usb_version = in.u32le();
  pdu.capabilities.hcd_capabilities = in.u32le();
  pdu.capabilities.high_speed = in.u32le();
  pdu.capabilities.no_ack_isochronous_jitter_ms = in.u32le();
  return whole(in, std::move(pdu), "ADD_DEVICE");
}

Result<FromTill> decode_io_control_completion(ByteReader& in, const Address& address,
                                              std::uint32_t request,
                                              const OutstandingRequest& outstanding) {
  IoControlCompletion pdu;
  pdu.address = address;
  pdu.request = request;
  pdu.hresult = in.u32le();
  pdu.information = in.u32le();
  pdu.output_buffer_size = in.u32le();
  const bool surplus =
      pdu.output_buffer_size == outstanding.output_buffer_size + freerdp_io_control_surplus;
  if (surplus && in.remaining() <= pdu.output_buffer_size) {
    pdu.output = in.rest();
  } else {
    pdu.output = in.take(pdu.output_buffer_size);
  }
  return whole(in, pdu, "IOCONTROL_COMPLETION");
}

Result<FromTill> decode_completion(ByteReader& in, const Header& header,
                                   const TerminalContext& context) {
  const Address address{header.interface, header.message};
  const bool io_control = header.function == function_id::io_control_completion;
  const bool no_data = header.function == function_id::urb_completion_no_data;
  if (!io_control && !no_data && header.function != function_id::urb_completion) {
    return FromTill(UnknownFunction{address, header.function});
  }
  const std::uint32_t request = in.u32le();
  if (!in.ok()) return fail(ErrorCode::malformed, "a completion ends before its RequestId");
  const std::optional<OutstandingRequest> outstanding = context.outstanding(request);
  if (!outstanding) {
    return fail(ErrorCode::protocol,
                "completion of request " + std::to_string(request) + ", which is not outstanding");
  }
  if (outstanding->io_control != io_control) {
    return fail(ErrorCode::protocol, "request " + std::to_string(request) +
                                         " got the completion of another kind of request");
  }
  if (io_control) return decode_io_control_completion(in, address, request, *outstanding);

  const std::uint32_t result_size = in.u32le();
  if (result_size > in.remaining())
    return fail(ErrorCode::malformed, "CbTsUrbResult is larger than the message");
  Result<TsUrbResult> result = decode_ts_urb_result(in.take(result_size), outstanding->function);
  if (!result) return result.error();
  const std::uint32_t hresult = in.u32le();
  const std::uint32_t output_buffer_size = in.u32le();
  if (no_data) {
    return whole(
        in, UrbCompletionNoData{address, request, std::move(*result), hresult, output_buffer_size},
        "URB_COMPLETION_NO_DATA");
  }
  return whole(
      in, UrbCompletion{address, request, std::move(*result), hresult, in.take(output_buffer_size)},
      "URB_COMPLETION");
}

Result<FromTill> decode_sink(ByteReader& in, const Header& header) {
  switch (header.function) {
    case function_id::add_virtual_channel:
      return whole(in, AddVirtualChannel{header.message}, "ADD_VIRTUAL_CHANNEL");
    case function_id::add_device:
      return decode_add_device(in, header);
    default:
      return FromTill(UnknownFunction{{header.interface, header.message}, header.function});
  }
}

Result<FromTill> decode_notification(ByteReader& in, const Header& header) {
  if (header.function != function_id::channel_created) {
    return FromTill(UnknownFunction{{header.interface, header.message}, header.function});
  }
  ChannelCreated pdu;
  pdu.message = header.message;
  pdu.major = in.u32le();
  pdu.minor = in.u32le();
  pdu.capabilities = in.u32le();
  return whole(in, pdu, "CHANNEL_CREATED");
}

/// Mask NONE. While the capability response is waited for, nothing else may come so: its first 12
/// bytes are, byte for byte, a release of interface 0.
Result<FromTill> decode_unmasked(ByteReader& in, const Header& header,
                                 const TerminalContext& context) {
  if (header.interface != interface_id::capabilities)
    return fail(ErrorCode::malformed, "mask 0 on an interface other than 0");
  if (context.capability_outstanding) {
    CapabilityResponse pdu{header.message, 0, 0};
    pdu.capability = in.u32le();
    pdu.result = in.u32le();
    return whole(in, pdu, "RIM_EXCHANGE_CAPABILITY_RESPONSE");
  }
  if (in.u32le() == function_id::release) {
    return whole(in, ReleaseInterface{{header.interface, header.message}, header.mask},
                 "RIMCALL_RELEASE");
  }
  return FromTill(Ignored{"a capability message out of sequence"});
}

/// Mask STUB: 8 bytes say "not supported", whatever they answer.
Result<FromTill> decode_response(ByteReader& in, const Header& header,
                                 const TerminalContext& context) {
  const Address address{header.interface, header.message};
  if (in.remaining() == 0) return FromTill(QueryInterfaceResponse{address, std::nullopt});
  if (context.text_query == address) {
    QueryDeviceTextResponse pdu{address, decode_string(in), 0};
    pdu.result = in.u32le();
    return whole(in, std::move(pdu), "QUERY_DEVICE_TEXT_RSP");
  }
  if (context.interface_query == address) {
    return whole(in, QueryInterfaceResponse{address, in.u32le() & interface_id::bits}, "QI_RSP");
  }
  return FromTill(Ignored{"a response nobody waits for"});
}

}  // namespace

Result<FromTill> decode_from_till(ByteView message, const TerminalContext& context) {
  ByteReader in(message);
  Header header = decode_response_header(in);
  if (!in.ok()) return fail(ErrorCode::malformed, "a message shorter than a header");
  if (header.mask == Mask::none) return decode_unmasked(in, header, context);
  if (header.mask == Mask::stub) return decode_response(in, header, context);
  if (header.mask == Mask::invalid) return fail(ErrorCode::malformed, "a message with mask 3");

  header.function = in.u32le();
  if (!in.ok()) return fail(ErrorCode::malformed, "a message shorter than a request's header");
  const Address address{header.interface, header.message};
  const bool completion = context.request_completion &&
                          header.interface == (*context.request_completion & interface_id::bits);
  const bool sink = header.interface == interface_id::device_sink;
  const bool notification = header.interface == interface_id::notification_to_server;
  // Windows' client releases the completion interface after every request; any release is taken and
  // means nothing here.
  if (header.function == function_id::release)
    return whole(in, ReleaseInterface{address, header.mask}, "RIMCALL_RELEASE");
  if (header.function == function_id::query_interface && (completion || sink || notification)) {
    QueryInterface query{address, header.mask, {}};
    for (std::uint8_t& byte : query.guid) byte = in.u8();
    return whole(in, query, "RIMCALL_QUERYINTERFACE");
  }
  if (completion) return decode_completion(in, header, context);
  if (sink) return decode_sink(in, header);
  if (notification) return decode_notification(in, header);
  return FromTill(Ignored{"interface " + std::to_string(header.interface) + " is not known here"});
}

}  // namespace tillbridge::rdpeusb::pdu
