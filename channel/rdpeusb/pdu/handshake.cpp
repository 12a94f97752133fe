// Encoders of the messages around a device: capabilities, notifications, interface manipulation,
// device sink.
#include "channel/rdpeusb/pdu/capabilities.hpp"
#include "channel/rdpeusb/pdu/interface_manipulation.hpp"
#include "channel/rdpeusb/pdu/notification.hpp"
#include "channel/rdpeusb/pdu/sink.hpp"
#include "channel/rdpeusb/pdu/strings.hpp"

namespace tillbridge::rdpeusb::pdu {

Bytes encode(const CapabilityRequest& pdu) {
  ByteWriter out(CapabilityRequest::size);
  encode_request_header(
      out, {interface_id::capabilities, Mask::none, pdu.message, function_id::exchange_capability});
  out.u32le(pdu.capability);
  return out.finish();
}

Bytes encode(const CapabilityResponse& pdu) {
  ByteWriter out(CapabilityResponse::size);
  encode_response_header(out, {interface_id::capabilities, Mask::none, pdu.message});
  out.u32le(pdu.capability);
  out.u32le(pdu.result);
  return out.finish();
}

Bytes encode(const ChannelCreated& pdu, Sender sender) {
  ByteWriter out(ChannelCreated::size);
  const std::uint32_t interface = sender == Sender::server ? interface_id::notification_to_client
                                                           : interface_id::notification_to_server;
  encode_request_header(out, {interface, Mask::proxy, pdu.message, function_id::channel_created});
  out.u32le(pdu.major);
  out.u32le(pdu.minor);
  out.u32le(pdu.capabilities);
  return out.finish();
}

Bytes encode(const ReleaseInterface& pdu) {
  ByteWriter out(ReleaseInterface::size);
  encode_request_header(
      out, {pdu.address.interface, pdu.mask, pdu.address.message, function_id::release});
  return out.finish();
}

Bytes encode(const QueryInterface& pdu) {
  ByteWriter out(QueryInterface::size);
  encode_request_header(
      out, {pdu.address.interface, pdu.mask, pdu.address.message, function_id::query_interface});
  out.bytes(pdu.guid);
  return out.finish();
}

Bytes encode(const QueryInterfaceResponse& pdu) {
  ByteWriter out(Header::response_size + 4);
  encode_response_header(out, {pdu.address.interface, Mask::stub, pdu.address.message});
  if (pdu.new_interface) out.u32le(*pdu.new_interface);
  return out.finish();
}

Bytes encode(const AddVirtualChannel& pdu) {
  ByteWriter out(AddVirtualChannel::size);
  encode_request_header(
      out, {interface_id::device_sink, Mask::proxy, pdu.message, function_id::add_virtual_channel});
  return out.finish();
}

Bytes encode(const AddDevice& pdu) {
  ByteWriter out;
  encode_request_header(
      out, {interface_id::device_sink, Mask::proxy, pdu.message, function_id::add_device});
  out.u32le(pdu.device_count);
  out.u32le(pdu.usb_device);
  encode_string(out, pdu.instance_id);
  encode_multi_string(out, pdu.hardware_ids);
  encode_multi_string(out, pdu.compatible_ids);
  encode_string(out, pdu.container_id);
  out.u32le(UsbDeviceCapabilities::size);
  out.u32le(pdu.capabilities.bus_interface_version);
  out.u32le(pdu.capabilities.usbdi_version);
  out.u32le(pdu.capabilities.usb_version);
  out.u32le(pdu.capabilities.hcd_capabilities);
  out.u32le(pdu.capabilities.high_speed);
  out.u32le(pdu.capabilities.no_ack_isochronous_jitter_ms);
  return out.finish();
}

}  // namespace tillbridge::rdpeusb::pdu
