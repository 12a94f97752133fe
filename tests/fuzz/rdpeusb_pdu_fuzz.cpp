// Decoding a message of either direction: what passes encodes to something that decodes to the same
// again.
//
// Input: 5 bytes of context, then the message.
//   0     bit 0: from the server; bits 1-5: what the receiver waits for
//   1     URB function of the outstanding request
//   2     bit 0: the outstanding request is an I/O control
//   3, 4  its OutputBufferSize, little-endian

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "channel/rdpeusb/pdu/message.hpp"

namespace {

namespace pdu = tillbridge::rdpeusb::pdu;
using tillbridge::ByteReader;
using tillbridge::Bytes;
using tillbridge::ByteView;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

struct Encoder {
  pdu::Sender sender;

  template <typename T>
  Bytes operator()(const T& value) const {
    return pdu::encode(value);
  }
  Bytes operator()(const pdu::ChannelCreated& value) const { return pdu::encode(value, sender); }
  Bytes operator()(const pdu::BadRequest& value) const {
    require(value.request <= 0x7FFFFFFF || value.kind == pdu::BadRequest::Kind::io_control ||
                value.kind == pdu::BadRequest::Kind::internal_io_control,
            "a transfer's RequestId has 31 bits");
    require(!value.reason.empty() && pdu::hresult::failed(value.hresult) &&
                pdu::usbd_status::failed(value.usbd_status),
            "a bad request has a reason and a failure");
    return {};
  }
  Bytes operator()(const pdu::UnknownFunction& /*value*/) const { return {}; }
  Bytes operator()(const pdu::Ignored& value) const {
    require(!value.reason.empty(), "an ignored message has a reason");
    return {};
  }
};

template <typename Decode>
void round_trip(ByteView message, pdu::Sender sender, const Decode& decode) {
  const auto first = decode(message);
  if (!first.ok()) return;
  const Bytes encoded = std::visit(Encoder{sender}, *first);
  if (encoded.empty()) return;
  const auto second = decode(encoded);
  require(second.ok(), "what was decoded can be decoded again");
  require(second->index() == first->index(), "it stays the same PDU");
  require(std::visit(Encoder{sender}, *second) == encoded, "it encodes to the same bytes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader in(ByteView(data, size));
  const std::uint8_t flags = in.u8();
  pdu::OutstandingRequest outstanding;
  outstanding.function = in.u8();
  outstanding.io_control = (in.u8() & 1U) != 0;
  outstanding.output_buffer_size = in.u16le();
  if (!in.ok()) return 0;
  const ByteView message = in.rest();
  ByteReader header_reader(message);
  const pdu::Header header = pdu::decode_response_header(header_reader);

  if ((flags & 1U) != 0) {
    pdu::TillContext context;
    if ((flags & 2U) != 0) context.usb_device = header.interface;
    round_trip(message, pdu::Sender::server,
               [&](ByteView bytes) { return pdu::decode_from_server(bytes, context); });
    return 0;
  }
  const pdu::Address address{header.interface, header.message};
  pdu::TerminalContext context;
  context.capability_outstanding = (flags & 2U) != 0;
  if ((flags & 4U) != 0) context.text_query = address;
  if ((flags & 8U) != 0) context.interface_query = address;
  if ((flags & 16U) != 0) context.request_completion = header.interface;
  context.outstanding = [&](std::uint32_t request) {
    return request % 7 != 6 ? std::optional(outstanding) : std::nullopt;
  };
  round_trip(message, pdu::Sender::till,
             [&](ByteView bytes) { return pdu::decode_from_till(bytes, context); });
  return 0;
}
