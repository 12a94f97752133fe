#include "channel/rdpeusb/pdu/describe.hpp"

#include <algorithm>
#include <utility>

#include "channel/rdpeusb/pdu/status.hpp"

namespace tillbridge::rdpeusb::pdu {

namespace {

Field field(const char* name, std::uint32_t value) {
  return {name, value};
}
Field field(const char* name, std::size_t value) {
  return {name, static_cast<std::uint32_t>(value)};
}
Field field(const char* name, int value) {
  return {name, static_cast<std::uint32_t>(value)};
}
template <typename T>
Field structure(const char* name, T value) {
  return {name, std::move(value)};
}
Field opaque(const char* name, ByteView bytes) {
  return {name, Opaque{Bytes(bytes.begin(), bytes.end())}};
}
Field payload(const char* name, ByteView bytes) {
  return {name, Payload{bytes}};
}

void append(Fields& fields, Fields more) {
  fields.insert(fields.end(), std::make_move_iterator(more.begin()),
                std::make_move_iterator(more.end()));
}

/// UTF-16 units of a text, with its NUL.
std::size_t cch(const std::string& utf8) {
  std::size_t units = 1;
  for (const char each : utf8) {
    const auto byte = static_cast<std::uint8_t>(each);
    if ((byte & 0xC0U) != 0x80) units += byte >= 0xF0 ? 2 : 1;
  }
  return units;
}

Field text(const char* name, const std::string& value) {
  return structure(name, Fields{field("cch", cch(value)), {"text", value}});
}

Field list(const char* name, const std::vector<std::string>& values) {
  std::size_t units = values.empty() ? 0 : 1;
  for (const std::string& value : values) units += cch(value);
  return structure(name, Fields{field("cch", units), {"list", values}});
}

const char* mask_name(Mask mask) {
  switch (mask) {
    case Mask::none:
      return "NONE";
    case Mask::proxy:
      return "PROXY";
    case Mask::stub:
      return "STUB";
    case Mask::invalid:
      break;
  }
  return "INVALID";
}

Fields response(std::uint32_t interface, Mask mask, std::uint32_t message) {
  return {field("InterfaceId", interface),
          {"Mask", std::string(mask_name(mask))},
          field("MessageId", message)};
}

Fields request(std::uint32_t interface, Mask mask, std::uint32_t message, std::uint32_t function) {
  Fields fields = response(interface, mask, message);
  fields.push_back(field("FunctionId", function));
  return fields;
}

Fields request(const Address& address, std::uint32_t function) {
  return request(address.interface, Mask::proxy, address.message, function);
}

Field setup_packet(const usb::SetupPacket& setup) {
  ByteWriter out;
  encode(out, setup);
  return opaque("SetupPacket", out.view());
}

template <typename T>
std::size_t encoded_size(const T& value) {
  ByteWriter out;
  encode(out, value);
  return out.size();
}

Field packets(const std::vector<IsochronousPacket>& packets) {
  std::vector<Fields> all;
  all.reserve(packets.size());
  for (const IsochronousPacket& packet : packets) {
    all.push_back({field("Offset", packet.offset), field("Length", packet.length),
                   field("Status", packet.status)});
  }
  return structure("IsoPacket", std::move(all));
}

// --- TS_URB
// -----------------------------------------------------------------------------------------------

Fields interface_fields(const InterfaceInformation& interface) {
  std::vector<Fields> pipes;
  pipes.reserve(interface.pipes.size());
  for (const PipeInformation& pipe : interface.pipes) {
    pipes.push_back(
        {field("MaximumPacketSize", pipe.maximum_packet_size), field("Padding", pipe.padding),
         field("MaximumTransferSize", pipe.maximum_transfer_size), field("PipeFlags", pipe.flags)});
  }
  return {field("Length",
                InterfaceInformation::fixed_size + PipeInformation::size * interface.pipes.size()),
          field("NumberOfPipesExpected", interface.pipes_expected),
          field("InterfaceNumber", interface.interface_number),
          field("AlternateSetting", interface.alternate_setting),
          field("Padding", interface.padding),
          field("NumberOfPipes", interface.pipes.size()),
          structure("Pipes", std::move(pipes))};
}

struct UrbFields {
  Fields operator()(const NoParameters& /*body*/) const { return {}; }
  Fields operator()(const SelectConfiguration& body) const {
    std::vector<Fields> interfaces;
    interfaces.reserve(body.interfaces.size());
    for (const InterfaceInformation& interface : body.interfaces)
      interfaces.push_back(interface_fields(interface));
    return {field("ConfigurationDescriptorIsValid", body.descriptor_valid),
            opaque("Padding", body.padding), field("NumInterfaces", body.interfaces.size()),
            structure("Interfaces", std::move(interfaces)),
            opaque("ConfigurationDescriptor", body.descriptor)};
  }
  Fields operator()(const SelectInterface& body) const {
    return {field("ConfigurationHandle", body.configuration_handle),
            structure("Interface", interface_fields(body.interface))};
  }
  Fields operator()(const PipeRequest& body) const {
    return {field("PipeHandle", body.pipe_handle)};
  }
  Fields operator()(const ControlTransfer& body) const {
    return {field("PipeHandle", body.pipe_handle), field("TransferFlags", body.flags),
            setup_packet(body.setup)};
  }
  Fields operator()(const ControlTransferEx& body) const {
    return {field("PipeHandle", body.pipe_handle), field("TransferFlags", body.flags),
            field("Timeout", body.timeout_ms), setup_packet(body.setup)};
  }
  Fields operator()(const BulkOrInterruptTransfer& body) const {
    return {field("PipeHandle", body.pipe_handle), field("TransferFlags", body.flags)};
  }
  Fields operator()(const IsochronousTransfer& body) const {
    return {field("PipeHandle", body.pipe_handle), field("TransferFlags", body.flags),
            field("StartFrame", body.start_frame), field("NumberOfPackets", body.packets.size()),
            field("ErrorCount", body.error_count), packets(body.packets)};
  }
  Fields operator()(const DescriptorRequest& body) const {
    return {field("Index", body.index), field("DescriptorType", body.type),
            field("LanguageId", body.language)};
  }
  Fields operator()(const FeatureRequest& body) const {
    return {field("FeatureSelector", body.selector), field("Index", body.index)};
  }
  Fields operator()(const StatusRequest& body) const {
    return {field("Index", body.index), field("Padding", body.padding)};
  }
  Fields operator()(const VendorOrClassRequest& body) const {
    return {
        field("TransferFlags", body.flags), field("RequestTypeReservedBits", body.reserved_bits),
        field("Request", body.request),     field("Value", body.value),
        field("Index", body.index),         field("Padding", body.padding)};
  }
  Fields operator()(const GetInterfaceRequest& body) const {
    return {field("Interface", body.interface), field("Padding", body.padding)};
  }
  Fields operator()(const OsFeatureDescriptorRequest& body) const {
    return {field("Recipient", body.recipient),
            field("Padding1", body.padding1),
            field("InterfaceNumber", body.interface_number),
            field("MS_PageIndex", body.page),
            field("MS_FeatureDescriptorIndex", body.feature_descriptor_index),
            opaque("Padding2", body.padding2)};
  }
};

Fields urb_fields(const TsUrb& urb) {
  Fields fields{field("Size", encoded_size(urb)), field("URB_Function", urb.function),
                field("RequestId", urb.request), field("NoAck", urb.no_ack ? 1 : 0)};
  append(fields, std::visit(UrbFields{}, urb.body));
  return fields;
}

// --- TS_URB_RESULT
// ----------------------------------------------------------------------------------------

Fields interface_fields(const InterfaceInformationResult& interface) {
  std::vector<Fields> pipes;
  pipes.reserve(interface.pipes.size());
  for (const PipeInformationResult& pipe : interface.pipes) {
    pipes.push_back({field("MaximumPacketSize", pipe.maximum_packet_size),
                     field("EndpointAddress", pipe.endpoint), field("Interval", pipe.interval),
                     field("PipeType", pipe.type), field("PipeHandle", pipe.handle),
                     field("MaximumTransferSize", pipe.maximum_transfer_size),
                     field("PipeFlags", pipe.flags)});
  }
  return {field("Length", InterfaceInformationResult::fixed_size +
                              PipeInformationResult::size * interface.pipes.size()),
          field("InterfaceNumber", interface.interface_number),
          field("AlternateSetting", interface.alternate_setting),
          field("Class", interface.interface_class),
          field("SubClass", interface.interface_subclass),
          field("Protocol", interface.interface_protocol),
          field("Padding", interface.padding),
          field("InterfaceHandle", interface.handle),
          field("NumberOfPipes", interface.pipes.size()),
          structure("Pipes", std::move(pipes))};
}

struct ResultFields {
  Fields operator()(const std::monostate& /*none*/) const { return {}; }
  Fields operator()(const SelectConfigurationResult& body) const {
    std::vector<Fields> interfaces;
    interfaces.reserve(body.interfaces.size());
    for (const InterfaceInformationResult& interface : body.interfaces)
      interfaces.push_back(interface_fields(interface));
    return {field("ConfigurationHandle", body.configuration_handle),
            field("NumInterfaces", body.interfaces.size()),
            structure("Interface", std::move(interfaces))};
  }
  Fields operator()(const SelectInterfaceResult& body) const {
    return {structure("Interface", interface_fields(body.interface))};
  }
  Fields operator()(const FrameNumberResult& body) const {
    return {field("FrameNumber", body.frame)};
  }
  Fields operator()(const IsochronousResult& body) const {
    return {field("StartFrame", body.start_frame), field("NumberOfPackets", body.packets.size()),
            field("ErrorCount", body.error_count), packets(body.packets)};
  }
};

Fields result_fields(const TsUrbResult& result) {
  Fields fields{field("Size", encoded_size(result)), field("Padding", result.padding),
                field("UsbdStatus", result.status)};
  append(fields, std::visit(ResultFields{}, result.body));
  return fields;
}

// --- whole messages
// ---------------------------------------------------------------------------------------

std::string ending(std::uint32_t status, std::uint32_t result) {
  if (status == usbd_status::success && result == hresult::ok) return "success";
  return usbd_status::text(status) + ", " + hresult::text(result);
}

struct Describe {
  std::uint32_t notification_interface;

  Description operator()(const CapabilityRequest& pdu) const {
    Description about{"RIM_EXCHANGE_CAPABILITY_REQUEST", {}, {}};
    about.fields = request(interface_id::capabilities, Mask::none, pdu.message,
                           function_id::exchange_capability);
    about.fields.push_back(field("CapabilityValue", pdu.capability));
    return about;
  }
  Description operator()(const CapabilityResponse& pdu) const {
    Description about{"RIM_EXCHANGE_CAPABILITY_RESPONSE", {}, {}};
    about.fields = response(interface_id::capabilities, Mask::none, pdu.message);
    append(about.fields, {field("CapabilityValue", pdu.capability), field("Result", pdu.result)});
    return about;
  }
  Description operator()(const ChannelCreated& pdu) const {
    Description about{"CHANNEL_CREATED", {}, {}};
    about.fields =
        request(notification_interface, Mask::proxy, pdu.message, function_id::channel_created);
    append(about.fields, {field("MajorVersion", pdu.major), field("MinorVersion", pdu.minor),
                          field("Capabilities", pdu.capabilities)});
    return about;
  }
  Description operator()(const ReleaseInterface& pdu) const {
    return {"RIMCALL_RELEASE", "interface " + std::to_string(pdu.address.interface),
            request(pdu.address.interface, pdu.mask, pdu.address.message, function_id::release)};
  }
  Description operator()(const QueryInterface& pdu) const {
    Description about{"RIMCALL_QUERYINTERFACE", {}, {}};
    about.fields =
        request(pdu.address.interface, pdu.mask, pdu.address.message, function_id::query_interface);
    about.fields.push_back(opaque("NewInterfaceGUID", pdu.guid));
    return about;
  }
  Description operator()(const QueryInterfaceResponse& pdu) const {
    Description about{"QI_RSP", pdu.new_interface ? "" : "not supported", {}};
    about.fields = response(pdu.address.interface, Mask::stub, pdu.address.message);
    if (pdu.new_interface) about.fields.push_back(field("NewInterfaceId", *pdu.new_interface));
    return about;
  }
  Description operator()(const AddVirtualChannel& pdu) const {
    return {"ADD_VIRTUAL_CHANNEL",
            {},
            request({interface_id::device_sink, pdu.message}, function_id::add_virtual_channel)};
  }
  Description operator()(const AddDevice& pdu) const {
    Description about{"ADD_DEVICE", {}, {}};
    about.fields = request({interface_id::device_sink, pdu.message}, function_id::add_device);
    const UsbDeviceCapabilities& can = pdu.capabilities;
    append(about.fields,
           {field("NumUsbDevice", pdu.device_count), field("UsbDevice", pdu.usb_device),
            text("DeviceInstanceId", pdu.instance_id), list("HardwareIds", pdu.hardware_ids),
            list("CompatibilityIds", pdu.compatible_ids), text("ContainerId", pdu.container_id),
            structure("UsbDeviceCapabilities",
                      Fields{field("CbSize", UsbDeviceCapabilities::size),
                             field("UsbBusInterfaceVersion", can.bus_interface_version),
                             field("USBDI_Version", can.usbdi_version),
                             field("Supported_USB_Version", can.usb_version),
                             field("HcdCapabilities", can.hcd_capabilities),
                             field("DeviceIsHighSpeed", can.high_speed),
                             field("NoAckIsochWriteJitterBufferSizeInMs",
                                   can.no_ack_isochronous_jitter_ms)})});
    return about;
  }
  Description operator()(const CancelRequest& pdu) const {
    Description about{"CANCEL_REQUEST", {}, request(pdu.address, function_id::cancel_request)};
    about.fields.push_back(field("RequestId", pdu.request));
    return about;
  }
  Description operator()(const RegisterRequestCallback& pdu) const {
    Description about{"REGISTER_REQUEST_CALLBACK",
                      {},
                      request(pdu.address, function_id::register_request_callback)};
    about.fields.push_back(field("NumRequestCompletion", pdu.count));
    if (pdu.count != 0) about.fields.push_back(field("RequestCompletion", pdu.request_completion));
    return about;
  }
  Description operator()(const IoControl& pdu) const {
    Description about{pdu.internal ? "INTERNAL_IO_CONTROL" : "IO_CONTROL",
                      io_control_text(pdu.code),
                      request(pdu.address, pdu.internal ? function_id::internal_io_control
                                                        : function_id::io_control)};
    append(about.fields,
           {field("IoControlCode", pdu.code), field("InputBufferSize", pdu.input.size()),
            payload("InputBuffer", pdu.input), field("OutputBufferSize", pdu.output_buffer_size),
            field("RequestId", pdu.request)});
    return about;
  }
  Description operator()(const QueryDeviceText& pdu) const {
    Description about{
        "QUERY_DEVICE_TEXT", {}, request(pdu.address, function_id::query_device_text)};
    append(about.fields, {field("TextType", pdu.text_type), field("LocaleId", pdu.locale)});
    return about;
  }
  Description operator()(const QueryDeviceTextResponse& pdu) const {
    Description about{"QUERY_DEVICE_TEXT_RSP",
                      {},
                      response(pdu.address.interface, Mask::stub, pdu.address.message)};
    append(about.fields, {text("DeviceDescription", pdu.text), field("HResult", pdu.result)});
    return about;
  }
  Description operator()(const TransferRequest& pdu) const {
    Description about{pdu.in ? "TRANSFER_IN_REQUEST" : "TRANSFER_OUT_REQUEST",
                      urb_function_text(pdu.urb.function),
                      request(pdu.address, pdu.in ? function_id::transfer_in_request
                                                  : function_id::transfer_out_request)};
    append(about.fields,
           {field("CbTsUrb", encoded_size(pdu.urb)), structure("TsUrb", urb_fields(pdu.urb)),
            field("OutputBufferSize", pdu.output_buffer_size)});
    if (!pdu.in) about.fields.push_back(payload("OutputBuffer", pdu.output_buffer));
    return about;
  }
  Description operator()(const RetractDevice& pdu) const {
    Description about{"RETRACT_DEVICE", {}, request(pdu.address, function_id::retract_device)};
    about.fields.push_back(field("Reason", pdu.reason));
    return about;
  }
  Description operator()(const IoControlCompletion& pdu) const {
    const bool good = pdu.hresult == hresult::ok;
    Description about{"IOCONTROL_COMPLETION", good ? "success" : hresult::text(pdu.hresult),
                      request(pdu.address, function_id::io_control_completion)};
    append(about.fields, {field("RequestId", pdu.request), field("HResult", pdu.hresult),
                          field("Information", pdu.information),
                          field("OutputBufferSize", pdu.output_buffer_size),
                          payload("OutputBuffer", pdu.output)});
    return about;
  }
  Description operator()(const UrbCompletion& pdu) const {
    Description about = urb_completion("URB_COMPLETION", pdu, function_id::urb_completion);
    append(about.fields,
           {field("OutputBufferSize", pdu.output.size()), payload("OutputBuffer", pdu.output)});
    return about;
  }
  Description operator()(const UrbCompletionNoData& pdu) const {
    Description about =
        urb_completion("URB_COMPLETION_NO_DATA", pdu, function_id::urb_completion_no_data);
    about.fields.push_back(field("OutputBufferSize", pdu.output_buffer_size));
    return about;
  }
  Description operator()(const BadRequest& outcome) const {
    return {"BAD_REQUEST", outcome.reason, {field("RequestId", outcome.request)}, false};
  }
  Description operator()(const UnknownFunction& outcome) const {
    return {
        "UNKNOWN_FUNCTION",
        "function " + std::to_string(outcome.function),
        {field("InterfaceId", outcome.address.interface), field("FunctionId", outcome.function)},
        false};
  }
  Description operator()(const Ignored& outcome) const {
    return {"IGNORED", outcome.reason, {}, false};
  }

  template <typename T>
  static Description urb_completion(const char* name, const T& pdu, std::uint32_t function) {
    Description about{name, ending(pdu.result.status, pdu.hresult), request(pdu.address, function)};
    append(about.fields,
           {field("RequestId", pdu.request), field("CbTsUrbResult", encoded_size(pdu.result)),
            structure("TsUrbResult", result_fields(pdu.result)), field("HResult", pdu.hresult)});
    return about;
  }
};

}  // namespace

Description describe(const FromServer& message) {
  return std::visit(Describe{interface_id::notification_to_client}, message);
}

Description describe(const FromTill& message) {
  return std::visit(Describe{interface_id::notification_to_server}, message);
}

}  // namespace tillbridge::rdpeusb::pdu
