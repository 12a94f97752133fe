// The terminal role as a sequence machine: the input chooses the profile and drives the owner, an
// honest till, a lying one, and time. Model: every transfer and every I/O control ends exactly
// once, before its device is gone, with the data of its own request and of no other; what a till
// says touches the device of its channel only, and closes at most that channel; nothing goes to a
// closed channel; what is sent is a message that a till can decode and act upon, under a request id
// that no outstanding request has; a cancel names an outstanding request; a cancelled transfer ends
// within the role's patience.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "channel/rdpeusb/pdu/message.hpp"
#include "channel/rdpeusb/terminal_device.hpp"
#include "channel/rdpeusb/terminal_role.hpp"
#include "channel/usb/requests.hpp"

namespace {

using namespace tillbridge;
using namespace tillbridge::rdpeusb;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", what);
  std::abort();
}

/// Bulk-Only storage: interface 0, setting 0 with 81 and 02, setting 1 with 83 (interrupt).
const Bytes& descriptor() {
  static const Bytes raw{9,    2, 48, 0, 1,    1, 0, 0x80, 50, 9, 4, 0,    0, 2, 8, 6,
                         0x50, 0, 7,  5, 0x81, 2, 0, 2,    0,  7, 5, 0x02, 2, 0, 2, 0,
                         9,    4, 0,  1, 1,    8, 6, 0x62, 0,  7, 5, 0x83, 3, 8, 0, 4};
  return raw;
}

class Machine {
 public:
  explicit Machine(ByteView input)
      : in_(input),
        profile_(in_.u8() % 2 == 0 ? Profile::plain : Profile::windows),
        role_(profile_) {}

  void run() {
    role_.start(now_);
    drain();
    for (std::size_t steps = 0; in_.remaining() != 0 && steps < 2000; ++steps) step();
    // Whatever happened: once the channels are closed, everything has ended.
    while (!channels_.empty()) {
      const ChannelId channel = channels_.begin()->first;
      channels_.erase(channel);
      role_.channel_closed(channel, now_);
      drain();
    }
    require(running_.empty(), "every transfer has ended");
    require(io_controls_ == 0, "every I/O control has ended");
  }

 private:
  struct Wire {
    std::uint32_t request = 0;
    std::uint16_t function = 0;
    bool io_control = false, in = false;
    std::uint32_t asked = 0;
    std::uint8_t value = 0;  ///< descriptor index
    bool unconfigure = false, no_ack = false;
    std::uint8_t setting = 0;
    usb::TransferId transfer = 0;  ///< that it was sent for, as far as that can be seen; else 0
  };
  struct Channel {
    std::optional<std::uint32_t> usb_device;
    DeviceId device = 0;
    std::deque<Wire> wire;
  };
  struct Running {
    bool in = false;
    bool pipe = false;  ///< no control transfer: its requests carry its own data
    std::uint32_t length = 0;
    std::optional<Instant> cancelled;
  };
  /// What the honest completion that is being said has to come to.
  struct Told {
    usb::TransferId transfer = 0;
    Bytes data;
  };

  ChannelId pick_channel() {
    if (channels_.empty()) return 0;
    auto entry = channels_.begin();
    std::advance(entry, in_.u8() % channels_.size());
    return entry->first;
  }
  DeviceId pick_device() { return devices_.empty() ? 1 : devices_[in_.u8() % devices_.size()]; }

  void say(ChannelId channel, const Bytes& message) {
    speaking_ = channel;
    role_.receive(channel, message, now_);
    drain();
    speaking_ = 0;
  }

  void step() {
    switch (in_.u8() % 20) {
      case 0:
        if (tickets_.empty()) break;
        channels_[++last_channel_] = {};
        if (tickets_.front() == 1) control_ = last_channel_;
        role_.channel_opened(tickets_.front(), last_channel_, now_);
        tickets_.pop_front();
        break;
      case 1:
        if (tickets_.empty()) break;
        role_.channel_refused(tickets_.front(), now_);
        tickets_.pop_front();
        break;
      case 2: {
        const ChannelId channel = pick_channel();
        channels_.erase(channel);
        role_.channel_closed(channel, now_);
        break;
      }
      case 3:
        say(pick_channel(), pdu::encode(pdu::CapabilityResponse{}));
        break;
      case 4:
        say(pick_channel(), pdu::encode(pdu::ChannelCreated{}, pdu::Sender::till));
        break;
      case 5:
        say(pick_channel(), pdu::encode(pdu::AddVirtualChannel{}));
        break;
      case 6:
        add_device();
        break;
      case 7: {
        const ChannelId channel = pick_channel();
        const auto found = channels_.find(channel);
        if (found == channels_.end() || !found->second.usb_device) break;
        // One for each question: the windows profile asks many before its device has arrived.
        for (unsigned answers = in_.u8() % 8U + 1U; answers > 0; --answers) {
          say(channel,
              pdu::encode(pdu::QueryDeviceTextResponse{{*found->second.usb_device, 0}, "TSE", 0}));
          if (channels_.count(channel) == 0) break;
        }
        break;
      }
      case 8:
      case 9:
        submit();
        break;
      case 10:
        cancel();
        break;
      case 11:
      case 12: {
        const ChannelId channel = pick_channel();
        const Bytes message = honest_completion(channel);
        if (message.empty()) break;
        say(channel, message);
        told_.reset();
        break;
      }
      case 13: {  // a completion that says too much, or with one byte changed
        const ChannelId channel = pick_channel();
        const std::uint32_t surplus = in_.u8() % 3U;
        Bytes message = honest_completion(channel, surplus);
        told_.reset();
        if (message.empty()) break;
        if (surplus == 0) message[in_.u8() % message.size()] ^= in_.u8();
        lied_.insert(channel);
        say(channel, message);
        break;
      }
      case 14: {
        const ChannelId channel = pick_channel();
        lied_.insert(channel);
        const ByteView raw = in_.take(std::min<std::size_t>(in_.u8(), in_.remaining()));
        say(channel, Bytes(raw.begin(), raw.end()));
        break;
      }
      case 15:
        now_ += std::chrono::milliseconds(in_.u8() * 100);
        role_.advance(now_);
        drain();
        for (const auto& [key, running] : running_) {
          require(!running.cancelled || *running.cancelled + terminal::cancel_patience > now_,
                  "a cancel ends in time");
        }
        for (const auto& [device, asked] : io_control_times_) {
          require(asked.empty() || asked.front() + terminal::io_control_patience > now_,
                  "an I/O control ends in time");
        }
        break;
      case 16:
        role_.retract(pick_device(), "fuzzed", now_);
        break;
      case 17:
        if (io_controls_ > 50) break;
        ask_io_control(pick_device());
        break;
      case 18:  // a channel nobody asked for, and one that is there already
        channels_[++last_channel_] = {};
        role_.channel_opened(1'000'000, last_channel_, now_);
        drain();
        require(channels_.count(last_channel_) == 0, "a channel nobody asked for is closed");
        break;
      case 19:
        if (in_.u8() % 8 == 0) role_.log_off(now_);
        break;
      default:
        break;
    }
    drain();
    const auto deadline = role_.next_deadline();
    require(!deadline || *deadline + std::chrono::minutes(2) > now_, "no deadline is forgotten");
  }

  void add_device() {
    const ChannelId channel = pick_channel();
    const auto found = channels_.find(channel);
    if (found == channels_.end()) return;
    pdu::AddDevice announced;
    announced.usb_device = in_.u8();
    announced.instance_id = "1";
    announced.container_id = "{}";
    if (!found->second.usb_device) found->second.usb_device = announced.usb_device;
    say(channel, pdu::encode(announced));
  }

  void ask_io_control(DeviceId device) {
    ++io_controls_;
    io_control_times_[device].push_back(now_);
    role_.io_control(device, pdu::io_control_code::get_hub_count, in_.u8(), now_);
  }

  void submit() {
    const DeviceId device = pick_device();
    const usb::TransferId id = ++last_transfer_;
    usb::Transfer transfer;
    const std::uint8_t kind = in_.u8() % 10;
    const std::uint8_t detail = in_.u8();
    switch (kind) {
      case 0:
        transfer = usb::control_transfer(id, usb::get_descriptor(2, detail % 3, 0, 255));
        break;
      case 1:
        transfer = usb::control_transfer(id, usb::set_configuration(detail % 3));
        break;
      case 2:
        transfer = usb::control_transfer(id, usb::set_interface(0, detail % 3));
        break;
      case 3:
        transfer = usb::control_transfer(id, usb::clear_halt(detail));
        break;
      case 4:
        transfer = usb::control_transfer(id, usb::port_reset());
        break;
      case 5:
        transfer = usb::control_transfer(id, {detail, in_.u8(), in_.u16le(), 0, 8},
                                         (detail & 0x80U) != 0 ? Bytes() : Bytes(8));
        break;
      default:
        transfer.id = id;
        transfer.type = kind == 9 ? usb::TransferType::interrupt : usb::TransferType::bulk;
        transfer.endpoint = kind < 8 ? 0x81 : (kind == 8 ? 0x02 : 0x83);
        // Writes of whole packets now and then: those may have a zero-length one behind them.
        transfer.length = kind == 8 ? (detail >> 2U) * 128U : detail * 8U;
        transfer.zero_packet = (detail & 1U) != 0;
        transfer.short_not_ok = (detail & 2U) != 0;
        if (!transfer.in()) transfer.data = Bytes(transfer.length);
        break;
    }
    running_[{device, id}] = Running{transfer.in(), transfer.type != usb::TransferType::control,
                                     transfer.length, std::nullopt};
    submitting_ = id;
    role_.submit(device, std::move(transfer), now_);
    drain();
    submitting_ = 0;
  }

  void cancel() {
    if (running_.empty()) return;
    auto entry = running_.begin();
    std::advance(entry, in_.u8() % running_.size());
    if (!entry->second.cancelled) entry->second.cancelled = now_;
    role_.cancel(entry->first.first, entry->first.second, now_);
  }

  /// With `surplus` bytes more than were asked for it is honest no more.
  Bytes honest_completion(ChannelId channel, std::uint32_t surplus = 0) {
    const auto found = channels_.find(channel);
    if (found == channels_.end() || found->second.wire.empty()) return {};
    std::deque<Wire>& wire = found->second.wire;
    const std::size_t index = in_.u8() % wire.size();
    const Wire request = wire[index];
    if (request.no_ack) {
      if (in_.u8() % 8 != 0) return {};  // as it should be
      lied_.insert(channel);  // its id may be in use again, and then this answers another request
    }
    wire.erase(wire.begin() + static_cast<std::ptrdiff_t>(index));
    const pdu::Address address{terminal::habits_of(profile_).completion_interface, 0};
    static constexpr std::uint32_t statuses[] = {
        0, 0, 0, 0, 2, 3, 4, 0xC0000004, 0xC0010000, 0xC0000011, 0x80000900};
    pdu::TsUrbResult result;
    result.status = statuses[in_.u8() % std::size(statuses)];
    const bool good = result.status == 0;
    if (request.io_control) {
      const Bytes output(good ? request.asked : 0, 3);
      return pdu::encode(pdu::IoControlCompletion{address, request.request, good ? 0U : 0x8007001FU,
                                                  request.asked, 0, output});
    }
    if (request.function == pdu::urb_function::get_current_frame_number && good)
      result.body = pdu::FrameNumberResult{7};
    if (request.function == pdu::urb_function::isochronous_transfer && good)
      result.body = pdu::IsochronousResult{};
    if (request.function == pdu::urb_function::select_configuration &&
        !pdu::usbd_status::failed(result.status)) {
      pdu::SelectConfigurationResult body;
      if (!request.unconfigure) {
        body.configuration_handle = 1;
        body.interfaces.resize(1);
        body.interfaces[0].pipes = {{512, 0x81, 0, 2, 1, 0, 0}, {512, 0x02, 0, 2, 2, 0, 0}};
      }
      result.body = body;
    }
    if (request.function == pdu::urb_function::select_interface &&
        !pdu::usbd_status::failed(result.status)) {
      pdu::SelectInterfaceResult body;
      body.interface.alternate_setting = request.setting;
      if (request.setting == 0)
        body.interface.pipes = {{512, 0x81, 0, 2, 1, 0, 0}, {512, 0x02, 0, 2, 2, 0, 0}};
      if (request.setting == 1) body.interface.pipes = {{8, 0x83, 4, 3, 3, 0, 0}};
      result.body = body;
    }
    told_ = Told{request.transfer, {}};
    if (!request.in)
      return pdu::encode(pdu::UrbCompletionNoData{address, request.request, result, 0,
                                                  (good ? request.asked : 0) + surplus});
    Bytes data(std::min<std::size_t>(request.asked, in_.u8()), ++last_byte_);
    if (request.function == pdu::urb_function::get_descriptor_from_device && good) {
      data = descriptor();
      data.resize(std::min<std::size_t>(request.asked, data.size()));
      if (data.size() > 5) data[5] = static_cast<std::uint8_t>(request.value + 1);
    }
    if (surplus != 0) data.resize(request.asked + surplus);
    if (data.empty() || !good)
      return pdu::encode(pdu::UrbCompletionNoData{address, request.request, result, 0, 0});
    told_->data = data;
    return pdu::encode(pdu::UrbCompletion{address, request.request, result, 0, data});
  }

  void drain() {
    while (auto output = role_.poll()) {
      std::visit([this](auto& value) { take(value); }, *output);
    }
  }
  void take(const TerminalRole::OpenChannel& value) { tickets_.push_back(value.ticket); }
  void take(const TerminalRole::CloseChannel& value) {
    require(channels_.erase(value.channel) == 1, "only an open channel is closed");
    require(speaking_ == 0 || speaking_ == control_ || value.channel == speaking_,
            "a fault costs its own channel");
  }
  void take(const TerminalRole::DeviceArrived& value) {
    devices_.push_back(value.device);
    if (speaking_ != 0) channels_.at(speaking_).device = value.device;
  }
  /// Whether something may happen to this device now.
  void touched(DeviceId device) {
    if (speaking_ == 0 || speaking_ == control_) return;
    for (const auto& [id, channel] : channels_)
      require(channel.device != device || id == speaking_, "the devices beside it go on");
  }
  void take(const TerminalRole::DeviceGone& value) {
    touched(value.device);
    for (const auto& [key, running] : running_)
      require(key.first != value.device, "transfers end before their device is gone");
  }
  void take(const TerminalRole::Completed& value) {
    const usb::Completion& completion = value.completion;
    const auto found = running_.find({value.device, completion.id});
    require(found != running_.end(), "a completion is for a running transfer");
    touched(value.device);
    if (told_ && speaking_ != 0 && channels_.count(speaking_) != 0 && found->second.pipe &&
        lied_.count(speaking_) == 0) {
      require(told_->transfer == completion.id, "a completion ends its own transfer");
      for (const Wire& wire : channels_.at(speaking_).wire)
        require(wire.transfer != completion.id, "it ends with the last of its requests");
      require(completion.data.empty() || completion.data == told_->data, "and has its data");
    }
    require(completion.actual_length <= found->second.length, "no more than was asked for");
    require(completion.data.size() == (found->second.in ? completion.actual_length : 0),
            "data is what was moved");
    running_.erase(found);
  }
  void take(const TerminalRole::IoControlCompleted& value) {
    std::deque<Instant>& asked = io_control_times_[value.device];
    require(io_controls_ > 0 && !asked.empty(), "an I/O control ends once");
    asked.pop_front();
    --io_controls_;
  }
  void take(const TerminalRole::Event& value) {
    require(!value.text.empty(), "an event says something");
  }
  void take(const TerminalRole::SendMessage& value) {
    const auto found = channels_.find(value.channel);
    require(found != channels_.end(), "nothing goes to a closed channel");
    ByteReader header_reader(value.message);
    const pdu::Header header = pdu::decode_response_header(header_reader);
    if (header.mask == pdu::Mask::stub) return;  // "function not supported"
    pdu::TillContext context;
    context.usb_device = found->second.usb_device;
    const auto decoded = pdu::decode_from_server(value.message, context);
    require(decoded.ok(), "a till can decode what is sent");
    const auto send = [this, &found](Wire wire) {
      for (const Wire& other : found->second.wire)
        require(other.request != wire.request || other.no_ack || lied_.count(found->first) != 0,
                "outstanding ids are unique");
      wire.transfer = submitting_ != 0 ? submitting_ : (told_ ? told_->transfer : 0);
      const auto running = running_.find({found->second.device, wire.transfer});
      if (!wire.in && running != running_.end() && running->second.pipe)
        require(submitting_ != 0, "no write is repeated");
      found->second.wire.push_back(wire);
    };
    if (const auto* io_control = std::get_if<pdu::IoControl>(&*decoded)) {
      send({io_control->request, 0, true, true, io_control->output_buffer_size});
    } else if (const auto* cancel = std::get_if<pdu::CancelRequest>(&*decoded)) {
      const bool known =
          std::any_of(found->second.wire.begin(), found->second.wire.end(),
                      [&](const Wire& wire) { return wire.request == cancel->request; });
      // The windows profile cancels what has ended, too, before its device has arrived.
      require(known || lied_.count(found->first) != 0 ||
                  (profile_ == Profile::windows && found->second.device == 0),
              "what is cancelled is outstanding");
    } else if (const auto* transfer = std::get_if<pdu::TransferRequest>(&*decoded)) {
      Wire wire{transfer->urb.request, transfer->urb.function, false, transfer->in,
                transfer->output_buffer_size};
      wire.no_ack = transfer->urb.no_ack;
      if (const auto* read = std::get_if<pdu::DescriptorRequest>(&transfer->urb.body))
        wire.value = read->index;
      if (const auto* select = std::get_if<pdu::SelectConfiguration>(&transfer->urb.body))
        wire.unconfigure = select->descriptor_valid == 0;
      if (const auto* select = std::get_if<pdu::SelectInterface>(&transfer->urb.body))
        wire.setting = select->interface.alternate_setting;
      send(wire);
    } else {
      require(!std::holds_alternative<pdu::BadRequest>(*decoded) &&
                  !std::holds_alternative<pdu::Ignored>(*decoded) &&
                  !std::holds_alternative<pdu::UnknownFunction>(*decoded),
              "a till would act on what is sent");
    }
  }

  ByteReader in_;
  Profile profile_;
  TerminalRole role_;
  Instant now_{};
  std::deque<std::uint32_t> tickets_;
  std::map<ChannelId, Channel> channels_;
  ChannelId last_channel_ = 0;
  std::vector<DeviceId> devices_;
  usb::TransferId last_transfer_ = 0;
  std::map<std::pair<DeviceId, usb::TransferId>, Running> running_;
  std::size_t io_controls_ = 0;
  std::map<DeviceId, std::deque<Instant>> io_control_times_;  ///< of those that run

  ChannelId control_ = 0;
  ChannelId speaking_ = 0;          ///< whose message the role is being given
  usb::TransferId submitting_ = 0;  ///< what the role is being given
  std::optional<Told> told_;
  /// Where a changed message, or an answer to a NoAck request, may have ended another request than
  /// it was made from.
  std::set<ChannelId> lied_;
  std::uint8_t last_byte_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Machine(ByteView(data, size)).run();
  return 0;
}
