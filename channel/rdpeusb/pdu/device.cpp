#include "channel/rdpeusb/pdu/device.hpp"

#include <array>

#include "channel/rdpeusb/pdu/named_value.hpp"
#include "channel/rdpeusb/pdu/strings.hpp"

namespace tillbridge::rdpeusb::pdu {

namespace {

void encode_header(ByteWriter& out, const Address& address, std::uint32_t function) {
  encode_request_header(out, {address.interface, Mask::proxy, address.message, function});
}

}  // namespace

std::string io_control_text(std::uint32_t code) {
  static constexpr std::array names{
      NamedValue{io_control_code::reset_port, "RESET_PORT"},
      NamedValue{io_control_code::get_port_status, "GET_PORT_STATUS"},
      NamedValue{io_control_code::get_hub_count, "GET_HUB_COUNT"},
      NamedValue{io_control_code::cycle_port, "CYCLE_PORT"},
      NamedValue{io_control_code::get_hub_name, "GET_HUB_NAME"},
      NamedValue{io_control_code::get_bus_info, "GET_BUS_INFO"},
      NamedValue{io_control_code::get_controller_name, "GET_CONTROLLER_NAME"},
      NamedValue{io_control_code::query_bus_time, "QUERY_BUS_TIME"},
  };
  return named_value_text(names, code, 8);
}

Bytes encode(const CancelRequest& pdu) {
  ByteWriter out(CancelRequest::size);
  encode_header(out, pdu.address, function_id::cancel_request);
  out.u32le(pdu.request);
  return out.finish();
}

Bytes encode(const RegisterRequestCallback& pdu) {
  ByteWriter out(Header::request_size + 4 /* NumRequestCompletion */ + 4 /* RequestCompletion */);
  encode_header(out, pdu.address, function_id::register_request_callback);
  out.u32le(pdu.count);
  if (pdu.count != 0) out.u32le(pdu.request_completion);
  return out.finish();
}

Bytes encode(const IoControl& pdu) {
  ByteWriter out(Header::request_size + 16 + pdu.input.size());
  encode_header(out, pdu.address,
                pdu.internal ? function_id::internal_io_control : function_id::io_control);
  out.u32le(pdu.code);
  out.u32le(static_cast<std::uint32_t>(pdu.input.size()));
  out.bytes(pdu.input);
  out.u32le(pdu.output_buffer_size);
  out.u32le(pdu.request);
  return out.finish();
}

Bytes encode(const QueryDeviceText& pdu) {
  ByteWriter out(QueryDeviceText::size);
  encode_header(out, pdu.address, function_id::query_device_text);
  out.u32le(pdu.text_type);
  out.u32le(pdu.locale);
  return out.finish();
}

Bytes encode(const QueryDeviceTextResponse& pdu) {
  ByteWriter out;
  encode_response_header(out, {pdu.address.interface, Mask::stub, pdu.address.message});
  encode_string(out, pdu.text);
  out.u32le(pdu.result);
  return out.finish();
}

Bytes encode(const TransferRequest& pdu) {
  ByteWriter out(Header::request_size + 64 + pdu.output_buffer.size());
  encode_header(out, pdu.address,
                pdu.in ? function_id::transfer_in_request : function_id::transfer_out_request);
  const std::size_t size_position = out.size();
  out.u32le(0);
  encode(out, pdu.urb);
  out.patch_u32le(size_position, static_cast<std::uint32_t>(out.size() - size_position - 4));
  if (pdu.in) {
    out.u32le(pdu.output_buffer_size);
  } else {
    out.u32le(static_cast<std::uint32_t>(pdu.output_buffer.size()));
    out.bytes(pdu.output_buffer);
  }
  return out.finish();
}

Bytes encode(const RetractDevice& pdu) {
  ByteWriter out(RetractDevice::size);
  encode_header(out, pdu.address, function_id::retract_device);
  out.u32le(pdu.reason);
  return out.finish();
}

}  // namespace tillbridge::rdpeusb::pdu
