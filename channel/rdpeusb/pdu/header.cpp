#include "channel/rdpeusb/pdu/header.hpp"

namespace tillbridge::rdpeusb::pdu {

namespace {

std::uint32_t first_word(const Header& header) {
  return (header.interface & interface_id::bits) | (static_cast<std::uint32_t>(header.mask) << 30U);
}

}  // namespace

void encode_response_header(ByteWriter& out, const Header& header) {
  out.u32le(first_word(header));
  out.u32le(header.message);
}

void encode_request_header(ByteWriter& out, const Header& header) {
  encode_response_header(out, header);
  out.u32le(header.function);
}

Header decode_response_header(ByteReader& in) {
  Header header;
  const std::uint32_t word = in.u32le();
  header.interface = word & interface_id::bits;
  header.mask = static_cast<Mask>(word >> 30U);
  header.message = in.u32le();
  return header;
}

Header decode_request_header(ByteReader& in) {
  Header header = decode_response_header(in);
  header.function = in.u32le();
  return header;
}

}  // namespace tillbridge::rdpeusb::pdu
