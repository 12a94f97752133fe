#include "channel/rdpeusb/till_role.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/message.hpp"
#include "channel/rdpeusb/till_role_device.hpp"
#include "channel/rdpeusb/till_role_identity.hpp"
#include "channel/rdpeusb/till_role_stick.hpp"

namespace tillbridge::rdpeusb {

namespace {

/// Real Windows servers release interface 2 after CHANNEL_CREATED, and no client was seen to speak
/// before that; Microsoft's test suite never does. Waiting this long satisfies both.
constexpr Duration release_patience = std::chrono::milliseconds(500);
/// A server whose policy forbids redirection may just never open the channel.
constexpr Duration channel_patience = std::chrono::seconds(30);

}  // namespace

TillRole::TillRole() : next_usb_device_(pdu::interface_id::first_free) {}
TillRole::~TillRole() = default;

std::optional<TillRole::Output> TillRole::poll() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

// --- channels ------------------------------------------------------------------------------------

/// All channels have one name, so a channel's place in the order decides what it is: the control
/// channel if there is none, else the one that an ADD_VIRTUAL_CHANNEL asked for.
void TillRole::channel_opened(ChannelId id, Instant now) {
  if (channels_.count(id) != 0) end_channel(id, "the channel was opened again", now);
  closing_.erase(id);
  if (channels_.size() + closing_.size() >= limits::rdpeusb_channels) {
    log(Level::warning, channel_text(id) + ": closed, as there are too many");
    outputs_.emplace_back(CloseChannel{id, "too many channels"});
    return;
  }
  if (!control_) {
    control_ = id;
    channels_.emplace(id, Channel{});
    log(Level::debug, channel_text(id) + ": is the control channel");
    return;
  }
  if (!channel_requested_) {
    log(Level::warning, channel_text(id) + ": closed, as it was opened without being asked for");
    outputs_.emplace_back(CloseChannel{id, "a channel that was not asked for"});
    return;
  }
  channel_requested_.reset();
  missing_channel_logged_ = false;
  // It is for the oldest stick that waits; the one it was asked for may be gone by now.
  const auto device = next_waiting();
  if (!device) {
    log(Level::debug, channel_text(id) + ": closed, as its stick is gone");
    outputs_.emplace_back(CloseChannel{id, "the stick is gone"});
    return;
  }
  Channel channel;
  channel.device = device;
  channels_.emplace(id, std::move(channel));
  Offered& offered = devices_.at(*device);
  offered.state = Offer::has_channel;
  offered.channel = id;
  request_channel(now);
}

void TillRole::channel_closed(ChannelId id, Instant now) {
  if (closing_.erase(id) != 0) {
    request_channel(now);  // a stick may have waited for this
    return;
  }
  end_channel(id, "the terminal server closed its channel", now);
}

void TillRole::close(ChannelId id, const std::string& reason, Instant now) {
  if (const Channel& channel = channels_.at(id); channel.device) {
    close_device_channel(id, channel, reason);
  } else {
    outputs_.emplace_back(CloseChannel{id, reason});
  }
  end_channel(id, reason, now);
}

void TillRole::close_device_channel(ChannelId id, const Channel& channel,
                                    const std::string& reason) {
  outputs_.emplace_back(CloseChannel{id, reason});
  const till::Stick& stick = *devices_.at(*channel.device).stick;
  closing_.emplace(id, till::identity_of(stick.description(), false));
}

/// With the control channel everything ends, and the role starts afresh with the next channel
/// (FreeRDP's does not, so that its redirection is lost over a reconnect).
void TillRole::end_channel(ChannelId id, const std::string& reason, Instant now) {
  const auto found = channels_.find(id);
  if (found == channels_.end()) return;
  if (control_ != id) {
    Channel channel = std::move(found->second);
    channels_.erase(found);
    end_device(id, std::move(channel), Offer::left, reason);
    request_channel(now);
    return;
  }
  log(Level::info, channel_text(id) + ": the control channel ended: " + reason);
  channels_.erase(found);
  control_.reset();
  channel_requested_.reset();
  missing_channel_logged_ = false;
  for (auto& [other, channel] : std::exchange(channels_, {})) {
    close_device_channel(other, channel, "the control channel ended");
    end_device(other, std::move(channel), Offer::waiting, reason);
  }
  for (auto& [device, offered] : devices_) {
    if (offered.state == Offer::left) offered.state = Offer::waiting;
  }
}

void TillRole::end_device(ChannelId id, Channel channel, Offer next, const std::string& reason) {
  const DeviceId device = *channel.device;
  Offered& offered = devices_.at(device);
  offered.channel.reset();
  offered.state = next;
  offered.stick->abandon_all();
  if (next == Offer::removed) return;
  log(Level::info, "stick " + offered.stick->label() + " left the session (" + channel_text(id) +
                       "): " + reason);
  outputs_.emplace_back(DeviceLeftSession{device, reason});
}

// --- messages ------------------------------------------------------------------------------------

void TillRole::receive(ChannelId id, ByteView message, Instant now) {
  const auto found = channels_.find(id);
  if (found == channels_.end()) return;
  Channel& channel = found->second;
  pdu::TillContext context;
  if (channel.io) context.usb_device = channel.io->usb_device();
  Result<pdu::FromServer> decoded = pdu::decode_from_server(message, context);
  if (!decoded) {
    log(Level::warning, channel_text(id) + ": closed: " + decoded.error().message);
    close(id, decoded.error().message, now);
    return;
  }

  const pdu::FromServer& pdu = *decoded;
  if (const auto* capabilities = std::get_if<pdu::CapabilityRequest>(&pdu)) {
    // Whatever version is asked for, this is the one there is. Repeating it does no harm.
    pdu::CapabilityResponse response;
    response.message = capabilities->message;
    send(id, pdu::encode(response));
    if (channel.phase == Phase::wait_capabilities) channel.phase = Phase::wait_created;
  } else if (const auto* created = std::get_if<pdu::ChannelCreated>(&pdu)) {
    // IronRDP's server leaves the capability exchange out on device channels. FreeRDP does not
    // mind, and there is nothing to exchange: there is one version.
    const bool left_out = channel.phase == Phase::wait_capabilities && channel.device;
    if (channel.phase != Phase::wait_created && !left_out) return;  // out of sequence (3.1.5)
    if (!created->version_1_0()) {
      log(Level::warning, channel_text(id) + ": closed, as the terminal server speaks version " +
                              std::to_string(created->major) + '.' +
                              std::to_string(created->minor));
      close(id, "CHANNEL_CREATED of another version than 1.0", now);
      return;
    }
    handshake_created(id, channel, created->message, now);
  } else if (const auto* release = std::get_if<pdu::ReleaseInterface>(&pdu)) {
    if (release->mask != pdu::Mask::proxy ||
        release->address.interface != pdu::interface_id::notification_to_client) {
      return;
    }
    channel.notification_released = true;
    if (channel.phase == Phase::wait_release) announce(id, channel, now);
  } else if (const auto* query = std::get_if<pdu::QueryInterface>(&pdu)) {
    send(id, pdu::encode(pdu::QueryInterfaceResponse{query->address, std::nullopt}));
  } else if (const auto* unknown = std::get_if<pdu::UnknownFunction>(&pdu)) {
    send(id, pdu::encode(pdu::QueryInterfaceResponse{unknown->address, std::nullopt}));
  } else if (const auto* ignored = std::get_if<pdu::Ignored>(&pdu)) {
    log(Level::debug, channel_text(id) + ": message ignored: " + ignored->reason);
  } else if (channel.io) {
    if (const Status status = channel.io->receive(pdu, now); !status) {
      log(Level::warning, channel_text(id) + ": closed: " + status.error().message);
      close(id, status.error().message, now);
    }
  }
}

void TillRole::handshake_created(ChannelId id, Channel& channel, std::uint32_t message,
                                 Instant now) {
  pdu::ChannelCreated created;
  created.message = message;
  send(id, pdu::encode(created, pdu::Sender::till));
  channel.phase = Phase::wait_release;
  channel.announce_at = now + release_patience;
  if (channel.notification_released) announce(id, channel, now);
}

/// The end of a channel's handshake: the control channel may ask for channels, a device channel
/// says whose it is.
void TillRole::announce(ChannelId id, Channel& channel, Instant now) {
  channel.phase = Phase::announced;
  if (!channel.device) {
    request_channel(now);
    return;
  }
  till::Stick& stick = *devices_.at(*channel.device).stick;
  const std::uint32_t usb_device = next_usb_device_;
  // 30 bits; unique for longer than any connection lasts.
  next_usb_device_ = next_usb_device_ == pdu::interface_id::bits ? pdu::interface_id::first_free
                                                                 : next_usb_device_ + 1;
  channel.io = std::make_unique<till::DeviceChannel>(id, usb_device, stick, outputs_);
  send(id,
       pdu::encode(till::announcement_of(stick.description(), usb_device, stick.named_by_path())));
  log(Level::info,
      "stick " + stick.label() + " announced to the terminal server (" + channel_text(id) + ')');
}

/// ADD_VIRTUAL_CHANNEL carries no identifier, so there is at most one without its channel.
void TillRole::request_channel(Instant now) {
  if (!control_ || channel_requested_ || channels_.at(*control_).phase != Phase::announced) return;
  if (!next_waiting()) return;
  send(*control_, pdu::encode(pdu::AddVirtualChannel{}));
  channel_requested_ = now;
}

// --- sticks --------------------------------------------------------------------------------------

void TillRole::add_device(DeviceId id, TillDevice description, Instant now) {
  const auto found = devices_.find(id);
  if (found != devices_.end()) {
    Offered& offered = found->second;
    if (offered.state != Offer::left && offered.state != Offer::removed) return;
    offered.stick->describe(std::move(description));
    offered.state = Offer::waiting;
  } else {
    const std::string identity = till::identity_of(description.description, false);
    const bool duplicate = std::any_of(devices_.begin(), devices_.end(), [&](const auto& entry) {
      return entry.second.state != Offer::removed &&
             till::identity_of(entry.second.stick->description(), false) == identity;
    });
    if (duplicate) {
      log(Level::warning,
          "stick " + description.description.label() +
              ": another stick with the same ids and serial is here, so Windows tells it by its "
              "port (" +
              description.description.path + ") and takes it for a new device in another one");
    }
    auto stick = std::make_unique<till::Stick>(id, std::move(description), duplicate, outputs_);
    devices_.emplace(id, Offered{std::move(stick), Offer::waiting, std::nullopt});
  }
  offer(id);
  request_channel(now);
}

void TillRole::offer(DeviceId id) {
  order_.erase(std::remove(order_.begin(), order_.end(), id), order_.end());
  order_.push_back(id);
}

void TillRole::remove_device(DeviceId id, Instant now) {
  const auto found = devices_.find(id);
  if (found == devices_.end()) return;
  Offered& offered = found->second;
  if (offered.channel) {
    const ChannelId channel_id = *offered.channel;
    const auto channel = channels_.find(channel_id);
    // A closed channel is how the protocol says "unplugged"; nothing that runs is completed.
    close_device_channel(channel_id, channel->second, "the stick is gone");
    Channel ended = std::move(channel->second);
    channels_.erase(channel);
    log(Level::info, "stick " + offered.stick->label() + " taken out of the session (" +
                         channel_text(channel_id) + ')');
    end_device(channel_id, std::move(ended), Offer::removed, {});
  }
  offered.state = Offer::removed;
  order_.erase(std::remove(order_.begin(), order_.end(), id), order_.end());
  forget_if_drained(id);
  request_channel(now);
}

void TillRole::complete(DeviceId id, usb::Completion completion, Instant now) {
  const auto found = devices_.find(id);
  if (found == devices_.end()) return;
  Offered& offered = found->second;
  const auto flight = offered.stick->land(completion);
  if (!flight) return;
  if (offered.channel) {
    const auto& io = channels_.at(*offered.channel).io;
    if (!io) return;
    if (flight->request) {
      io->complete(*flight->request, std::move(completion), now);
    } else {
      io->abandoned_ended(now);
    }
    return;
  }
  forget_if_drained(id);
  request_channel(now);  // a stick may have waited for this
}

void TillRole::forget_if_drained(DeviceId id) {
  const auto found = devices_.find(id);
  if (found->second.state == Offer::removed && found->second.stick->idle()) devices_.erase(found);
}

std::optional<DeviceId> TillRole::next_waiting() const {
  for (const DeviceId id : order_) {
    if (may_be_announced(id, devices_.at(id))) return id;
  }
  return std::nullopt;
}

/// Not while a transfer of an earlier channel is still out: its end would be taken for that of a
/// new one by the stick. Nor while that channel is still open: the server would see the stick twice
/// under one instance id. Both hold for a stick that was removed and comes back under another id,
/// too.
bool TillRole::may_be_announced(DeviceId id, const Offered& offered) const {
  if (offered.state != Offer::waiting || !offered.stick->idle()) return false;
  const std::string identity = till::identity_of(offered.stick->description(), false);
  const bool channel_open = std::any_of(closing_.begin(), closing_.end(), [&](const auto& entry) {
    return entry.second == identity;
  });
  if (channel_open) return false;
  return std::none_of(devices_.begin(), devices_.end(), [&](const auto& entry) {
    return entry.first != id && entry.second.state == Offer::removed &&
           till::identity_of(entry.second.stick->description(), false) == identity;
  });
}

// --- time ----------------------------------------------------------------------------------------

void TillRole::advance(Instant now) {
  for (auto& [id, channel] : channels_) {
    if (channel.phase == Phase::wait_release && channel.announce_at <= now) {
      announce(id, channel, now);
    }
    if (channel.io) channel.io->advance(now);
  }
  if (channel_requested_ && !missing_channel_logged_ &&
      *channel_requested_ + channel_patience <= now) {
    missing_channel_logged_ = true;
    log(Level::warning,
        "the terminal server has not opened a channel for a stick for 30 s; its group policy \"Do "
        "not allow supported Plug and Play device redirection\" must be set to Disabled");
  }
}

std::optional<Instant> TillRole::next_deadline() const {
  std::optional<Instant> next;
  const auto take = [&](std::optional<Instant> deadline) {
    if (deadline && (!next || *deadline < *next)) next = deadline;
  };
  for (const auto& [id, channel] : channels_) {
    if (channel.phase == Phase::wait_release) take(channel.announce_at);
    if (channel.io) take(channel.io->next_deadline());
  }
  if (channel_requested_ && !missing_channel_logged_) take(*channel_requested_ + channel_patience);
  return next;
}

// --- outputs -------------------------------------------------------------------------------------

void TillRole::send(ChannelId channel, Bytes message) {
  outputs_.emplace_back(SendMessage{channel, std::move(message)});
}

void TillRole::log(Level level, std::string text) {
  outputs_.emplace_back(Event{level, std::move(text)});
}

std::string TillRole::channel_text(ChannelId id) const {
  return "channel " + std::to_string(id) + (control_ == id ? " (control)" : "");
}

}  // namespace tillbridge::rdpeusb
