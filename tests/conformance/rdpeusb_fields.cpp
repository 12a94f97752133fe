#include "tests/conformance/rdpeusb_fields.hpp"

#include <string_view>

namespace tillbridge::conformance {

namespace {

namespace pdu = rdpeusb::pdu;
using nlohmann::json;

/// UTF-16 units of ASCII text, which is all the vectors have.
json text(const std::string& value) {
  return {{"cch", value.size() + 1}, {"text", value}};
}

json list(const std::vector<std::string>& values) {
  std::size_t cch = values.empty() ? 0 : 1;
  for (const std::string& value : values) cch += value.size() + 1;
  return {{"cch", cch}, {"list", values}};
}

const char* mask_name(pdu::Mask mask) {
  switch (mask) {
    case pdu::Mask::none:
      return "NONE";
    case pdu::Mask::proxy:
      return "PROXY";
    case pdu::Mask::stub:
      return "STUB";
    case pdu::Mask::invalid:
      break;
  }
  return "INVALID";
}

json response(std::uint32_t interface, pdu::Mask mask, std::uint32_t message) {
  return {{"InterfaceId", interface}, {"Mask", mask_name(mask)}, {"MessageId", message}};
}

json request(std::uint32_t interface, pdu::Mask mask, std::uint32_t message,
             std::uint32_t function) {
  json fields = response(interface, mask, message);
  fields["FunctionId"] = function;
  return fields;
}

json request(const pdu::Address& address, std::uint32_t function) {
  return request(address.interface, pdu::Mask::proxy, address.message, function);
}

std::string setup_hex(const usb::SetupPacket& setup) {
  ByteWriter out;
  pdu::encode(out, setup);
  return to_hex(out.view());
}

template <typename T>
std::size_t encoded_size(const T& value) {
  ByteWriter out;
  pdu::encode(out, value);
  return out.size();
}

// --- TS_URB
// ----------------------------------------------------------------------------------------------------------

json interface_fields(const pdu::InterfaceInformation& interface) {
  json pipes = json::array();
  for (const pdu::PipeInformation& pipe : interface.pipes) {
    pipes.push_back({{"MaximumPacketSize", pipe.maximum_packet_size},
                     {"Padding", pipe.padding},
                     {"MaximumTransferSize", pipe.maximum_transfer_size},
                     {"PipeFlags", pipe.flags}});
  }
  return {{"Length", 12 + 12 * interface.pipes.size()},
          {"NumberOfPipesExpected", interface.pipes_expected},
          {"InterfaceNumber", interface.interface_number},
          {"AlternateSetting", interface.alternate_setting},
          {"Padding", interface.padding},
          {"NumberOfPipes", interface.pipes.size()},
          {"Pipes", pipes}};
}

json packet_fields(const std::vector<pdu::IsochronousPacket>& packets) {
  json fields = json::array();
  for (const pdu::IsochronousPacket& packet : packets) {
    fields.push_back(
        {{"Offset", packet.offset}, {"Length", packet.length}, {"Status", packet.status}});
  }
  return fields;
}

struct UrbFields {
  json& fields;

  void operator()(const pdu::NoParameters& /*body*/) const {}
  void operator()(const pdu::SelectConfiguration& body) const {
    fields["ConfigurationDescriptorIsValid"] = body.descriptor_valid;
    fields["Padding"] = to_hex(body.padding);
    fields["NumInterfaces"] = body.interfaces.size();
    fields["Interfaces"] = json::array();
    for (const pdu::InterfaceInformation& interface : body.interfaces)
      fields["Interfaces"].push_back(interface_fields(interface));
    fields["ConfigurationDescriptor"] = to_hex(body.descriptor);
  }
  void operator()(const pdu::SelectInterface& body) const {
    fields["ConfigurationHandle"] = body.configuration_handle;
    fields["Interface"] = interface_fields(body.interface);
  }
  void operator()(const pdu::PipeRequest& body) const { fields["PipeHandle"] = body.pipe_handle; }
  void operator()(const pdu::ControlTransfer& body) const {
    fields["PipeHandle"] = body.pipe_handle;
    fields["TransferFlags"] = body.flags;
    fields["SetupPacket"] = setup_hex(body.setup);
  }
  void operator()(const pdu::ControlTransferEx& body) const {
    fields["PipeHandle"] = body.pipe_handle;
    fields["TransferFlags"] = body.flags;
    fields["Timeout"] = body.timeout_ms;
    fields["SetupPacket"] = setup_hex(body.setup);
  }
  void operator()(const pdu::BulkOrInterruptTransfer& body) const {
    fields["PipeHandle"] = body.pipe_handle;
    fields["TransferFlags"] = body.flags;
  }
  void operator()(const pdu::IsochronousTransfer& body) const {
    fields["PipeHandle"] = body.pipe_handle;
    fields["TransferFlags"] = body.flags;
    fields["StartFrame"] = body.start_frame;
    fields["NumberOfPackets"] = body.packets.size();
    fields["ErrorCount"] = body.error_count;
    fields["IsoPacket"] = packet_fields(body.packets);
  }
  void operator()(const pdu::DescriptorRequest& body) const {
    fields["Index"] = body.index;
    fields["DescriptorType"] = body.type;
    fields["LanguageId"] = body.language;
  }
  void operator()(const pdu::FeatureRequest& body) const {
    fields["FeatureSelector"] = body.selector;
    fields["Index"] = body.index;
  }
  void operator()(const pdu::StatusRequest& body) const {
    fields["Index"] = body.index;
    fields["Padding"] = body.padding;
  }
  void operator()(const pdu::VendorOrClassRequest& body) const {
    fields["TransferFlags"] = body.flags;
    fields["RequestTypeReservedBits"] = body.reserved_bits;
    fields["Request"] = body.request;
    fields["Value"] = body.value;
    fields["Index"] = body.index;
    fields["Padding"] = body.padding;
  }
  void operator()(const pdu::GetInterfaceRequest& body) const {
    fields["Interface"] = body.interface;
    fields["Padding"] = body.padding;
  }
  void operator()(const pdu::OsFeatureDescriptorRequest& body) const {
    fields["Recipient"] = body.recipient;
    fields["Padding1"] = body.padding1;
    fields["InterfaceNumber"] = body.interface_number;
    fields["MS_PageIndex"] = body.page;
    fields["MS_FeatureDescriptorIndex"] = body.feature_descriptor_index;
    fields["Padding2"] = to_hex(body.padding2);
  }
};

json urb_fields(const pdu::TsUrb& urb) {
  json fields{{"Size", encoded_size(urb)},
              {"URB_Function", urb.function},
              {"RequestId", urb.request},
              {"NoAck", urb.no_ack ? 1 : 0}};
  std::visit(UrbFields{fields}, urb.body);
  return fields;
}

// --- TS_URB_RESULT
// ---------------------------------------------------------------------------------------------------

json interface_fields(const pdu::InterfaceInformationResult& interface) {
  json pipes = json::array();
  for (const pdu::PipeInformationResult& pipe : interface.pipes) {
    pipes.push_back({{"MaximumPacketSize", pipe.maximum_packet_size},
                     {"EndpointAddress", pipe.endpoint},
                     {"Interval", pipe.interval},
                     {"PipeType", pipe.type},
                     {"PipeHandle", pipe.handle},
                     {"MaximumTransferSize", pipe.maximum_transfer_size},
                     {"PipeFlags", pipe.flags}});
  }
  return {{"Length", 16 + 20 * interface.pipes.size()},
          {"InterfaceNumber", interface.interface_number},
          {"AlternateSetting", interface.alternate_setting},
          {"Class", interface.interface_class},
          {"SubClass", interface.interface_subclass},
          {"Protocol", interface.interface_protocol},
          {"Padding", interface.padding},
          {"InterfaceHandle", interface.handle},
          {"NumberOfPipes", interface.pipes.size()},
          {"Pipes", pipes}};
}

json result_fields(const pdu::TsUrbResult& result) {
  json fields{
      {"Size", encoded_size(result)}, {"Padding", result.padding}, {"UsbdStatus", result.status}};
  if (const auto* selected = std::get_if<pdu::SelectConfigurationResult>(&result.body)) {
    fields["ConfigurationHandle"] = selected->configuration_handle;
    fields["NumInterfaces"] = selected->interfaces.size();
    fields["Interface"] = json::array();
    for (const pdu::InterfaceInformationResult& interface : selected->interfaces) {
      fields["Interface"].push_back(interface_fields(interface));
    }
  } else if (const auto* interface = std::get_if<pdu::SelectInterfaceResult>(&result.body)) {
    fields["Interface"] = interface_fields(interface->interface);
  } else if (const auto* frame = std::get_if<pdu::FrameNumberResult>(&result.body)) {
    fields["FrameNumber"] = frame->frame;
  } else if (const auto* isochronous = std::get_if<pdu::IsochronousResult>(&result.body)) {
    fields["StartFrame"] = isochronous->start_frame;
    fields["NumberOfPackets"] = isochronous->packets.size();
    fields["ErrorCount"] = isochronous->error_count;
    fields["IsoPacket"] = packet_fields(isochronous->packets);
  }
  return fields;
}

// --- whole messages
// --------------------------------------------------------------------------------------------------

struct PduFields {
  std::uint32_t notification_interface;

  json operator()(const pdu::CapabilityRequest& pdu) const {
    json fields = request(0, pdu::Mask::none, pdu.message, 0x100);
    fields["CapabilityValue"] = pdu.capability;
    return fields;
  }
  json operator()(const pdu::CapabilityResponse& pdu) const {
    json fields = response(0, pdu::Mask::none, pdu.message);
    fields["CapabilityValue"] = pdu.capability;
    fields["Result"] = pdu.result;
    return fields;
  }
  json operator()(const pdu::ChannelCreated& pdu) const {
    json fields = request(notification_interface, pdu::Mask::proxy, pdu.message, 0x100);
    fields["MajorVersion"] = pdu.major;
    fields["MinorVersion"] = pdu.minor;
    fields["Capabilities"] = pdu.capabilities;
    return fields;
  }
  json operator()(const pdu::ReleaseInterface& pdu) const {
    return request(pdu.address.interface, pdu.mask, pdu.address.message, 0x001);
  }
  json operator()(const pdu::QueryInterface& pdu) const {
    json fields = request(pdu.address.interface, pdu.mask, pdu.address.message, 0x002);
    fields["NewInterfaceGUID"] = to_hex(pdu.guid);
    return fields;
  }
  json operator()(const pdu::QueryInterfaceResponse& pdu) const {
    json fields = response(pdu.address.interface, pdu::Mask::stub, pdu.address.message);
    if (pdu.new_interface) fields["NewInterfaceId"] = *pdu.new_interface;
    return fields;
  }
  json operator()(const pdu::AddVirtualChannel& pdu) const {
    return request({1, pdu.message}, 0x100);
  }
  json operator()(const pdu::AddDevice& pdu) const {
    json fields = request({1, pdu.message}, 0x101);
    fields["NumUsbDevice"] = pdu.device_count;
    fields["UsbDevice"] = pdu.usb_device;
    fields["DeviceInstanceId"] = text(pdu.instance_id);
    fields["HardwareIds"] = list(pdu.hardware_ids);
    fields["CompatibilityIds"] = list(pdu.compatible_ids);
    fields["ContainerId"] = text(pdu.container_id);
    fields["UsbDeviceCapabilities"] = {
        {"CbSize", 28},
        {"UsbBusInterfaceVersion", pdu.capabilities.bus_interface_version},
        {"USBDI_Version", pdu.capabilities.usbdi_version},
        {"Supported_USB_Version", pdu.capabilities.usb_version},
        {"HcdCapabilities", pdu.capabilities.hcd_capabilities},
        {"DeviceIsHighSpeed", pdu.capabilities.high_speed},
        {"NoAckIsochWriteJitterBufferSizeInMs", pdu.capabilities.no_ack_isochronous_jitter_ms}};
    return fields;
  }
  json operator()(const pdu::CancelRequest& pdu) const {
    json fields = request(pdu.address, 0x100);
    fields["RequestId"] = pdu.request;
    return fields;
  }
  json operator()(const pdu::RegisterRequestCallback& pdu) const {
    json fields = request(pdu.address, 0x101);
    fields["NumRequestCompletion"] = pdu.count;
    if (pdu.count != 0) fields["RequestCompletion"] = pdu.request_completion;
    return fields;
  }
  json operator()(const pdu::IoControl& pdu) const {
    json fields = request(pdu.address, pdu.internal ? 0x103 : 0x102);
    fields["IoControlCode"] = pdu.code;
    fields["InputBufferSize"] = pdu.input.size();
    fields["InputBuffer"] = to_hex(pdu.input);
    fields["OutputBufferSize"] = pdu.output_buffer_size;
    fields["RequestId"] = pdu.request;
    return fields;
  }
  json operator()(const pdu::QueryDeviceText& pdu) const {
    json fields = request(pdu.address, 0x104);
    fields["TextType"] = pdu.text_type;
    fields["LocaleId"] = pdu.locale;
    return fields;
  }
  json operator()(const pdu::QueryDeviceTextResponse& pdu) const {
    json fields = response(pdu.address.interface, pdu::Mask::stub, pdu.address.message);
    fields["DeviceDescription"] = text(pdu.text);
    fields["HResult"] = pdu.result;
    return fields;
  }
  json operator()(const pdu::TransferRequest& pdu) const {
    json fields = request(pdu.address, pdu.in ? 0x105 : 0x106);
    fields["CbTsUrb"] = encoded_size(pdu.urb);
    fields["TsUrb"] = urb_fields(pdu.urb);
    fields["OutputBufferSize"] = pdu.output_buffer_size;
    if (!pdu.in) fields["OutputBuffer"] = to_hex(pdu.output_buffer);
    return fields;
  }
  json operator()(const pdu::RetractDevice& pdu) const {
    json fields = request(pdu.address, 0x107);
    fields["Reason"] = pdu.reason;
    return fields;
  }
  json operator()(const pdu::IoControlCompletion& pdu) const {
    json fields = request(pdu.address, 0x100);
    fields["RequestId"] = pdu.request;
    fields["HResult"] = pdu.hresult;
    fields["Information"] = pdu.information;
    fields["OutputBufferSize"] = pdu.output_buffer_size;
    fields["OutputBuffer"] = to_hex(pdu.output);
    return fields;
  }
  json operator()(const pdu::UrbCompletion& pdu) const {
    json fields = urb_completion(pdu, 0x101);
    fields["OutputBufferSize"] = pdu.output.size();
    fields["OutputBuffer"] = to_hex(pdu.output);
    return fields;
  }
  json operator()(const pdu::UrbCompletionNoData& pdu) const {
    json fields = urb_completion(pdu, 0x102);
    fields["OutputBufferSize"] = pdu.output_buffer_size;
    return fields;
  }
  json operator()(const pdu::BadRequest& /*outcome*/) const { return nullptr; }
  json operator()(const pdu::UnknownFunction& /*outcome*/) const { return nullptr; }
  json operator()(const pdu::Ignored& /*outcome*/) const { return nullptr; }

  template <typename T>
  static json urb_completion(const T& pdu, std::uint32_t function) {
    json fields = request(pdu.address, function);
    fields["RequestId"] = pdu.request;
    fields["CbTsUrbResult"] = encoded_size(pdu.result);
    fields["TsUrbResult"] = result_fields(pdu.result);
    fields["HResult"] = pdu.hresult;
    return fields;
  }
};

}  // namespace

json fields_of(const pdu::FromServer& pdu) {
  return std::visit(PduFields{2}, pdu);
}
json fields_of(const pdu::FromTill& pdu) {
  return std::visit(PduFields{3}, pdu);
}

std::string to_hex(ByteView bytes) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string hex;
  for (const std::uint8_t byte : bytes) {
    hex.push_back(digits[byte >> 4U]);
    hex.push_back(digits[byte & 0xFU]);
  }
  return hex;
}

Bytes from_hex(const std::string& hex) {
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

}  // namespace tillbridge::conformance
