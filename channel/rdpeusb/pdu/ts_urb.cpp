#include "channel/rdpeusb/pdu/ts_urb.hpp"

#include <algorithm>
#include <cassert>
#include <string>

#include "channel/bytes/limits.hpp"

namespace tillbridge::rdpeusb::pdu {

namespace {

constexpr std::uint32_t no_ack_bit = 0x80000000U;
constexpr std::uint8_t configuration_descriptor_type = 2;
constexpr std::size_t configuration_descriptor_header = 9;

// --- encoding
// ------------------------------------------------------------------------------------------------------

void encode(ByteWriter& out, const InterfaceInformation& interface) {
  out.u16le(static_cast<std::uint16_t>(InterfaceInformation::fixed_size +
                                       interface.pipes.size() * PipeInformation::size));
  out.u16le(interface.pipes_expected);
  out.u8(interface.interface_number);
  out.u8(interface.alternate_setting);
  out.u16le(interface.padding);
  out.u32le(static_cast<std::uint32_t>(interface.pipes.size()));
  for (const PipeInformation& pipe : interface.pipes) {
    out.u16le(pipe.maximum_packet_size);
    out.u16le(pipe.padding);
    out.u32le(pipe.maximum_transfer_size);
    out.u32le(pipe.flags);
  }
}

struct BodyEncoder {
  ByteWriter& out;

  void operator()(const NoParameters& /*body*/) const {}
  void operator()(const SelectConfiguration& body) const {
    out.u8(body.descriptor_valid);
    out.bytes(body.padding);
    out.u32le(static_cast<std::uint32_t>(body.interfaces.size()));
    for (const InterfaceInformation& interface : body.interfaces) encode(out, interface);
    out.bytes(body.descriptor);
  }
  void operator()(const SelectInterface& body) const {
    out.u32le(body.configuration_handle);
    encode(out, body.interface);
  }
  void operator()(const PipeRequest& body) const { out.u32le(body.pipe_handle); }
  void operator()(const ControlTransfer& body) const {
    out.u32le(body.pipe_handle);
    out.u32le(body.flags);
    pdu::encode(out, body.setup);
  }
  void operator()(const ControlTransferEx& body) const {
    out.u32le(body.pipe_handle);
    out.u32le(body.flags);
    out.u32le(body.timeout_ms);
    pdu::encode(out, body.setup);
  }
  void operator()(const BulkOrInterruptTransfer& body) const {
    out.u32le(body.pipe_handle);
    out.u32le(body.flags);
  }
  void operator()(const IsochronousTransfer& body) const {
    out.u32le(body.pipe_handle);
    out.u32le(body.flags);
    out.u32le(body.start_frame);
    out.u32le(static_cast<std::uint32_t>(body.packets.size()));
    out.u32le(body.error_count);
    encode_packets(out, body.packets);
  }
  void operator()(const DescriptorRequest& body) const {
    out.u8(body.index);
    out.u8(body.type);
    out.u16le(body.language);
  }
  void operator()(const FeatureRequest& body) const {
    out.u16le(body.selector);
    out.u16le(body.index);
  }
  void operator()(const StatusRequest& body) const {
    out.u16le(body.index);
    out.u16le(body.padding);
  }
  void operator()(const VendorOrClassRequest& body) const {
    out.u32le(body.flags);
    out.u8(body.reserved_bits);
    out.u8(body.request);
    out.u16le(body.value);
    out.u16le(body.index);
    out.u16le(body.padding);
  }
  void operator()(const GetInterfaceRequest& body) const {
    out.u16le(body.interface);
    out.u16le(body.padding);
  }
  void operator()(const OsFeatureDescriptorRequest& body) const {
    out.u8(static_cast<std::uint8_t>((body.recipient & 0x1FU) |
                                     static_cast<unsigned>(body.padding1 << 5U)));
    out.u8(body.interface_number);
    out.u8(body.page);
    out.u16le(body.feature_descriptor_index);
    out.bytes(body.padding2);
  }
};

// --- decoding
// ------------------------------------------------------------------------------------------------------

/// Carries the reader, and the first reason for which a body was found to be over a limit.
class BodyDecoder {
 public:
  explicit BodyDecoder(ByteReader& in) : in_(in) {}

  [[nodiscard]] TsUrb::Body decode(UrbBody kind);
  [[nodiscard]] const std::string& over_limit() const noexcept { return over_limit_; }

 private:
  /// A count of structures of at least `size` bytes each, checked before anything is allocated for
  /// them.
  std::uint32_t count(std::size_t size, std::size_t limit, const char* name) {
    const std::uint32_t value = in_.u32le();
    if (value > in_.remaining() / size) {
      in_.fail();
      return 0;
    }
    if (value > limit) {
      if (over_limit_.empty())
        over_limit_ =
            std::string(name) + " " + std::to_string(value) + " is above " + std::to_string(limit);
      in_.fail();
      return 0;
    }
    return value;
  }

  InterfaceInformation interface();
  SelectConfiguration select_configuration();
  IsochronousTransfer isochronous();
  template <std::size_t N>
  std::array<std::uint8_t, N> padding() {
    std::array<std::uint8_t, N> bytes{};
    for (std::uint8_t& byte : bytes) byte = in_.u8();
    return bytes;
  }

  ByteReader& in_;
  std::string over_limit_;
};

InterfaceInformation BodyDecoder::interface() {
  const std::size_t start = in_.position();
  InterfaceInformation interface;
  const std::uint16_t length = in_.u16le();
  interface.pipes_expected = in_.u16le();
  interface.interface_number = in_.u8();
  interface.alternate_setting = in_.u8();
  interface.padding = in_.u16le();
  const std::uint32_t pipes =
      count(PipeInformation::size, limits::endpoints_per_interface, "NumberOfPipes");
  interface.pipes.reserve(pipes);
  for (std::uint32_t i = 0; i < pipes; ++i) {
    PipeInformation pipe;
    pipe.maximum_packet_size = in_.u16le();
    pipe.padding = in_.u16le();
    pipe.maximum_transfer_size = in_.u32le();
    pipe.flags = in_.u32le();
    interface.pipes.push_back(pipe);
  }
  if (in_.ok() && in_.position() - start != length) in_.fail();
  return interface;
}

SelectConfiguration BodyDecoder::select_configuration() {
  SelectConfiguration body;
  body.descriptor_valid = in_.u8();
  body.padding = padding<3>();
  const std::uint32_t interfaces =
      count(InterfaceInformation::fixed_size, limits::alternate_settings_per_configuration,
            "NumInterfaces");
  body.interfaces.reserve(interfaces);
  for (std::uint32_t i = 0; i < interfaces && in_.ok(); ++i) body.interfaces.push_back(interface());
  body.descriptor = in_.rest();
  if (body.descriptor_valid == 0) {
    if (!body.descriptor.empty()) in_.fail();
    return body;
  }
  ByteReader header(body.descriptor);
  header.skip(1);
  const std::uint8_t type = header.u8();
  const std::uint16_t total = header.u16le();
  // A header-only descriptor is refused as Windows' client does: endpoints could not be checked
  // against it.
  if (body.descriptor.size() < configuration_descriptor_header ||
      type != configuration_descriptor_type || total != body.descriptor.size()) {
    in_.fail();
  }
  return body;
}

IsochronousTransfer BodyDecoder::isochronous() {
  IsochronousTransfer body;
  body.pipe_handle = in_.u32le();
  body.flags = in_.u32le();
  body.start_frame = in_.u32le();
  // ErrorCount stands between the count and the packets.
  const std::uint32_t packets = in_.u32le();
  body.error_count = in_.u32le();
  if (packets > in_.remaining() / IsochronousPacket::size) {
    in_.fail();
    return body;
  }
  if (packets > limits::isochronous_packets) {
    over_limit_ = "NumberOfPackets " + std::to_string(packets) + " is above " +
                  std::to_string(limits::isochronous_packets);
    in_.fail();
    return body;
  }
  body.packets = decode_packets(in_, packets);
  return body;
}

TsUrb::Body BodyDecoder::decode(UrbBody kind) {
  switch (kind) {
    case UrbBody::select_configuration:
      return select_configuration();
    case UrbBody::select_interface: {
      SelectInterface body;
      body.configuration_handle = in_.u32le();
      body.interface = interface();
      return body;
    }
    case UrbBody::pipe_request:
      return PipeRequest{in_.u32le()};
    case UrbBody::control_transfer: {
      ControlTransfer body;
      body.pipe_handle = in_.u32le();
      body.flags = in_.u32le();
      body.setup = decode_setup(in_);
      return body;
    }
    case UrbBody::control_transfer_ex: {
      ControlTransferEx body;
      body.pipe_handle = in_.u32le();
      body.flags = in_.u32le();
      body.timeout_ms = in_.u32le();
      body.setup = decode_setup(in_);
      return body;
    }
    case UrbBody::bulk_or_interrupt: {
      BulkOrInterruptTransfer body;
      body.pipe_handle = in_.u32le();
      body.flags = in_.u32le();
      return body;
    }
    case UrbBody::isochronous:
      return isochronous();
    case UrbBody::descriptor: {
      DescriptorRequest body;
      body.index = in_.u8();
      body.type = in_.u8();
      body.language = in_.u16le();
      return body;
    }
    case UrbBody::feature: {
      FeatureRequest body;
      body.selector = in_.u16le();
      body.index = in_.u16le();
      return body;
    }
    case UrbBody::status: {
      StatusRequest body;
      body.index = in_.u16le();
      body.padding = in_.u16le();
      return body;
    }
    case UrbBody::vendor_or_class: {
      VendorOrClassRequest body;
      body.flags = in_.u32le();
      body.reserved_bits = in_.u8();
      body.request = in_.u8();
      body.value = in_.u16le();
      body.index = in_.u16le();
      body.padding = in_.u16le();
      return body;
    }
    case UrbBody::get_interface: {
      GetInterfaceRequest body;
      body.interface = in_.u16le();
      body.padding = in_.u16le();
      return body;
    }
    case UrbBody::os_feature_descriptor: {
      OsFeatureDescriptorRequest body;
      const std::uint8_t first = in_.u8();
      body.recipient = first & 0x1FU;
      body.padding1 = static_cast<std::uint8_t>(first >> 5U);
      body.interface_number = in_.u8();
      body.page = in_.u8();
      body.feature_descriptor_index = in_.u16le();
      body.padding2 = padding<3>();
      return body;
    }
    case UrbBody::no_parameters:
    case UrbBody::none:
      break;
  }
  return NoParameters{};
}

}  // namespace

void encode(ByteWriter& out, const usb::SetupPacket& setup) {
  out.u8(setup.request_type);
  out.u8(setup.request);
  out.u16le(setup.value);
  out.u16le(setup.index);
  out.u16le(setup.length);
}

usb::SetupPacket decode_setup(ByteReader& in) {
  usb::SetupPacket setup;
  setup.request_type = in.u8();
  setup.request = in.u8();
  setup.value = in.u16le();
  setup.index = in.u16le();
  setup.length = in.u16le();
  return setup;
}

void encode_packets(ByteWriter& out, const std::vector<IsochronousPacket>& packets) {
  for (const IsochronousPacket& packet : packets) {
    out.u32le(packet.offset);
    out.u32le(packet.length);
    out.u32le(packet.status);
  }
}

std::vector<IsochronousPacket> decode_packets(ByteReader& in, std::uint32_t count) {
  std::vector<IsochronousPacket> packets;
  packets.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    IsochronousPacket packet;
    packet.offset = in.u32le();
    packet.length = in.u32le();
    packet.status = in.u32le();
    packets.push_back(packet);
  }
  return packets;
}

bool fits(const TsUrb& urb) {
  const auto* body = std::get_if<SelectConfiguration>(&urb.body);
  if (body == nullptr) return true;
  std::size_t size = TsUrb::header_size + 4 /* IsValid, padding */ + 4 /* NumInterfaces */ +
                     body->descriptor.size();
  for (const InterfaceInformation& interface : body->interfaces) {
    size += InterfaceInformation::fixed_size + interface.pipes.size() * PipeInformation::size;
  }
  return size <= 0xFFFF;
}

void encode(ByteWriter& out, const TsUrb& urb) {
  const std::size_t start = out.size();
  out.u16le(0);
  out.u16le(urb.function);
  out.u32le((urb.request & ~no_ack_bit) | (urb.no_ack ? no_ack_bit : 0U));
  std::visit(BodyEncoder{out}, urb.body);
  assert(fits(urb) && out.size() - start <= 0xFFFF);
  out.patch_u16le(start, static_cast<std::uint16_t>(out.size() - start));
}

Result<TsUrb> decode_ts_urb(ByteView bytes) {
  ByteReader in(bytes);
  const std::uint16_t size = in.u16le();
  TsUrb urb;
  urb.function = in.u16le();
  const std::uint32_t request = in.u32le();
  urb.request = request & ~no_ack_bit;
  urb.no_ack = (request & no_ack_bit) != 0;
  if (!in.ok() || size != bytes.size()) {
    return fail(ErrorCode::malformed, "TS_URB_HEADER.Size " + std::to_string(size) +
                                          " is not CbTsUrb " + std::to_string(bytes.size()));
  }
  const UrbBody kind = body_of(urb.function);
  if (kind == UrbBody::none)
    return fail(ErrorCode::refused,
                "URB function " + urb_function_text(urb.function) + " is not carried");
  BodyDecoder decoder(in);
  urb.body = decoder.decode(kind);
  if (!decoder.over_limit().empty()) return fail(ErrorCode::limit, decoder.over_limit());
  if (!in.finished())
    return fail(ErrorCode::malformed,
                "TS_URB of " + urb_function_text(urb.function) + " has wrong lengths or counts");
  return urb;
}

}  // namespace tillbridge::rdpeusb::pdu
