// A terminal server that does as it likes, sticks that answer as they like, and a model that knows
// what the till role promised:
//  - each request is completed exactly once, or its channel is closed;
//  - nothing is submitted that the stick's descriptors do not allow;
//  - what is still out when its channel closes is cancelled, once, and its end swallowed.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/message.hpp"
#include "channel/rdpeusb/till_role.hpp"
#include "channel/usb/requests.hpp"

namespace {

using namespace tillbridge;
using namespace tillbridge::rdpeusb;

/// Not assert(): it must hold in every build.
void require(bool holds) {
  if (!holds) std::abort();
}

/// Interface 0: Bulk-Only storage, 81 and 02. Setting 1 of interface 1: interrupt IN 83.
const Bytes configuration_1{9,    2, 57,   0, 2, 1,    0, 0x80, 50,                    //
                            9,    4, 0,    0, 2, 8,    6, 0x50, 0,                     //
                            7,    5, 0x81, 2, 0, 2,    0, 7,    5,  0x02, 2, 0, 2, 0,  //
                            9,    4, 1,    0, 0, 0xFF, 0, 0,    0,  9,    4, 1, 1, 1,
                            0xFF, 0, 0,    0,  //
                            7,    5, 0x83, 3, 8, 0,    4};
/// Interface 0: isochronous 84, bulk IN 85.
const Bytes configuration_2{9, 2, 32, 0, 1,    2, 0, 0x80, 50, 9, 4, 0,    0, 2, 0xFF, 0,
                            0, 0, 7,  5, 0x84, 1, 0, 1,    1,  7, 5, 0x85, 2, 0, 2,    0};

usb::DeviceDescription describe(DeviceId id) {
  usb::DeviceDescription device;
  device.speed = usb::Speed::high;
  device.device.vendor_id = 0x1209;
  device.device.product_id = static_cast<std::uint16_t>(id);
  device.configurations = {usb::parse_configuration(configuration_1).value(),
                           usb::parse_configuration(configuration_2).value()};
  device.active_configuration = 1;
  device.serial = "S" + std::to_string(id);
  return device;
}

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

class Model {
 public:
  explicit Model(Input input) : input_(std::move(input)) {}

  void run() {
    for (int i = 0; i < 600 && !input_.empty(); ++i) step();
    // Whatever is out comes back; then no request may be left without its completion.
    for (int i = 0; i < 20000 && !flights_.empty(); ++i) land(0, usb::TransferStatus::cancelled);
    require(flights_.empty());
    for (const auto& [id, channel] : channels_) require(channel.outstanding.empty());
  }

 private:
  struct Channel {
    std::optional<DeviceId> device;  ///< once announced
    std::uint32_t usb_device = 0;
    std::optional<std::uint32_t> completion;
    std::set<std::uint32_t> outstanding;
    std::vector<std::uint32_t> handles{0};
    std::uint32_t configuration_handle = 0;
  };
  struct Flight {
    DeviceId device;
    usb::Transfer transfer;
    bool cancelled = false;
  };
  struct Stick {
    bool offered = false;
    ResetPolicy policy = ResetPolicy::soften;
    std::uint8_t configuration = 1;
    std::map<std::uint8_t, std::uint8_t> alternates;
  };

  void step() {
    switch (input_.below(16)) {
      case 0: {
        const ChannelId id = ++last_channel_;
        channels_[id];
        if (!control_) {
          control_ = id;
        } else if (asked_ > 0) {
          --asked_;
        }
        role_.channel_opened(id, now_);
        break;
      }
      case 1: {
        if (!closing_.empty() && input_.below(2) == 0) {
          const auto ended = closing_.begin();
          const ChannelId id = ended->first;
          closing_.erase(ended);
          role_.channel_closed(id, now_);
          break;
        }
        const auto id = pick_channel();
        if (!id) break;
        forget_channel(*id);
        role_.channel_closed(*id, now_);
        break;
      }
      case 2:
      case 3:
        say(handshake_message());
        break;
      case 4: {
        now_ += std::chrono::milliseconds(input_.below(256) * 10);
        role_.advance(now_);
        break;
      }
      case 5:
        devices();
        break;
      case 6:
        say(mutate(register_message()));
        break;
      case 7:
      case 8:
        land(input_.below(256), static_cast<usb::TransferStatus>(input_.below(10)));
        return;
      case 9:
        land(0, usb::TransferStatus::success);
        return;
      case 10:
        say(pdu::encode(pdu::CancelRequest{address(), input_.below(8)}));
        break;
      case 11:
        say(mutate(io_control_message()));
        break;
      case 12:
        say(mutate(select_message()));
        break;
      case 13:
        say(input_.bytes(input_.below(64)));
        break;
      default:
        say(mutate(transfer_message()));
        break;
    }
    drain();
  }

  // --- what the server says
  // ------------------------------------------------------------------------------------

  std::optional<ChannelId> pick_channel() {
    if (channels_.empty()) return std::nullopt;
    auto it = channels_.begin();
    std::advance(it, input_.below(static_cast<std::uint32_t>(channels_.size())));
    return it->first;
  }

  pdu::Address address() {
    speaker_ = pick_channel();
    return {speaker_ ? channels_.at(*speaker_).usb_device : 0, 0};
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
        if (!speaker_) return {};
        hear(*speaker_, pdu::encode(pdu::CapabilityRequest{}));
        if (!speaker_ || channels_.count(*speaker_) == 0) return {};
        hear(*speaker_, pdu::encode(pdu::ChannelCreated{}, pdu::Sender::server));
        return pdu::encode(pdu::ReleaseInterface{{2, 0}, pdu::Mask::proxy});
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
    static constexpr std::uint32_t codes[]{0x00220007, 0x00220013, 0x0022001B, 0x0022001F,
                                           0x00220020, 0x00220420, 0x00220424, 0x00224000};
    pdu::IoControl message;
    message.address = address();
    message.code = codes[input_.below(8)];
    message.internal = input_.below(4) == 3;
    message.output_buffer_size = input_.below(32);
    message.request = input_.below(8);
    return pdu::encode(message);
  }

  std::uint32_t handle() {
    if (!speaker_) return 0;
    const auto& handles = channels_.at(*speaker_).handles;
    return handles[handles.size() - 1 -
                   input_.below(
                       static_cast<std::uint32_t>(std::min<std::size_t>(handles.size(), 200)))];
  }

  Bytes select_message() {
    pdu::TransferRequest message;
    message.address = address();
    message.urb.request = input_.below(8);
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
          speaker_ ? channels_.at(*speaker_).configuration_handle : 0, interface()};
      return pdu::encode(message);
    }
    pdu::SelectConfiguration select;
    const std::uint32_t which = input_.below(8);
    select.descriptor_valid = which == 0 ? 0 : 1;
    if (which != 0) select.descriptor = which < 6 ? configuration_1 : configuration_2;
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
    message.urb.request = input_.below(8);
    message.urb.function = static_cast<std::uint16_t>(input_.below(0x33));
    const std::uint32_t size = input_.below(256);
    const Bytes data(size);
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
        message.urb.no_ack = input_.below(2) == 0;
        message.urb.body = isochronous;
        break;
      }
      case pdu::UrbBody::descriptor:
        message.urb.body = pdu::DescriptorRequest{0, 1, 0};
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
      default:
        message.urb.function = pdu::urb_function::abort_pipe;
        message.in = true;
        message.urb.body = pdu::PipeRequest{handle()};
        break;
    }
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

  void say(const Bytes& message) {
    if (speaker_ && channels_.count(*speaker_) != 0) hear(*speaker_, message);
    speaker_.reset();
  }

  /// Gives the role a message, having noted what it owes for it.
  void hear(ChannelId id, const Bytes& message) {
    Channel& channel = channels_.at(id);
    bool must_close = false;
    pdu::TillContext context;
    if (channel.device) context.usb_device = channel.usb_device;
    const auto decoded = pdu::decode_from_server(message, context);
    std::optional<std::uint32_t> request;
    if (!decoded) {
      must_close = true;
    } else if (const auto* bad = std::get_if<pdu::BadRequest>(&*decoded)) {
      const bool silent = bad->no_ack && bad->kind == pdu::BadRequest::Kind::transfer_out &&
                          bad->function == pdu::urb_function::isochronous_transfer;
      if (!silent) request = bad->request;
    } else if (const auto* io = std::get_if<pdu::IoControl>(&*decoded)) {
      request = io->request;
    } else if (const auto* transfer = std::get_if<pdu::TransferRequest>(&*decoded)) {
      if (!transfer->urb.no_ack) request = transfer->urb.request;
    } else if (const auto* registration = std::get_if<pdu::RegisterRequestCallback>(&*decoded)) {
      channel.completion.reset();
      if (registration->count != 0) {
        channel.completion = registration->request_completion & pdu::interface_id::bits;
      } else {
        channel.outstanding.clear();
      }
    } else if (std::holds_alternative<pdu::RetractDevice>(*decoded)) {
      must_close = true;
    }
    if (request && channel.completion) {
      if (!channel.outstanding.insert(*request).second) must_close = true;
    }
    role_.receive(id, message, now_);
    drain();
    require(!must_close || channels_.count(id) == 0);
  }

  // --- sticks
  // ----------------------------------------------------------------------------------------------

  void devices() {
    const DeviceId id = 1 + input_.below(3);
    Stick& stick = sticks_[id];
    const bool idle = std::none_of(flights_.begin(), flights_.end(),
                                   [&](const auto& flight) { return flight.device == id; });
    if (stick.offered && input_.below(4) == 0) {
      stick.offered = false;
      role_.remove_device(id, now_);
    } else if (!stick.offered && idle) {
      // The role may be told anything about a stick that has nothing running.
      stick = Stick{};
      stick.offered = true;
      stick.policy = static_cast<ResetPolicy>(input_.below(3));
      role_.add_device(id, TillDevice{describe(id), stick.policy}, now_);
    }
  }

  /// Control transfers of one stick end in order, as on a real one.
  void land(std::uint32_t which, usb::TransferStatus status) {
    if (flights_.empty()) return;
    auto found = flights_.begin() + static_cast<std::ptrdiff_t>(which % flights_.size());
    if (found->transfer.type == usb::TransferType::control) {
      found = std::find_if(flights_.begin(), flights_.end(), [&](const Flight& flight) {
        return flight.device == found->device && flight.transfer.type == usb::TransferType::control;
      });
    }
    const Flight flight = *found;
    flights_.erase(found);
    usb::Completion completion;
    completion.id = flight.transfer.id;
    completion.status = status;
    completion.actual_length = flight.transfer.length;
    if (flight.transfer.in()) {
      completion.data.resize(flight.transfer.length + (input_.below(16) == 15 ? 1 : 0));
    }
    if (status == usb::TransferStatus::success &&
        flight.transfer.type == usb::TransferType::control) {
      Stick& stick = sticks_[flight.device];
      if (const auto host = usb::as_host_request(flight.transfer.setup)) {
        if (const auto* set = std::get_if<usb::SetConfiguration>(&*host)) {
          stick.configuration = set->value;
          stick.alternates.clear();
        } else if (const auto* alternate = std::get_if<usb::SetInterface>(&*host)) {
          stick.alternates[alternate->interface_number] = alternate->alternate_setting;
        }
      }
    }
    role_.complete(flight.device, completion, now_);
    drain();
  }

  // --- what comes out
  // ---------------------------------------------------------------------------------------

  void drain() {
    while (auto output = role_.poll()) {
      std::visit([&](auto& value) { check(value); }, *output);
    }
    // What is out belongs to a channel where somebody waits for it, or is being cancelled.
    for (const Flight& flight : flights_) {
      const bool waited_for =
          std::any_of(channels_.begin(), channels_.end(), [&](const auto& entry) {
            return entry.second.device == flight.device && entry.second.completion;
          });
      require(waited_for || flight.cancelled);
    }
    require(asked_ <= 1);
  }

  void check(TillRole::SendMessage& output) {
    const auto found = channels_.find(output.channel);
    require(found != channels_.end());
    Channel& channel = found->second;
    ByteReader reader(output.message);
    const std::uint32_t word = reader.u32le();
    reader.skip(4);
    const std::uint32_t function = reader.u32le();
    if (word >> 30U != 1) return;  // responses
    if (!channel.device) {
      const auto decoded = pdu::decode_from_till(output.message, {});
      require(decoded.ok());
      if (const auto* add = std::get_if<pdu::AddDevice>(&*decoded)) {
        channel.usb_device = add->usb_device;
        require(!add->hardware_ids.empty());
        channel.device = static_cast<DeviceId>(add->hardware_ids[1].back() - '0');
        require(std::none_of(flights_.begin(), flights_.end(), [&](const Flight& flight) {
          return flight.device == *channel.device;
        }));
        require(std::none_of(closing_.begin(), closing_.end(), [&](const auto& closing) {
          return closing.second == *channel.device;
        }));
      } else if (std::holds_alternative<pdu::AddVirtualChannel>(*decoded)) {
        require(output.channel == control_);
        ++asked_;
      }
      return;
    }
    if (!channel.completion) {
      // Only the answer to a repeated handshake message: none is PROXY.
      std::abort();
    }
    require((word & 0x3FFFFFFFU) == *channel.completion);
    require(function >= 0x100 && function <= 0x102);
    const std::uint32_t request = reader.u32le();
    require(channel.outstanding.erase(request) == 1);
    // Handles for later requests, wherever they stand in the result.
    if (function == 0x102 && output.message.size() > 48 && channel.handles.size() < 2000) {
      reader.skip(4);
      const std::uint32_t kind = reader.u32le() >> 16U;
      reader.skip(4);
      std::uint32_t first = 0;
      if (kind == 0) {
        first = channel.configuration_handle = reader.u32le();
      } else {
        reader.skip(8);
        first = reader.u32le();  // InterfaceHandle
      }
      for (std::uint32_t i = 0; i < 8; ++i) channel.handles.push_back(first + i);
    }
  }

  void check(const TillRole::CloseChannel& output) {
    require(channels_.count(output.channel) == 1);
    closing_.emplace(output.channel, channels_.at(output.channel).device);
    forget_channel(output.channel);
  }

  void check(const TillRole::Submit& output) {
    const usb::Transfer& transfer = output.transfer;
    const Stick& stick = sticks_.at(output.device);
    require(transfer.id != 0);
    for (const Flight& flight : flights_) {
      require(flight.device != output.device || flight.transfer.id != transfer.id);
    }
    require(transfer.length <= limits::transfer_bytes);
    require(transfer.data.size() == (transfer.in() ? 0 : transfer.length));
    const auto description = describe(output.device);
    const auto* configuration = description.find_configuration(stick.configuration);
    if (transfer.type == usb::TransferType::control) {
      require(transfer.setup.length == transfer.length);
      require(transfer.setup.in() == transfer.in() && transfer.endpoint_number() == 0);
      require(transfer.setup.request_type != 0 ||
              transfer.setup.request != usb::request::set_address);
      if (const auto host = usb::as_host_request(transfer.setup)) {
        if (const auto* set = std::get_if<usb::SetConfiguration>(&*host)) {
          require(set->value <= 2);
        } else if (const auto* alternate = std::get_if<usb::SetInterface>(&*host)) {
          require(configuration != nullptr);
          require(configuration->find(alternate->interface_number, alternate->alternate_setting) !=
                  nullptr);
        } else if (std::holds_alternative<usb::PortReset>(*host)) {
          require(stick.policy == ResetPolicy::pass);
        }
      }
    } else {
      require(configuration != nullptr);
      bool allowed = false;
      for (const auto& interface : configuration->interfaces) {
        const auto alternate = stick.alternates.find(interface.number);
        const std::uint8_t in_force =
            alternate == stick.alternates.end() ? std::uint8_t{0} : alternate->second;
        if (interface.alternate_setting != in_force) continue;
        for (const auto& endpoint : interface.endpoints) {
          allowed = allowed ||
                    (endpoint.address == transfer.endpoint && endpoint.type() == transfer.type &&
                     transfer.type != usb::TransferType::isochronous);
        }
      }
      require(allowed);
    }
    flights_.push_back({output.device, transfer, false});
  }

  void check(const TillRole::Cancel& output) {
    const auto found = std::find_if(flights_.begin(), flights_.end(), [&](const Flight& flight) {
      return flight.device == output.device && flight.transfer.id == output.transfer;
    });
    require(found != flights_.end() && !found->cancelled);
    found->cancelled = true;
  }

  static void check(const TillRole::DeviceInSession&) {}
  static void check(const TillRole::DeviceLeftSession&) {}
  static void check(const TillRole::Event&) {}

  void forget_channel(ChannelId id) {
    channels_.erase(id);
    if (control_ == id) {
      control_.reset();
      asked_ = 0;
    }
  }

  Input input_;
  TillRole role_;
  Instant now_{0};
  std::map<ChannelId, Channel> channels_;
  std::map<ChannelId, std::optional<DeviceId>> closing_;  ///< the role wants them closed
  std::map<DeviceId, Stick> sticks_;
  std::deque<Flight> flights_;
  std::optional<ChannelId> control_, speaker_;
  ChannelId last_channel_ = 0;
  int asked_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 8192) return 0;
  Model(Input(data, size)).run();
  return 0;
}
