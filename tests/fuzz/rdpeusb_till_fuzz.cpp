// A terminal server that does as it likes, and sticks that answer as they like. Model says what the
// till role must make of it (rdpeusb_till_model.hpp).
#include "tests/fuzz/rdpeusb_till_model.hpp"

namespace {

using namespace tillbridge;
using namespace tillbridge::rdpeusb;

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : reader_(ByteView(data, size)) {}
  [[nodiscard]] bool empty() const { return reader_.remaining() == 0; }
  std::uint32_t below(std::uint32_t bound) {
    return reader_.remaining() == 0 ? 0 : reader_.u8() % bound;
  }
  Bytes bytes(std::size_t size) {
    const ByteView taken = reader_.take(std::min(size, reader_.remaining()));
    return {taken.begin(), taken.end()};
  }

 private:
  ByteReader reader_;
};

class Player {
 public:
  explicit Player(Input input) : input_(std::move(input)) {}

  void run() {
    for (int i = 0; i < 600 && !input_.empty(); ++i) step();
    model_.finish();
  }

 private:
  void step() {
    using usb::TransferStatus;
    switch (input_.below(17)) {
      case 0:
        model_.open();
        break;
      case 1:
        end_channel();
        break;
      case 2:
      case 3:
        say(handshake_message());
        break;
      case 4:
        model_.pass(std::chrono::milliseconds(input_.below(256) * 10));
        break;
      case 5:
        devices();
        break;
      case 6:
        say(mutate(register_message()));
        break;
      case 7:
      case 8:
        land(input_.below(256), static_cast<TransferStatus>(input_.below(10)));
        break;
      case 9:
        land(0, TransferStatus::success);
        break;
      case 10:
        say(pdu::encode(pdu::CancelRequest{address(), request_id()}));
        break;
      case 11:
        say(mutate(io_control_message()));
        break;
      case 12:
        say(mutate(select_message()));
        break;
      case 13:
        say(other_message());
        break;
      case 14:
        flood();
        break;
      default:
        say(mutate(transfer_message()));
        break;
    }
  }

  // --- what the sticks do ----------------------------------------------------------------------

  void end_channel() {
    if (!model_.closing.empty() && input_.below(2) == 0) {
      model_.report_closed(model_.closing.begin()->first);
    } else if (const auto id = pick_channel()) {
      model_.close(*id);
    }
  }

  void devices() {
    const DeviceId id = 1 + input_.below(6);
    const auto known = model_.sticks.find(id);
    if (known == model_.sticks.end() || !known->second.offered) {
      if (model_.same_stick_offered(id)) return;  // under its other id
      model_.offer(id, static_cast<ResetPolicy>(input_.below(3)));
    } else if (input_.below(4) == 0) {
      model_.remove(id);
    } else {
      model_.offer(id, known->second.policy);
    }
  }

  void land(std::uint32_t which, usb::TransferStatus status) {
    fuzz::Model::Lie lie;
    const std::uint32_t how = input_.below(32);
    if (how == 31) lie.surplus = 1 + input_.below(64);
    if (how == 30) lie.shortage = 1 + input_.below(64);
    if (how == 29) lie.miscount = static_cast<std::int32_t>(input_.below(256)) - 128;
    if (how == 28) lie.packets = true;
    lie.again = how == 27;
    if (how == 26) {
      usb::Completion completion;
      completion.id = input_.below(64);
      completion.status = status;
      completion.data.resize(input_.below(64));
      model_.bogus(input_.below(8), completion);
      return;
    }
    model_.land(which, status, lie);
  }

  // --- what the server says --------------------------------------------------------------------

  void say(const Bytes& message) {
    if (speaker_ && model_.channels.count(*speaker_) != 0) model_.hear(*speaker_, message);
    speaker_.reset();
  }

  std::uint32_t request_id() { return input_.below(8); }

  Bytes other_message() {
    switch (input_.below(6)) {
      case 0:
        return pdu::encode(pdu::QueryDeviceText{address(), input_.below(3), 0x409});
      case 1:
        return pdu::encode(pdu::QueryInterface{address(), pdu::Mask::proxy, {}});
      case 2:
        return input_.below(8) == 0 ? pdu::encode(pdu::RetractDevice{address(), 1}) : Bytes{};
      default:
        speaker_ = pick_channel();
        return input_.bytes(input_.below(64));
    }
  }

  /// More bytes than the limits allow. (More requests would cost all the speed; a unit test does.)
  void flood() {
    const auto speaker = pick_channel();
    for (int i = 0; i < 10 && speaker && model_.channels.count(*speaker) != 0; ++i) {
      const fuzz::Channel& channel = model_.channels.at(*speaker);
      const auto pipe = std::find_if(channel.pipes.begin(), channel.pipes.end(),
                                     [](const auto& entry) { return !entry.second.dead; });
      if (pipe == channel.pipes.end() || !channel.completion) return;
      pdu::TransferRequest message;
      message.address = {channel.usb_device, 0};
      message.urb.request = 0x1000 + ++flooded_;
      message.urb.function = pdu::urb_function::bulk_or_interrupt_transfer;
      message.urb.body = pdu::BulkOrInterruptTransfer{pipe->first, 3};
      message.output_buffer_size = limits::transfer_bytes;
      model_.hear(*speaker, pdu::encode(message));
    }
  }

  std::optional<ChannelId> pick_channel() {
    if (model_.channels.empty()) return std::nullopt;
    auto it = model_.channels.begin();
    std::advance(it, input_.below(static_cast<std::uint32_t>(model_.channels.size())));
    return it->first;
  }

  pdu::Address address() {
    speaker_ = pick_channel();
    return {speaker_ ? model_.channels.at(*speaker_).usb_device : 0, 0};
  }

  Bytes handshake_message() {
    speaker_ = pick_channel();
    switch (input_.below(4)) {
      case 0:
        return pdu::encode(pdu::CapabilityRequest{});
      case 1:
        return pdu::encode(pdu::ChannelCreated{0, 1, input_.below(16) == 15 ? 1U : 0U, 0},
                           pdu::Sender::server);
      case 2:
        return pdu::encode(pdu::ReleaseInterface{{2, 0}, pdu::Mask::proxy});
      default: {
        // The whole of it, so that inputs get further than the handshake.
        if (speaker_) model_.shake_hands(*speaker_);
        speaker_.reset();
        return {};
      }
    }
  }

  Bytes register_message() {
    pdu::RegisterRequestCallback message;
    message.address = address();
    message.count = input_.below(8) == 7 ? 0 : 1;
    message.request_completion = input_.below(6);
    return pdu::encode(message);
  }

  Bytes io_control_message() {
    static constexpr std::uint32_t codes[]{0x00220007, 0x00220013, 0x0022001B,
                                           0x0022001F, 0x00220020, 0x00220420,
                                           0x00220424, 0x00224000, 0x00220003};
    pdu::IoControl message;
    message.address = address();
    message.code = codes[input_.below(9)];
    message.internal = input_.below(4) == 3;
    message.output_buffer_size = input_.below(32);
    message.request = request_id();
    const Bytes given = input_.bytes(input_.below(16) == 15 ? 5 : 0);
    message.input = given;
    return pdu::encode(message);
  }

  /// Mostly one that is open, else one that ever was, or none.
  std::uint32_t handle() {
    if (!speaker_) return 0;
    const fuzz::Channel& channel = model_.channels.at(*speaker_);
    const std::uint32_t which = input_.below(16);
    std::vector<std::uint32_t> handles;
    for (const auto& [handle, pipe] : channel.pipes) {
      if (!pipe.dead || which >= 8) handles.push_back(handle);
    }
    if (handles.empty() || which == 15) return channel.last_handle + which;
    return handles[which % 8 % handles.size()];
  }

  Bytes select_message() {
    pdu::TransferRequest message;
    message.address = address();
    message.urb.request = request_id();
    const auto interface = [&] {
      pdu::InterfaceInformation information;
      information.interface_number = static_cast<std::uint8_t>(input_.below(3));
      information.alternate_setting = static_cast<std::uint8_t>(input_.below(3));
      information.pipes.resize(input_.below(3));
      return information;
    };
    if (input_.below(2) == 0) {
      message.urb.function = pdu::urb_function::select_interface;
      message.urb.body = pdu::SelectInterface{
          speaker_ ? model_.channels.at(*speaker_).configuration_handle : 0, interface()};
      return pdu::encode(message);
    }
    pdu::SelectConfiguration select;
    const std::uint32_t which = input_.below(8);
    select.descriptor_valid = which == 0 ? 0 : 1;
    if (which != 0) select.descriptor = which < 6 ? fuzz::configuration_1 : fuzz::configuration_2;
    if (which == 1) {
      select.interfaces.resize(2);
      select.interfaces[1].interface_number = 1;
      select.interfaces[1].alternate_setting = 1;
    } else {
      for (std::uint32_t i = input_.below(4); i > 0; --i) select.interfaces.push_back(interface());
    }
    message.urb.function = pdu::urb_function::select_configuration;
    message.urb.body = select;
    return pdu::encode(message);
  }

  Bytes transfer_message() {
    pdu::TransferRequest message;
    message.address = address();
    message.in = input_.below(2) == 0;
    message.urb.request = request_id();
    message.urb.function = static_cast<std::uint16_t>(input_.below(0x39));
    const std::uint32_t size = input_.below(256);
    const Bytes data(size, ++pattern_);
    const std::uint32_t flags = input_.below(4) == 0 ? input_.below(16) : message.in ? 3U : 0U;
    const usb::SetupPacket setup{
        static_cast<std::uint8_t>((message.in ? 0x80U : 0U) | (input_.below(4) << 5U) |
                                  input_.below(4)),
        static_cast<std::uint8_t>(input_.below(16)), static_cast<std::uint16_t>(input_.below(8)),
        static_cast<std::uint16_t>(input_.below(0x90)), static_cast<std::uint16_t>(size)};
    if (input_.below(2) == 0) message.urb.function = pdu::urb_function::bulk_or_interrupt_transfer;
    switch (pdu::body_of(message.urb.function)) {
      case pdu::UrbBody::pipe_request:
        message.in = true;
        message.urb.body = pdu::PipeRequest{handle()};
        break;
      case pdu::UrbBody::control_transfer:
        message.urb.body = pdu::ControlTransfer{0, flags, setup};
        break;
      case pdu::UrbBody::control_transfer_ex:
        message.urb.body = pdu::ControlTransferEx{0, flags, input_.below(256), setup};
        break;
      case pdu::UrbBody::bulk_or_interrupt:
        message.urb.body = pdu::BulkOrInterruptTransfer{handle(), flags};
        break;
      case pdu::UrbBody::isochronous: {
        pdu::IsochronousTransfer isochronous{handle(), flags, 0, 0, {}};
        isochronous.packets.resize(input_.below(4));
        for (auto& packet : isochronous.packets) packet.offset = input_.below(256);
        message.urb.no_ack = input_.below(2) == 0;
        message.urb.body = isochronous;
        break;
      }
      case pdu::UrbBody::descriptor:
        message.urb.body = pdu::DescriptorRequest{static_cast<std::uint8_t>(input_.below(4)),
                                                  static_cast<std::uint8_t>(input_.below(8)), 0};
        break;
      case pdu::UrbBody::feature:
        message.in = true;
        message.urb.body = pdu::FeatureRequest{static_cast<std::uint16_t>(input_.below(4)),
                                               static_cast<std::uint16_t>(input_.below(0x90))};
        break;
      case pdu::UrbBody::status:
        message.urb.body = pdu::StatusRequest{};
        break;
      case pdu::UrbBody::vendor_or_class:
        message.urb.body =
            pdu::VendorOrClassRequest{flags,         static_cast<std::uint8_t>(input_.below(32)),
                                      setup.request, setup.value,
                                      setup.index,   0};
        break;
      case pdu::UrbBody::get_interface:
        message.urb.body = pdu::GetInterfaceRequest{};
        break;
      case pdu::UrbBody::os_feature_descriptor:
        message.in = true;
        message.urb.body = pdu::OsFeatureDescriptorRequest{
            static_cast<std::uint8_t>(input_.below(4)), 0, 0, 0, 4, {}};
        break;
      case pdu::UrbBody::no_parameters:
        message.urb.body = pdu::NoParameters{};
        break;
      case pdu::UrbBody::none:
        message.urb.body = pdu::NoParameters{};
        break;
      case pdu::UrbBody::select_configuration:
      case pdu::UrbBody::select_interface:  // these have a step of their own
        message.urb.function = pdu::urb_function::abort_pipe;
        message.in = true;
        message.urb.body = pdu::PipeRequest{handle()};
        break;
    }
    if (input_.below(64) == 63) message.urb.no_ack = true;
    message.output_buffer_size = size;
    if (!message.in) message.output_buffer = data;
    return pdu::encode(message);
  }

  /// Mostly nothing; else a few bytes overwritten, or the end cut off.
  Bytes mutate(Bytes message) {
    const std::uint32_t how = input_.below(12);
    if (how == 11) message.resize(std::min<std::size_t>(message.size(), input_.below(64)));
    if (how < 9 || message.empty()) return message;
    for (std::uint32_t i = how - 8; i > 0; --i) {
      const std::size_t at =
          input_.below(static_cast<std::uint32_t>(std::min<std::size_t>(message.size(), 255)));
      message[at] = static_cast<std::uint8_t>(input_.below(256));
    }
    return message;
  }

  Input input_;
  fuzz::Model model_;
  std::optional<ChannelId> speaker_;
  std::uint8_t pattern_ = 0;
  std::uint32_t flooded_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 8192) return 0;
  Player(Input(data, size)).run();
  return 0;
}
