#include "channel/rdpeusb/pdu/ts_urb_result.hpp"

#include <cassert>
#include <string>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/status.hpp"

namespace tillbridge::rdpeusb::pdu {

namespace {

void encode(ByteWriter& out, const InterfaceInformationResult& interface) {
  out.u16le(static_cast<std::uint16_t>(InterfaceInformationResult::fixed_size +
                                       interface.pipes.size() * PipeInformationResult::size));
  out.u8(interface.interface_number);
  out.u8(interface.alternate_setting);
  out.u8(interface.interface_class);
  out.u8(interface.interface_subclass);
  out.u8(interface.interface_protocol);
  out.u8(interface.padding);
  out.u32le(interface.handle);
  out.u32le(static_cast<std::uint32_t>(interface.pipes.size()));
  for (const PipeInformationResult& pipe : interface.pipes) {
    out.u16le(pipe.maximum_packet_size);
    out.u8(pipe.endpoint);
    out.u8(pipe.interval);
    out.u32le(pipe.type);
    out.u32le(pipe.handle);
    out.u32le(pipe.maximum_transfer_size);
    out.u32le(pipe.flags);
  }
}

struct BodyEncoder {
  ByteWriter& out;

  void operator()(const std::monostate& /*body*/) const {}
  void operator()(const SelectConfigurationResult& body) const {
    out.u32le(body.configuration_handle);
    out.u32le(static_cast<std::uint32_t>(body.interfaces.size()));
    for (const InterfaceInformationResult& interface : body.interfaces) encode(out, interface);
  }
  void operator()(const SelectInterfaceResult& body) const { encode(out, body.interface); }
  void operator()(const FrameNumberResult& body) const { out.u32le(body.frame); }
  void operator()(const IsochronousResult& body) const {
    out.u32le(body.start_frame);
    out.u32le(static_cast<std::uint32_t>(body.packets.size()));
    out.u32le(body.error_count);
    encode_packets(out, body.packets);
  }
};

InterfaceInformationResult decode_interface(ByteReader& in) {
  const std::size_t start = in.position();
  InterfaceInformationResult interface;
  const std::uint16_t length = in.u16le();
  interface.interface_number = in.u8();
  interface.alternate_setting = in.u8();
  interface.interface_class = in.u8();
  interface.interface_subclass = in.u8();
  interface.interface_protocol = in.u8();
  interface.padding = in.u8();
  interface.handle = in.u32le();
  const std::uint32_t pipes = in.u32le();
  if (pipes > in.remaining() / PipeInformationResult::size ||
      pipes > limits::endpoints_per_interface) {
    in.fail();
    return interface;
  }
  interface.pipes.reserve(pipes);
  for (std::uint32_t i = 0; i < pipes; ++i) {
    PipeInformationResult pipe;
    pipe.maximum_packet_size = in.u16le();
    pipe.endpoint = in.u8();
    pipe.interval = in.u8();
    pipe.type = in.u32le();
    pipe.handle = in.u32le();
    pipe.maximum_transfer_size = in.u32le();
    pipe.flags = in.u32le();
    interface.pipes.push_back(pipe);
  }
  if (in.ok() && in.position() - start != length) in.fail();
  return interface;
}

SelectConfigurationResult decode_select_configuration(ByteReader& in) {
  SelectConfigurationResult body;
  body.configuration_handle = in.u32le();
  const std::uint32_t interfaces = in.u32le();
  // FreeRDP answers a configuration that it could not parse with handle 0, the request's count and
  // no interface at all.
  if (body.configuration_handle == 0 && in.remaining() == 0) return body;
  if (interfaces > in.remaining() / InterfaceInformationResult::fixed_size ||
      interfaces > limits::alternate_settings_per_configuration) {
    in.fail();
    return body;
  }
  body.interfaces.reserve(interfaces);
  for (std::uint32_t i = 0; i < interfaces && in.ok(); ++i)
    body.interfaces.push_back(decode_interface(in));
  return body;
}

IsochronousResult decode_isochronous(ByteReader& in) {
  IsochronousResult body;
  body.start_frame = in.u32le();
  const std::uint32_t packets = in.u32le();
  body.error_count = in.u32le();
  if (packets > in.remaining() / IsochronousPacket::size || packets > limits::isochronous_packets) {
    in.fail();
    return body;
  }
  body.packets = decode_packets(in, packets);
  return body;
}

}  // namespace

bool fits(const TsUrbResult& result) {
  const auto* body = std::get_if<SelectConfigurationResult>(&result.body);
  if (body == nullptr) return true;
  std::size_t size = TsUrbResult::header_size + 4 /* ConfigurationHandle */ + 4 /* NumInterfaces */;
  for (const InterfaceInformationResult& interface : body->interfaces) {
    size += InterfaceInformationResult::fixed_size +
            interface.pipes.size() * PipeInformationResult::size;
  }
  return size <= 0xFFFF;
}

void encode(ByteWriter& out, const TsUrbResult& result) {
  const std::size_t start = out.size();
  out.u16le(0);
  out.u16le(result.padding);
  out.u32le(result.status);
  std::visit(BodyEncoder{out}, result.body);
  assert(fits(result) && out.size() - start <= 0xFFFF);
  out.patch_u16le(start, static_cast<std::uint16_t>(out.size() - start));
}

Result<TsUrbResult> decode_ts_urb_result(ByteView bytes, std::uint16_t function) {
  ByteReader in(bytes);
  const std::uint16_t size = in.u16le();
  TsUrbResult result;
  result.padding = in.u16le();
  result.status = in.u32le();
  if (!in.ok() || size != bytes.size()) {
    return fail(ErrorCode::malformed, "TS_URB_RESULT_HEADER.Size " + std::to_string(size) +
                                          " is not CbTsUrbResult " + std::to_string(bytes.size()));
  }
  if (usbd_status::failed(result.status) && in.remaining() == 0) return result;
  switch (body_of(function)) {
    case UrbBody::select_configuration:
      result.body = decode_select_configuration(in);
      break;
    case UrbBody::select_interface:
      result.body = SelectInterfaceResult{decode_interface(in)};
      break;
    case UrbBody::isochronous:
      result.body = decode_isochronous(in);
      break;
    default:
      if (function == urb_function::get_current_frame_number)
        result.body = FrameNumberResult{in.u32le()};
      break;
  }
  if (!in.finished()) {
    return fail(ErrorCode::malformed,
                "the result of " + urb_function_text(function) + " has wrong lengths or counts");
  }
  return result;
}

}  // namespace tillbridge::rdpeusb::pdu
