// What TillRole promised, held against what it does: the model of the fuzz target rdpeusb_till.
//  - each request is completed exactly once, in the shape that it asked for, or its channel closed;
//    NoAck never; the completion carries the data of the transfer that just ended, and no more than
//    was asked for;
//  - nothing is submitted that the stick's descriptors do not allow, that nobody asked for, or on a
//    handle that has died; OUT data is what the server sent; a pipe's transfers go out in order;
//  - what is still out when its channel closes is cancelled, once, and its end swallowed;
//  - what happens to one stick concerns no other one, nor its channel;
//  - a channel is closed for a reason, and a stick is never announced beside itself;
//  - deadlines are met, and none lies in the past.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/message.hpp"
#include "channel/rdpeusb/pdu/status.hpp"
#include "channel/rdpeusb/till_role.hpp"
#include "channel/usb/requests.hpp"

namespace tillbridge::rdpeusb::fuzz {

/// Not assert(): it must hold in every build.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

/// Interface 0: Bulk-Only storage, 81 and 02. Setting 1 of interface 1: interrupt IN 83.
inline const Bytes configuration_1{9,    2, 57,   0, 2, 1,    0, 0x80, 50,                    //
                                   9,    4, 0,    0, 2, 8,    6, 0x50, 0,                     //
                                   7,    5, 0x81, 2, 0, 2,    0, 7,    5,  0x02, 2, 0, 2, 0,  //
                                   9,    4, 1,    0, 0, 0xFF, 0, 0,    0,  9,    4, 1, 1, 1,
                                   0xFF, 0, 0,    0,  //
                                   7,    5, 0x83, 3, 8, 0,    4};
/// Interface 0: isochronous 84, bulk IN 85.
inline const Bytes configuration_2{9, 2, 32, 0, 1,    2, 0, 0x80, 50, 9, 4, 0,    0, 2, 0xFF, 0,
                                   0, 0, 7,  5, 0x84, 1, 0, 1,    1,  7, 5, 0x85, 2, 0, 2,    0};

/// Three sticks, each of which may be plugged in under two ids: 1 and 4 are the same one.
inline unsigned identity_of(DeviceId id) {
  return (id - 1) % 3;
}

inline usb::DeviceDescription describe(DeviceId id, std::uint8_t active_configuration) {
  static const std::vector<usb::Configuration> configurations{
      usb::parse_configuration(configuration_1).value(),
      usb::parse_configuration(configuration_2).value()};
  usb::DeviceDescription device;
  device.speed = usb::Speed::high;
  device.device.vendor_id = 0x1209;
  device.device.product_id = static_cast<std::uint16_t>(identity_of(id) + 1);
  device.configurations = configurations;
  device.active_configuration = active_configuration;
  device.serial = "S" + std::to_string(identity_of(id));
  device.path = "1-" + std::to_string(id);
  return device;
}

/// A request that waits for its completion.
struct Owed {
  pdu::OutstandingRequest kind;
  bool in = true;
  std::optional<std::uint32_t> pipe;  ///< of a bulk or interrupt transfer
  bool submitted = false;             ///< that transfer
  std::uint64_t arrival = 0;
  Bytes data;  ///< OUT
  std::optional<Instant> deadline;
  bool resets = false;  ///< RESET_PORT or CYCLE_PORT
};

struct Pipe {
  std::uint8_t interface_number = 0;
  std::uint8_t endpoint = 0;
  bool dead = false;
};

struct Channel {
  std::optional<DeviceId> device;  ///< once announced
  std::uint32_t usb_device = 0;
  std::optional<std::uint32_t> completion;
  bool in_session = false;
  std::map<std::uint32_t, Owed> outstanding;
  std::map<std::uint32_t, Pipe> pipes;  ///< every handle that was ever given out
  std::uint32_t last_handle = 0;
  std::uint32_t configuration_handle = 0;
};

struct Flight {
  DeviceId device = 0;
  usb::Transfer transfer;
  bool cancelled = false;
};

struct ModelStick {
  bool offered = false;
  ResetPolicy policy = ResetPolicy::soften;
  std::uint8_t configuration = 1;
  std::map<std::uint8_t, std::uint8_t> alternates;
};

class Model {
 public:
  // What the target chooses from.
  std::map<ChannelId, Channel> channels;
  std::map<ChannelId, std::optional<DeviceId>> closing;  ///< the role wants them closed
  std::map<DeviceId, ModelStick> sticks;
  std::deque<Flight> flights;
  std::optional<ChannelId> control;
  int asked = 0;  ///< ADD_VIRTUAL_CHANNEL without their channels

  // --- what the terminal server does -----------------------------------------------------------

  ChannelId open() {
    const ChannelId id = ++last_channel_;
    channels[id];
    spoken_ = id;
    if (!control) {
      control = id;
    } else if (asked > 0) {
      --asked;
    }
    role_.channel_opened(id, now_);
    drain();
    return id;
  }

  void close(ChannelId id) {
    const auto found = channels.find(id);
    if (control == id) everyone_ = true;
    affected_ = found->second.device;
    forget_channel(id);
    role_.channel_closed(id, now_);
    drain();
  }

  void hear(ChannelId id, const Bytes& message) {
    Channel& channel = channels.at(id);
    spoken_ = id;
    affected_ = channel.device;
    bool may_close = false, must_close = false;
    int replies = 0;
    std::optional<std::pair<std::uint32_t, Owed>> owed;
    pdu::TillContext context;
    if (channel.device) context.usb_device = channel.usb_device;
    const auto decoded = pdu::decode_from_server(message, context);
    if (!decoded) {
      must_close = true;
    } else if (const auto* bad = std::get_if<pdu::BadRequest>(&*decoded)) {
      const bool io = bad->kind == pdu::BadRequest::Kind::io_control ||
                      bad->kind == pdu::BadRequest::Kind::internal_io_control;
      const bool silent = bad->no_ack && bad->kind == pdu::BadRequest::Kind::transfer_out &&
                          bad->function == pdu::urb_function::isochronous_transfer;
      Owed request;
      request.kind = {io, bad->function.value_or(0), 0};
      request.in = bad->kind != pdu::BadRequest::Kind::transfer_out;
      if (!silent) owed.emplace(bad->request, std::move(request));
    } else if (const auto* io = std::get_if<pdu::IoControl>(&*decoded)) {
      Owed request;
      request.kind = {true, 0, io->output_buffer_size};
      request.resets = !io->internal && (io->code == pdu::io_control_code::reset_port ||
                                         io->code == pdu::io_control_code::cycle_port);
      owed.emplace(io->request, std::move(request));
    } else if (const auto* transfer = std::get_if<pdu::TransferRequest>(&*decoded)) {
      if (!transfer->urb.no_ack) owed.emplace(transfer->urb.request, owed_of(*transfer));
    } else if (const auto* registration = std::get_if<pdu::RegisterRequestCallback>(&*decoded)) {
      channel.completion.reset();
      if (registration->count != 0) {
        channel.completion = registration->request_completion & pdu::interface_id::bits;
      } else {
        channel.outstanding.clear();
      }
    } else if (std::holds_alternative<pdu::RetractDevice>(*decoded)) {
      must_close = true;
    } else if (const auto* created = std::get_if<pdu::ChannelCreated>(&*decoded)) {
      may_close = !created->version_1_0();
    } else if (std::holds_alternative<pdu::CapabilityRequest>(*decoded) ||
               std::holds_alternative<pdu::QueryInterface>(*decoded) ||
               std::holds_alternative<pdu::UnknownFunction>(*decoded) ||
               std::holds_alternative<pdu::QueryDeviceText>(*decoded)) {
      replies = 1;
    }
    if (owed && channel.completion) {
      owed->second.arrival = ++arrivals_;
      if (!channel.outstanding.emplace(owed->first, owed->second).second) must_close = true;
    }
    replies_ = 0;
    everyone_ = control == id && (must_close || may_close);
    role_.receive(id, message, now_);
    drain();
    const bool closed = channels.count(id) == 0;
    require(!must_close || closed, "a channel that cannot go on is closed");
    require(must_close || may_close || !closed, "a channel is closed for a reason only");
    require(replies_ == replies, "what has an answer is answered, once");
  }

  // --- what the sticks do ----------------------------------------------------------------------

  [[nodiscard]] bool same_stick_offered(DeviceId id) const {
    return std::any_of(sticks.begin(), sticks.end(), [&](const auto& entry) {
      return entry.second.offered && identity_of(entry.first) == identity_of(id);
    });
  }

  /// Also one that is here already, which changes something only after it left the session.
  void offer(DeviceId id, ResetPolicy policy) {
    ModelStick& stick = sticks[id];
    if (!stick.offered) {
      stick = ModelStick{};
      stick.policy = policy;
    }
    stick.offered = true;
    affected_ = id;
    role_.add_device(id, TillDevice{describe(id, stick.configuration), stick.policy}, now_);
    drain();
  }

  void remove(DeviceId id) {
    sticks.at(id).offered = false;
    affected_ = id;
    role_.remove_device(id, now_);
    drain();
  }

  /// How a stick may lie about the end of a transfer.
  struct Lie {
    std::uint32_t surplus = 0;   ///< data beyond what was asked for
    std::int32_t miscount = 0;   ///< in actual_length
    std::uint32_t shortage = 0;  ///< data that is missing
    bool packets = false;        ///< isochronous ones, of which there were none
    bool again = false;          ///< says it twice
  };

  /// Control transfers of one stick end in order, as on a real one.
  void land(std::size_t which, usb::TransferStatus status, const Lie& lie) {
    if (flights.empty()) return;
    auto found = flights.begin() + static_cast<std::ptrdiff_t>(which % flights.size());
    if (found->transfer.type == usb::TransferType::control) {
      found = std::find_if(flights.begin(), flights.end(), [&](const Flight& flight) {
        return flight.device == found->device && flight.transfer.type == usb::TransferType::control;
      });
    }
    const Flight flight = *found;
    flights.erase(found);
    usb::Completion completion;
    completion.id = flight.transfer.id;
    completion.status = status;
    const std::uint32_t length = std::min(flight.transfer.length, 300U);
    if (flight.transfer.in()) {
      completion.data.assign(length - std::min(lie.shortage, length) + lie.surplus, ++tag_);
    }
    // "MSFT100" and a vendor code, so that what needs one goes on.
    if (flight.transfer.setup.value == 0x03EE && lie.shortage == 0 && lie.surplus == 0) {
      completion.data = {0x12, 3, 'M', 0, 'S', 0, 'F', 0, 'T', 0, '1', 0, '0', 0, '0', 0, 0x5E, 0};
      completion.data.resize(std::min<std::size_t>(completion.data.size(), length));
    }
    completion.actual_length = (flight.transfer.in() ? length : flight.transfer.length) +
                               static_cast<std::uint32_t>(lie.miscount);
    if (lie.packets) completion.packets.resize(3, {~0U, ~0U, ~0U, -1});
    if (status == usb::TransferStatus::success) take_effect(flight);
    landed_ = completion.data;
    affected_ = flight.device;
    role_.complete(flight.device, completion, now_);
    drain();
    landed_.reset();
    if (lie.again) bogus(flight.device, completion);
  }

  /// A completion that nobody waits for: nothing comes of it.
  void bogus(DeviceId device, const usb::Completion& completion) {
    for (const Flight& flight : flights) {
      if (flight.device == device && flight.transfer.id == completion.id) return;
    }
    role_.complete(device, completion, now_);
    require(!role_.poll(), "a completion that nobody waits for changes nothing");
  }

  void pass(Duration time) {
    now_ += time;
    everyone_ = true;
    role_.advance(now_);
    drain();
    const auto next = role_.next_deadline();
    require(!next || *next > now_, "no deadline in the past");
    for (const auto& [id, channel] : channels) {
      for (const auto& [request, owed] : channel.outstanding) {
        if (!owed.deadline || *owed.deadline > now_) continue;
        require(std::any_of(flights.begin(), flights.end(),
                            [&, device = channel.device](const Flight& flight) {
                              return flight.device == device && flight.cancelled;
                            }),
                "at its deadline a request is completed or its transfer cancelled");
      }
    }
  }

  /// Whatever is out comes back; then no request may be left without its completion, and on a new
  /// connection every stick that is here is announced, once.
  void finish() {
    all_come_back();
    for (const auto& [id, channel] : channels) {
      require(channel.outstanding.empty(), "each request is completed");
    }
    if (control) close(*control);
    all_come_back();
    while (!closing.empty()) report_closed(closing.begin()->first);
    pass(std::chrono::seconds(1));
    shake_hands(open());
    std::size_t announced = 0;
    for (; asked > 0; ++announced) shake_hands(open());
    const auto offered = std::count_if(sticks.begin(), sticks.end(),
                                       [](const auto& entry) { return entry.second.offered; });
    require(announced == static_cast<std::size_t>(offered), "every stick is announced again");
  }

  void report_closed(ChannelId id) {
    affected_ = closing.at(id);
    closing.erase(id);
    role_.channel_closed(id, now_);
    drain();
  }

  void shake_hands(ChannelId id) {
    const Bytes messages[]{pdu::encode(pdu::CapabilityRequest{}),
                           pdu::encode(pdu::ChannelCreated{}, pdu::Sender::server),
                           pdu::encode(pdu::ReleaseInterface{{2, 0}, pdu::Mask::proxy})};
    for (const Bytes& message : messages) {
      if (channels.count(id) != 0) hear(id, message);
    }
  }

 private:
  Owed owed_of(const pdu::TransferRequest& transfer) const {
    Owed owed;
    owed.kind = {false, transfer.urb.function, transfer.output_buffer_size};
    owed.in = transfer.in;
    owed.data.assign(transfer.output_buffer.begin(), transfer.output_buffer.end());
    if (const auto* bulk = std::get_if<pdu::BulkOrInterruptTransfer>(&transfer.urb.body)) {
      owed.pipe = bulk->pipe_handle;
    }
    if (const auto* timed = std::get_if<pdu::ControlTransferEx>(&transfer.urb.body)) {
      if (timed->timeout_ms != 0) {
        owed.deadline = now_ + std::chrono::milliseconds(timed->timeout_ms);
      }
    }
    return owed;
  }

  void take_effect(const Flight& flight) {
    if (flight.transfer.type != usb::TransferType::control) return;
    const auto host = usb::as_host_request(flight.transfer.setup);
    if (!host) return;
    ModelStick& stick = sticks[flight.device];
    if (const auto* set = std::get_if<usb::SetConfiguration>(&*host)) {
      stick.configuration = set->value;
      stick.alternates.clear();
    } else if (const auto* alternate = std::get_if<usb::SetInterface>(&*host)) {
      stick.alternates[alternate->interface_number] = alternate->alternate_setting;
    }
  }

  void all_come_back() {
    for (int i = 0; i < 50000 && !flights.empty(); ++i) {
      land(0, usb::TransferStatus::cancelled, {});
    }
    require(flights.empty(), "the end of all transfers is the end");
  }

  // --- what comes out --------------------------------------------------------------------------

  void drain() {
    while (auto output = role_.poll()) {
      std::visit([&](auto& value) { check(value); }, *output);
    }
    const auto next = role_.next_deadline();
    // What is out belongs to a channel where somebody waits for it, or is being cancelled.
    std::set<DeviceId> waited_for;
    for (const auto& [id, channel] : channels) {
      if (channel.device && channel.completion) waited_for.insert(*channel.device);
      for (const auto& [request, owed] : channel.outstanding) {
        if (owed.deadline && *owed.deadline > now_) {
          require(next && *next <= *owed.deadline, "a deadline is not forgotten");
        }
      }
    }
    std::map<DeviceId, std::pair<std::size_t, std::size_t>> load;
    for (const Flight& flight : flights) {
      require(flight.cancelled || waited_for.count(flight.device) != 0,
              "what nobody waits for is cancelled");
      ++load[flight.device].first;
      load[flight.device].second += flight.transfer.length;
    }
    for (const auto& [device, sum] : load) {
      require(sum.first <= limits::transfers_in_flight_per_device, "transfers are bounded");
      require(sum.second <= limits::transfer_bytes_in_flight_per_device, "and their bytes");
    }
    require(asked <= 1, "one ADD_VIRTUAL_CHANNEL at a time");
    everyone_ = false;
    affected_.reset();
    spoken_.reset();
  }

  void concerns(DeviceId device) const {
    require(everyone_ || affected_ == device, "what one stick does concerns no other");
  }

  void check(TillRole::SendMessage& output) {
    const auto found = channels.find(output.channel);
    require(found != channels.end(), "nothing is sent on a closed channel");
    Channel& channel = found->second;
    pdu::TerminalContext context;
    context.capability_outstanding = true;
    context.request_completion = channel.completion;
    context.outstanding = [&](std::uint32_t id) -> std::optional<pdu::OutstandingRequest> {
      const auto request = channel.outstanding.find(id);
      if (request == channel.outstanding.end()) return std::nullopt;
      return request->second.kind;
    };
    ByteReader header_reader(output.message);
    const pdu::Header header = pdu::decode_response_header(header_reader);
    if (header.mask == pdu::Mask::stub) context.text_query = {header.interface, header.message};
    const auto decoded = pdu::decode_from_till(output.message, context);
    require(decoded.ok(), "what is sent can be read, and was asked for");
    if (header.mask != pdu::Mask::proxy) {
      require(spoken_ == output.channel, "an answer goes to the one who asked");
      ++replies_;
    } else if (std::holds_alternative<pdu::AddVirtualChannel>(*decoded)) {
      require(output.channel == control, "ADD_VIRTUAL_CHANNEL is for the control channel");
      ++asked;
    } else if (const auto* add = std::get_if<pdu::AddDevice>(&*decoded)) {
      announced(output.channel, channel, *add);
    } else if (const auto* created = std::get_if<pdu::ChannelCreated>(&*decoded)) {
      require(created->version_1_0() && spoken_ == output.channel, "CHANNEL_CREATED is an answer");
    } else {
      require(channel.device.has_value(), "only a stick's channel carries completions");
      concerns(*channel.device);
      completed(channel, *decoded);
    }
  }

  void announced(ChannelId id, Channel& channel, const pdu::AddDevice& add) {
    require(!channel.device && id != control, "a stick is announced once, on a channel of its own");
    require(add.hardware_ids.size() == 2, "a stick has a name");
    const unsigned identity = static_cast<unsigned>(add.hardware_ids[1].back() - '1');
    for (const auto& [device, stick] : sticks) {
      if (stick.offered && identity_of(device) == identity) channel.device = device;
    }
    require(channel.device.has_value(), "what is announced is here");
    channel.usb_device = add.usb_device;
    require(usb_devices_.insert(add.usb_device).second, "UsbDevice is used once");
    for (const Flight& flight : flights) {
      require(identity_of(flight.device) != identity, "its old transfers have ended");
    }
    for (const auto& [other, device] : closing) {
      require(!device || identity_of(*device) != identity, "its old channel is closed");
    }
    for (const auto& [other, open] : channels) {
      require(other == id || !open.device || identity_of(*open.device) != identity,
              "a stick is in the session once");
    }
  }

  void completed(Channel& channel, const pdu::FromTill& message) {
    if (const auto* io = std::get_if<pdu::IoControlCompletion>(&message)) {
      const Owed owed = take_owed(channel, io->request);
      require(owed.kind.io_control, "an I/O control is completed as one");
      require(io->output.size() == io->output_buffer_size &&
                  io->output.size() <= owed.kind.output_buffer_size,
              "an I/O control returns at most what was asked for");
      return;
    }
    const auto* data = std::get_if<pdu::UrbCompletion>(&message);
    const auto* none = std::get_if<pdu::UrbCompletionNoData>(&message);
    require(data != nullptr || none != nullptr, "nothing but completions");
    const Owed owed = take_owed(channel, data != nullptr ? data->request : none->request);
    require(!owed.kind.io_control, "a transfer is completed as one");
    const auto& result = data != nullptr ? data->result : none->result;
    const std::uint32_t hresult = data != nullptr ? data->hresult : none->hresult;
    require(pdu::usbd_status::failed(result.status) == pdu::hresult::failed(hresult),
            "USBD_STATUS and HRESULT agree");
    if (data != nullptr) {
      require(owed.in && !data->output.empty(), "data is for an IN");
      require(data->output.size() <= owed.kind.output_buffer_size, "no more than was asked for");
      require(landed_ && std::equal(data->output.begin(), data->output.end(), landed_->begin(),
                                    landed_->end()),
              "the data of the transfer that ended");
    } else {
      require(owed.in ? none->output_buffer_size == 0
                      : none->output_buffer_size <= owed.kind.output_buffer_size,
              "a count is for an OUT");
    }
    if (pdu::usbd_status::failed(result.status)) return;
    if (const auto* selected = std::get_if<pdu::SelectConfigurationResult>(&result.body)) {
      for (auto& [handle, pipe] : channel.pipes) pipe.dead = true;
      channel.configuration_handle = selected->configuration_handle;
      for (const auto& interface : selected->interfaces) take_pipes(channel, interface);
    } else if (const auto* set = std::get_if<pdu::SelectInterfaceResult>(&result.body)) {
      for (auto& [handle, pipe] : channel.pipes) {
        if (pipe.interface_number == set->interface.interface_number) pipe.dead = true;
      }
      take_pipes(channel, set->interface);
    }
  }

  static Owed take_owed(Channel& channel, std::uint32_t request) {
    const auto found = channel.outstanding.find(request);
    require(found != channel.outstanding.end(), "each request is completed once");
    Owed owed = std::move(found->second);
    channel.outstanding.erase(found);
    return owed;
  }

  static void take_pipes(Channel& channel, const pdu::InterfaceInformationResult& interface) {
    for (const auto& pipe : interface.pipes) {
      require(pipe.handle != 0, "a handle is not 0");
      const auto known = channel.pipes.find(pipe.handle);
      // An interface that is listed twice has its pipes twice, under the same handles.
      require(known == channel.pipes.end() ||
                  (!known->second.dead && known->second.endpoint == pipe.endpoint),
              "a handle is given out once");
      channel.pipes[pipe.handle] = {interface.interface_number, pipe.endpoint, false};
      channel.last_handle = pipe.handle;
    }
  }

  void check(const TillRole::CloseChannel& output) {
    require(channels.count(output.channel) == 1, "an open channel is closed, and once");
    const auto device = channels.at(output.channel).device;
    const bool own = spoken_ == output.channel || (device && affected_ == device);
    // A channel that is not announced yet may be the one of the stick that is removed.
    require(own || everyone_ || !device, "at most its own channel is closed");
    closing.emplace(output.channel, device);
    if (control == output.channel) everyone_ = true;
    forget_channel(output.channel);
  }

  void check(const TillRole::Submit& output) {
    concerns(output.device);
    const usb::Transfer& transfer = output.transfer;
    require(transfer.id != 0, "a transfer has an id");
    for (const Flight& flight : flights) {
      require(flight.device != output.device || flight.transfer.id != transfer.id, "of its own");
    }
    require(transfer.length <= limits::transfer_bytes, "no longer than the limit");
    require(transfer.data.size() == (transfer.in() ? 0 : transfer.length), "data as its length");
    const auto channel = std::find_if(channels.begin(), channels.end(), [&](const auto& entry) {
      return entry.second.device == output.device;
    });
    require(channel != channels.end() && channel->second.completion, "somebody waits for it");
    if (transfer.type == usb::TransferType::control) {
      check_control(output.device, channel->second, transfer);
    } else {
      check_pipe(output.device, channel->second, transfer);
    }
    flights.push_back({output.device, transfer, false});
  }

  void check_control(DeviceId device, const Channel& channel, const usb::Transfer& transfer) const {
    const ModelStick& stick = sticks.at(device);
    const usb::SetupPacket& setup = transfer.setup;
    require(setup.length == transfer.length, "wLength is the length");
    require(setup.in() == transfer.in() && transfer.endpoint_number() == 0, "endpoint 0");
    const auto asked_by = [&](const auto& matches) {
      return std::any_of(channel.outstanding.begin(), channel.outstanding.end(),
                         [&](const auto& entry) { return matches(entry.second); });
    };
    require(transfer.data.empty() || asked_by([&](const Owed& owed) {
              return !owed.pipe && owed.data == transfer.data;
            }),
            "OUT data is what the server sent");
    require(asked_by([](const Owed& owed) { return !owed.pipe; }), "somebody asked for it");
    const bool standard_out = (setup.request_type & 0xE0U) == 0;
    require(!standard_out || setup.request != usb::request::set_address, "no SET_ADDRESS");
    require(
        setup.request_type != 0 || setup.request != usb::request::set_feature || setup.value != 2,
        "no test mode");
    const auto host = usb::as_host_request(setup);
    if (!host) {
      require(!standard_out || (setup.request != usb::request::set_configuration &&
                                setup.request != usb::request::set_interface),
              "no such request in disguise");
      return;
    }
    const bool resets = asked_by([](const Owed& owed) { return owed.resets; });
    const auto has_function = [&](std::uint16_t function) {
      return asked_by([&](const Owed& owed) {
        return !owed.kind.io_control && owed.kind.function == function;
      });
    };
    const bool configures = has_function(pdu::urb_function::select_configuration);
    const auto* configuration = any_stick().find_configuration(stick.configuration);
    if (const auto* set = std::get_if<usb::SetConfiguration>(&*host)) {
      require(set->value <= 2, "a configuration that it has");
      require(configures || (resets && stick.policy == ResetPolicy::pass), "asked for as such");
    } else if (const auto* alternate = std::get_if<usb::SetInterface>(&*host)) {
      require(configuration != nullptr &&
                  configuration->find(alternate->interface_number, alternate->alternate_setting),
              "a setting that it has");
      require(configures || has_function(pdu::urb_function::select_interface) ||
                  (resets && stick.policy == ResetPolicy::pass),
              "asked for as such");
    } else if (std::holds_alternative<usb::PortReset>(*host)) {
      require(resets && stick.policy == ResetPolicy::pass, "a reset that is allowed");
    } else if (const auto* clear = std::get_if<usb::ClearHalt>(&*host)) {
      require((clear->endpoint & 0x7FU) == 0 || find_endpoint(device, clear->endpoint) != nullptr,
              "an endpoint that it has");
    }
  }

  void check_pipe(DeviceId device, Channel& channel, const usb::Transfer& transfer) const {
    const auto* endpoint = find_endpoint(device, transfer.endpoint);
    require(endpoint != nullptr && endpoint->type() == transfer.type &&
                transfer.type != usb::TransferType::isochronous,
            "an endpoint that the setting in force has");
    Owed* oldest = nullptr;
    for (auto& [id, owed] : channel.outstanding) {
      if (!owed.pipe || owed.submitted) continue;
      const auto pipe = channel.pipes.find(*owed.pipe);
      if (pipe == channel.pipes.end() || pipe->second.dead ||
          pipe->second.endpoint != transfer.endpoint) {
        continue;
      }
      if (oldest == nullptr || owed.arrival < oldest->arrival) oldest = &owed;
    }
    require(oldest != nullptr, "on a pipe that is open");
    require(oldest->in == transfer.in() && oldest->kind.output_buffer_size == transfer.length &&
                oldest->data == transfer.data,
            "as the oldest request of this pipe says");
    oldest->submitted = true;
  }

  /// They all have the same configurations.
  static const usb::DeviceDescription& any_stick() {
    static const usb::DeviceDescription description = describe(1, 1);
    return description;
  }

  [[nodiscard]] const usb::EndpointDescriptor* find_endpoint(DeviceId device,
                                                             std::uint8_t address) const {
    const ModelStick& stick = sticks.at(device);
    const auto* configuration = any_stick().find_configuration(stick.configuration);
    if (configuration == nullptr) return nullptr;
    for (const auto& interface : configuration->interfaces) {
      const auto alternate = stick.alternates.find(interface.number);
      const std::uint8_t in_force =
          alternate == stick.alternates.end() ? std::uint8_t{0} : alternate->second;
      if (interface.alternate_setting != in_force) continue;
      for (const auto& endpoint : interface.endpoints) {
        if (endpoint.address == address) return &endpoint;
      }
    }
    return nullptr;
  }

  void check(const TillRole::Cancel& output) {
    concerns(output.device);
    const auto found = std::find_if(flights.begin(), flights.end(), [&](const Flight& flight) {
      return flight.device == output.device && flight.transfer.id == output.transfer;
    });
    require(found != flights.end() && !found->cancelled, "what is out is cancelled once");
    found->cancelled = true;
  }

  void check(const TillRole::DeviceInSession& output) {
    concerns(output.device);
    for (auto& [id, channel] : channels) {
      if (channel.device != output.device) continue;
      require(!channel.in_session, "in the session once per channel");
      channel.in_session = true;
      return;
    }
    require(false, "in the session by a channel");
  }

  void check(const TillRole::DeviceLeftSession& output) {
    require(sticks.at(output.device).offered && !output.reason.empty(),
            "what leaves is still here");
    for (const auto& [id, channel] : channels) {
      require(channel.device != output.device, "it leaves with its channel");
    }
  }

  static void check(const TillRole::Event& output) {
    require(!output.text.empty() && output.text.find('\n') == std::string::npos,
            "an event is a line");
  }

  void forget_channel(ChannelId id) {
    channels.erase(id);
    if (control == id) {
      control.reset();
      asked = 0;
    }
  }

  TillRole role_;
  Instant now_{0};
  std::set<std::uint32_t> usb_devices_;
  ChannelId last_channel_ = 0;
  std::uint64_t arrivals_ = 0;
  std::uint8_t tag_ = 0;
  int replies_ = 0;
  // Of the step that is being taken:
  std::optional<ChannelId> spoken_;   ///< the channel that something came from
  std::optional<DeviceId> affected_;  ///< the stick it is about
  bool everyone_ = false;             ///< time, or the control channel's end
  std::optional<Bytes> landed_;       ///< data of the transfer that ended
};

}  // namespace tillbridge::rdpeusb::fuzz
