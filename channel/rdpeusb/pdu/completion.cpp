#include "channel/rdpeusb/pdu/completion.hpp"

namespace tillbridge::rdpeusb::pdu {

namespace {

/// Header up to and including HResult, which both URB completions share.
void encode_urb_completion(ByteWriter& out, const Address& address, std::uint32_t function,
                           std::uint32_t request, const TsUrbResult& result,
                           std::uint32_t hresult) {
  encode_request_header(out, {address.interface, Mask::proxy, address.message, function});
  out.u32le(request);
  const std::size_t size_position = out.size();
  out.u32le(0);
  encode(out, result);
  out.patch_u32le(size_position, static_cast<std::uint32_t>(out.size() - size_position - 4));
  out.u32le(hresult);
}

}  // namespace

Bytes encode(const IoControlCompletion& pdu) {
  ByteWriter out(IoControlCompletion::fixed_size + pdu.output.size());
  encode_request_header(out, {pdu.address.interface, Mask::proxy, pdu.address.message,
                              function_id::io_control_completion});
  out.u32le(pdu.request);
  out.u32le(pdu.hresult);
  out.u32le(pdu.information);
  out.u32le(static_cast<std::uint32_t>(pdu.output.size()));
  out.bytes(pdu.output);
  return out.finish();
}

Bytes encode(const UrbCompletion& pdu) {
  ByteWriter out(Header::request_size + 64 + pdu.output.size());
  encode_urb_completion(out, pdu.address, function_id::urb_completion, pdu.request, pdu.result,
                        pdu.hresult);
  out.u32le(static_cast<std::uint32_t>(pdu.output.size()));
  out.bytes(pdu.output);
  return out.finish();
}

Bytes encode(const UrbCompletionNoData& pdu) {
  ByteWriter out(Header::request_size + 64);
  encode_urb_completion(out, pdu.address, function_id::urb_completion_no_data, pdu.request,
                        pdu.result, pdu.hresult);
  out.u32le(pdu.output_buffer_size);
  return out.finish();
}

}  // namespace tillbridge::rdpeusb::pdu
