// The channels of one session: handshake, announcing, closing. What a device does is in
// terminal_device.hpp.
#include "channel/rdpeusb/terminal_role.hpp"

#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/message.hpp"
#include "channel/rdpeusb/terminal_device.hpp"

namespace tillbridge::rdpeusb {

namespace {

/// For every answer of the handshake (MS-RDPEXPS 3.1.2). A channel that does not announce its
/// device within it is closed too: FreeRDP asks for more channels than it has devices when one is
/// plugged in during start-up, and never uses the spare ones.
constexpr Duration handshake_patience = std::chrono::seconds(60);
}  // namespace

struct TerminalRole::Channel {
  ChannelId id = 0;
  bool is_control = false;
  State state = State::capability;
  std::optional<Instant> deadline;
  DeviceId device = 0;  ///< 0 until ADD_DEVICE
  std::uint32_t usb_device = 0;
  AnnouncedDevice announced;
  std::unique_ptr<terminal::Device> io;
  std::optional<terminal::Opening> opening;  ///< between ADD_DEVICE and `running`
  bool flood_said = false;  ///< once a channel: a hostile client must not fill the log

  [[nodiscard]] std::string name() const {
    if (is_control) return "the control channel";
    if (device == 0) return "a device channel without a device";
    std::string text =
        announced.hardware_ids.empty() ? announced.instance_id : announced.hardware_ids.back();
    if (!announced.description.empty()) text += " (" + announced.description + ")";
    return text;
  }
};

TerminalRole::TerminalRole(Profile profile) : profile_(profile) {}
TerminalRole::~TerminalRole() = default;

void TerminalRole::start(Instant /*now*/) {
  open(true);
}

void TerminalRole::open(bool control) {
  tickets_[++last_ticket_] = control;
  outputs_.emplace_back(OpenChannel{last_ticket_});
}

void TerminalRole::channel_opened(std::uint32_t ticket, ChannelId channel, Instant now) {
  const auto found = tickets_.find(ticket);
  if (found == tickets_.end()) {  // the control channel, and so the wish for it, is gone by now
    outputs_.emplace_back(CloseChannel{channel, "nobody waits for this channel any more"});
    return;
  }
  if (channels_.count(channel) != 0) forget(channel, "its channel was opened anew");
  auto entry = std::make_unique<Channel>();
  entry->id = channel;
  entry->is_control = found->second;
  entry->deadline = now + handshake_patience;
  tickets_.erase(found);
  send(*entry, pdu::encode(pdu::CapabilityRequest{}));
  channels_[channel] = std::move(entry);
}

void TerminalRole::channel_refused(std::uint32_t ticket, Instant /*now*/) {
  const auto found = tickets_.find(ticket);
  if (found == tickets_.end()) return;
  if (found->second) {
    event(Level::warning,
          "the client has no URBDRC channel: it redirects no USB devices; load the tillbridge "
          "plugin there");
  } else {
    event(Level::warning,
          "the client asked for a device channel and then refused it; its device does not appear");
  }
  tickets_.erase(found);
}

void TerminalRole::channel_closed(ChannelId channel, Instant /*now*/) {
  if (channels_.count(channel) != 0) forget(channel, "the client closed the channel");
}

void TerminalRole::receive(ChannelId channel, ByteView message, Instant now) {
  const auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  dispatch(*found->second, message, now);
}

void TerminalRole::dispatch(Channel& channel, ByteView message, Instant now) {
  if (message.size() > limits::rdpeusb_message_bytes) {
    close(channel.id, "the client sent a message of " + std::to_string(message.size()) + " bytes");
    return;
  }
  pdu::TerminalContext context;
  context.capability_outstanding = channel.state == State::capability;
  if (channel.opening && channel.opening->awaits_text())
    context.text_query = pdu::Address{channel.usb_device, 0};
  if (channel.io) {
    context.request_completion = terminal::habits_of(profile_).completion_interface;
    context.outstanding = [&channel](std::uint32_t request) {
      return channel.io->outstanding(request);
    };
  }
  Result<pdu::FromTill> decoded = pdu::decode_from_till(message, context);
  if (!decoded) {
    close(channel.id, decoded.error().message);
    return;
  }

  struct Handler {
    TerminalRole& role;
    Channel& channel;
    Instant now;

    Status operator()(const pdu::CapabilityResponse& pdu) const {
      return role.receive(channel, pdu, now);
    }
    Status operator()(const pdu::ChannelCreated& pdu) const {
      return role.receive(channel, pdu, now);
    }
    Status operator()(const pdu::AddVirtualChannel& /*pdu*/) const {
      return role.add_virtual_channel(channel);
    }
    Status operator()(const pdu::AddDevice& pdu) const { return role.receive(channel, pdu); }
    Status operator()(const pdu::QueryDeviceTextResponse& pdu) const {
      channel.opening->text(pdu);
      return {};
    }
    Status operator()(const pdu::QueryInterfaceResponse& pdu) const {
      // "Not supported", to the only request of ours that has a response.
      if (channel.opening && channel.opening->awaits_text() &&
          pdu.address.interface == channel.usb_device) {
        channel.opening->text_unsupported();
      }
      return {};
    }
    // mstsc releases the completion interface after every request; nothing follows from it.
    Status operator()(const pdu::ReleaseInterface& /*pdu*/) const { return {}; }
    Status operator()(const pdu::QueryInterface& pdu) const { return unsupported(pdu.address); }
    Status operator()(const pdu::UnknownFunction& unknown) const {
      return unsupported(unknown.address);
    }
    Status operator()(const pdu::IoControlCompletion& pdu) const {
      return channel.io->receive(pdu, now);
    }
    Status operator()(const pdu::UrbCompletion& pdu) const { return channel.io->receive(pdu, now); }
    Status operator()(const pdu::UrbCompletionNoData& pdu) const {
      return channel.io->receive(pdu, now);
    }
    Status operator()(const pdu::Ignored& ignored) const {
      role.event(Level::debug, channel.name() + ": message ignored: " + ignored.reason);
      return {};
    }

    Status unsupported(const pdu::Address& address) const {
      role.send(channel, pdu::encode(pdu::QueryInterfaceResponse{address, std::nullopt}));
      return {};
    }
  };
  const ChannelId id = channel.id;
  const Status status = std::visit(Handler{*this, channel, now}, *decoded);
  if (channels_.count(id) == 0) return;
  drain(channel);
  if (!status) {
    close(id, status.error().message);
  } else if (channel.opening) {
    proceed(channel, now);
  }
}

Status TerminalRole::receive(Channel& channel, const pdu::CapabilityResponse& message,
                             Instant now) {
  if (message.capability != pdu::capability_version_1 || pdu::hresult::failed(message.result)) {
    return fail(ErrorCode::protocol, "the client refuses RIM capability version 1");
  }
  // As Windows does. FreeRDP's clients wait for the release of interface 2 that follows
  // CHANNEL_CREATED; interface 1 must never be released: mstsc closes the channel then.
  send(channel,
       pdu::encode(pdu::ReleaseInterface{{pdu::interface_id::capabilities, 0}, pdu::Mask::none}));
  send(channel, pdu::encode(pdu::ChannelCreated{}, pdu::Sender::server));
  channel.state = State::channel_created;
  channel.deadline = now + handshake_patience;
  return {};
}

Status TerminalRole::receive(Channel& channel, const pdu::ChannelCreated& message, Instant now) {
  if (!message.version_1_0()) {
    return fail(ErrorCode::protocol, "the client speaks MS-RDPEUSB " +
                                         std::to_string(message.major) + "." +
                                         std::to_string(message.minor) + ", not 1.0");
  }
  if (channel.state != State::channel_created) {
    event(Level::debug, channel.name() + ": a second CHANNEL_CREATED, ignored");
    return {};
  }
  send(channel, pdu::encode(pdu::ReleaseInterface{{pdu::interface_id::notification_to_client, 0},
                                                  pdu::Mask::proxy}));
  if (channel.is_control) {
    channel.state = State::control;
    channel.deadline.reset();
  } else {
    channel.state = State::unannounced;
    channel.deadline = now + handshake_patience;
  }
  return {};
}

Status TerminalRole::add_virtual_channel(Channel& channel) {
  if (channel.state != State::control)
    return fail(ErrorCode::protocol, "ADD_VIRTUAL_CHANNEL out of place");
  if (channels_.size() + tickets_.size() >= limits::rdpeusb_channels) {
    if (!std::exchange(channel.flood_said, true)) {
      event(Level::warning, "the client asks for more than " +
                                std::to_string(limits::rdpeusb_channels) + " channels; not opened");
    }
    return {};
  }
  open(false);
  return {};
}

Status TerminalRole::receive(Channel& channel, const pdu::AddDevice& message) {
  if (channel.io) {
    if (!std::exchange(channel.flood_said, true))
      event(Level::warning, channel.name() + ": announced a second time, ignored");
    return {};
  }
  if (channel.state != State::unannounced)
    return fail(ErrorCode::protocol, "ADD_DEVICE out of place");
  if (message.device_count != 1)
    return fail(ErrorCode::protocol,
                "ADD_DEVICE with " + std::to_string(message.device_count) + " devices");
  channel.device = ++last_device_;
  channel.usb_device = message.usb_device;
  channel.announced.instance_id = message.instance_id;
  channel.announced.hardware_ids = message.hardware_ids;
  channel.announced.compatible_ids = message.compatible_ids;
  channel.announced.container_id = message.container_id;
  channel.announced.usb_version = message.capabilities.usb_version;
  channel.announced.high_speed = message.capabilities.high_speed != 0;
  channel.io =
      std::make_unique<terminal::Device>(channel.usb_device, terminal::habits_of(profile_));
  channel.opening.emplace(profile_);
  channel.state = State::opening;
  const std::uint32_t version = message.capabilities.usb_version;
  if (version != 0x100 && version != 0x110 && version != 0x200)
    report(channel, terminal::Quirk::irregular_usb_version);
  return {};
}

void TerminalRole::proceed(Channel& channel, Instant now) {
  terminal::Opening& opening = *channel.opening;
  while (auto request = opening.next()) {
    channel.io->send_of_opening(*std::move(request));
    channel.deadline = now + opening.patience();
  }
  drain(channel);
  channel.announced.description = opening.description();
  for (const std::string& finding : opening.findings())
    outputs_.emplace_back(Event{Level::warning, channel.name() + ": " + finding, true});
  if (!opening.done()) return;
  channel.io->end_no_ack();
  channel.opening.reset();
  channel.state = State::running;
  channel.deadline.reset();
  outputs_.emplace_back(DeviceArrived{channel.device, channel.announced});
}

void TerminalRole::submit(DeviceId device, usb::Transfer transfer, Instant /*now*/) {
  Channel* channel = find(device);
  if (channel == nullptr) {  // it went while the caller was busy
    usb::Completion completion;
    completion.id = transfer.id;
    completion.status = usb::TransferStatus::device_gone;
    outputs_.emplace_back(Completed{device, std::move(completion)});
    return;
  }
  channel->io->submit(std::move(transfer));
  drain(*channel);
}

void TerminalRole::cancel(DeviceId device, usb::TransferId transfer, Instant now) {
  Channel* channel = find(device);
  if (channel == nullptr) return;
  channel->io->cancel(transfer, now);
  drain(*channel);
}

void TerminalRole::io_control(DeviceId device, std::uint32_t code, std::uint32_t output_bytes,
                              Instant now) {
  Channel* channel = find(device);
  if (channel == nullptr) {
    outputs_.emplace_back(IoControlCompleted{device, pdu::hresult::device_not_connected, {}});
    return;
  }
  channel->io->io_control(code, output_bytes, now);
  drain(*channel);
}

void TerminalRole::retract(DeviceId device, const std::string& reason, Instant /*now*/) {
  Channel* channel = find(device);
  if (channel == nullptr) return;
  send(*channel, pdu::encode(pdu::RetractDevice{{channel->usb_device, 0}}));
  close(channel->id, reason);
}

void TerminalRole::log_off(Instant /*now*/) {
  if (!terminal::habits_of(profile_).takes_leave) return;
  for (const auto& [id, channel] : channels_) {
    if (!channel->io) continue;
    channel->io->take_leave();
    drain(*channel);
  }
  close_device_channels("the session ends");
}

void TerminalRole::advance(Instant now) {
  std::vector<ChannelId> ids;
  ids.reserve(channels_.size());
  for (const auto& [id, channel] : channels_) ids.push_back(id);
  for (const ChannelId id : ids) {
    const auto found = channels_.find(id);
    if (found == channels_.end()) continue;  // closed with the control channel
    Channel& channel = *found->second;
    if (channel.io) {
      const Status status = channel.io->advance(now);
      drain(channel);
      if (!status) {
        close(id, status.error().message);
        continue;
      }
    }
    if (!channel.deadline || *channel.deadline > now) continue;
    if (channel.state == State::opening) {
      if (channel.opening->awaits_text()) {
        event(Level::warning, channel.name() + ": the client does not answer QUERY_DEVICE_TEXT");
      }
      channel.opening->timed_out();
      channel.io->give_up_opening();
      drain(channel);
      proceed(channel, now);
    } else if (channel.state == State::unannounced) {
      close(id, "no device was announced on it within 60 s");
    } else {
      close(id, "the client did not answer the handshake within 60 s");
    }
  }
}

std::optional<Instant> TerminalRole::next_deadline() const {
  std::optional<Instant> earliest;
  const auto consider = [&earliest](std::optional<Instant> deadline) {
    if (deadline && (!earliest || *deadline < *earliest)) earliest = deadline;
  };
  for (const auto& [id, channel] : channels_) {
    consider(channel->deadline);
    if (channel->io) consider(channel->io->next_deadline());
  }
  return earliest;
}

std::optional<TerminalRole::Output> TerminalRole::poll() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

void TerminalRole::drain(Channel& channel) {
  if (!channel.io) return;
  while (auto output = channel.io->poll()) {
    if (auto* message = std::get_if<Bytes>(&*output)) {
      send(channel, std::move(*message));
    } else if (auto* completion = std::get_if<usb::Completion>(&*output)) {
      outputs_.emplace_back(Completed{channel.device, std::move(*completion)});
    } else if (auto* end = std::get_if<terminal::IoControlEnd>(&*output)) {
      outputs_.emplace_back(
          IoControlCompleted{channel.device, end->hresult, std::move(end->output)});
    } else if (const auto* answer = std::get_if<terminal::OpeningAnswer>(&*output)) {
      if (answer->despite_no_ack) {
        channel.opening->answered_despite_no_ack();
      } else {
        channel.opening->answered(answer->answer);
      }
    } else if (const auto* quirk = std::get_if<terminal::Quirk>(&*output)) {
      report(channel, *quirk);
    } else if (const auto* warning = std::get_if<Error>(&*output)) {
      event(Level::warning, channel.name() + ": " + warning->message);
    }
  }
}

void TerminalRole::report(const Channel& channel, terminal::Quirk quirk) {
  event(terminal::unusable(quirk) ? Level::error : Level::warning,
        channel.name() + ": fault of the client: " + std::string(terminal::text(quirk)));
}

void TerminalRole::close(ChannelId channel, const std::string& reason) {
  outputs_.emplace_back(CloseChannel{channel, reason});
  forget(channel, reason);
}

void TerminalRole::forget(ChannelId channel, const std::string& reason) {
  const auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  const std::unique_ptr<Channel> gone = std::move(found->second);
  channels_.erase(found);
  if (gone->io) {
    gone->io->close();
    drain(*gone);
  }
  if (gone->state == State::running) {
    outputs_.emplace_back(DeviceGone{gone->device, reason});
  } else if (gone->io) {
    // Nobody else will hear of it: the owner does not know the device yet.
    event(Level::warning, gone->name() + " went away before it could be used: " + reason);
  } else {
    event(Level::info, gone->name() + " was closed: " + reason);
  }
  // The devices live on the session that the control channel stands for.
  if (gone->is_control) close_device_channels("the control channel was closed: " + reason);
}

void TerminalRole::close_device_channels(const std::string& reason) {
  tickets_.clear();
  while (!channels_.empty()) close(channels_.begin()->first, reason);
}

TerminalRole::Channel* TerminalRole::find(DeviceId device) {
  for (const auto& [id, channel] : channels_) {
    if (channel->device == device && channel->io) return channel.get();
  }
  return nullptr;
}

void TerminalRole::send(const Channel& channel, Bytes message) {
  outputs_.emplace_back(SendMessage{channel.id, std::move(message)});
}

void TerminalRole::event(Level level, std::string text) {
  outputs_.emplace_back(Event{level, std::move(text)});
}

}  // namespace tillbridge::rdpeusb
