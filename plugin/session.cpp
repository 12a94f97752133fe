#include "plugin/session.hpp"

#include <utility>
#include <variant>

namespace tillbridge::plugin {

Session::Session(transport::Loop& loop, std::unique_ptr<Uplink> uplink, Channels& channels,
                 Log& log)
    : loop_(loop),
      uplink_(std::move(uplink)),
      channels_(channels),
      log_(log),
      deadline_(loop, [this] {
        role_.advance(loop_.now());
        pump();
      }) {}

void Session::start() {
  uplink_->start(
      {.offered = [this](const Offer& offer) { offered(offer); },
       .received =
           [this](StickId stick, ByteView bytes) {
             const auto found = sticks_.find(stick);
             if (found == sticks_.end()) return;
             found->second->stick.receive(bytes);
             pump();
           },
       .withdrawn = [this](StickId stick, const std::string& reason) { withdrawn(stick, reason); },
       .writable = [this] { pump(); },
       .interrupted = [this](StickId stick) { interrupted(stick); },
       .restored = [this](StickId stick) { restored(stick); },
       .pausing =
           [this] {
             pausing_ = true;
             for (const auto& [id, entry] : sticks_) entry->stick.pause();
             pump();
           },
       .going_on =
           [this] {
             pausing_ = false;
             for (const auto& [id, entry] : sticks_) entry->stick.go_on();
             pump();
           }});
}

void Session::channel_opened(ChannelId channel) {
  role_.channel_opened(channel, loop_.now());
  pump();
}

void Session::receive(ChannelId channel, ByteView message) {
  role_.receive(channel, message, loop_.now());
  pump();
}

void Session::channel_closed(ChannelId channel) {
  role_.channel_closed(channel, loop_.now());
  pump();
}

void Session::stop(std::function<void()> stopped) {
  stopping_ = true;
  deadline_.cancel();
  for (const auto& [id, entry] : sticks_) tell_of_pipeline(*entry);
  uplink_->stop(std::move(stopped));
}

void Session::offered(const Offer& offer) {
  log_.write(Level::info, "stick " + offer.label + " is for this till; taking it");
  auto entry = std::make_unique<Entry>(offer);
  entry->stick.start();
  sticks_.emplace(offer.stick, std::move(entry));
  pump();
}

void Session::withdrawn(StickId stick, const std::string& reason) {
  const auto found = sticks_.find(stick);
  if (found == sticks_.end()) return;
  const std::unique_ptr<Entry> entry = std::move(found->second);
  sticks_.erase(found);
  log_.write(Level::warning, "stick " + entry->label + " is gone: " + reason);
  retire(stick, *entry);
  pump();
}

// The server was restarted. The session notices nothing but a wait, and an error for each transfer
// whose fate nobody knows.
void Session::interrupted(StickId stick) {
  pausing_ = false;
  const auto found = sticks_.find(stick);
  if (found == sticks_.end() || !found->second->stick.works()) {
    sticks_.erase(stick);
    uplink_->release(stick);
    return;
  }
  found->second->stick.interrupted();
  pump();
}

void Session::restored(StickId stick) {
  const auto found = sticks_.find(stick);
  if (found == sticks_.end()) return;
  found->second->stick.import_again();
  pump();
}

void Session::tell_if_paused() {
  if (!pausing_) return;
  for (const auto& [id, entry] : sticks_) {
    if (!entry->stick.quiet()) return;
  }
  pausing_ = false;
  uplink_->paused();
}

void Session::pump() {
  // What a step causes may call back into here; the outermost call finishes the work.
  if (pumping_ || stopping_) return;
  pumping_ = true;
  bool progress = true;
  while (progress) {
    progress = pump_role();
    // Behind the one that sent last, which may have taken all the room there was. A step may take
    // away this entry or another one: look for the next one each time.
    StickId stick = last_sent_;
    for (std::size_t left = sticks_.size(); left > 0 && !sticks_.empty(); --left) {
      auto next = sticks_.upper_bound(stick);
      if (next == sticks_.end()) next = sticks_.begin();
      stick = next->first;
      if (pump_stick(*next->second)) progress = true;
    }
  }
  pumping_ = false;
  tell_if_paused();
  uplink_->flush();
  deadline_.set(role_.next_deadline());
}

bool Session::pump_role() {
  bool progress = false;
  while (auto output = role_.poll()) {
    progress = true;
    take(std::move(*output));
  }
  return progress;
}

void Session::take(rdpeusb::TillRole::Output output) {
  using Role = rdpeusb::TillRole;
  if (auto* message = std::get_if<Role::SendMessage>(&output)) {
    channels_.send(message->channel, std::move(message->message));
  } else if (auto* submit = std::get_if<Role::Submit>(&output)) {
    const auto found = sticks_.find(submit->device);
    if (found != sticks_.end()) {
      found->second->stick.submit(std::move(submit->transfer));
    } else {  // withdrawn while this output waited
      usb::Completion completion;
      completion.id = submit->transfer.id;
      completion.status = usb::TransferStatus::device_gone;
      role_.complete(submit->device, std::move(completion), loop_.now());
    }
  } else if (const auto* cancel = std::get_if<Role::Cancel>(&output)) {
    const auto found = sticks_.find(cancel->device);
    if (found != sticks_.end()) found->second->stick.cancel(cancel->transfer);
  } else if (const auto* close = std::get_if<Role::CloseChannel>(&output)) {
    log_.write(Level::debug, "closing a channel to the terminal server: " + close->reason);
    channels_.close(close->channel);
  } else if (const auto* arrived = std::get_if<Role::DeviceInSession>(&output)) {
    log_.write(Level::info, "stick " + label(arrived->device) + " is in the session");
  } else if (const auto* event = std::get_if<Role::Event>(&output)) {
    log_.write(event->level, event->text);
  }
  // DeviceLeftSession needs nothing done: the role logs it, and the stick stays with this till for
  // as long as the RDP connection lasts, since the terminal server may come back for it with a new
  // control channel.
}

bool Session::pump_stick(Entry& entry) {
  const StickId id = entry.offer.stick;
  bool progress = false;
  while (auto output = entry.stick.poll(uplink_->can_send())) {
    progress = true;
    if (auto* send = std::get_if<Stick::Send>(&*output)) {
      last_sent_ = id;
      uplink_->send(id, std::move(send->bytes));
    } else if (auto* completed = std::get_if<Stick::Completed>(&*output)) {
      role_.complete(id, std::move(completed->completion), loop_.now());
    } else if (auto* ready = std::get_if<Stick::Ready>(&*output)) {
      entry.label = ready->description.label();
      entry.offered_to_session = true;
      uplink_->usable(id);
      role_.add_device(id,
                       {.description = std::move(ready->description), .reset = entry.offer.reset},
                       loop_.now());
    } else if (std::holds_alternative<Stick::Returned>(*output)) {
      uplink_->usable(id);
      log_.write(Level::info, "stick " + entry.label + " goes on after the restart");
    } else if (const auto* failed = std::get_if<Stick::Failed>(&*output)) {
      refuse(id, "stick " + entry.label + " cannot be used: " + failed->error.message);
      return true;  // the entry is gone
    }
  }
  return progress;
}

void Session::refuse(StickId stick, const std::string& why) {
  const auto found = sticks_.find(stick);
  const std::unique_ptr<Entry> entry = std::move(found->second);
  sticks_.erase(found);
  retire(stick, *entry);
  uplink_->refuse(stick, why);
}

void Session::retire(StickId stick, Entry& entry) {
  if (!entry.offered_to_session) return;
  // First the device leaves the session, then its running transfers end; the role keeps count of
  // them.
  role_.remove_device(stick, loop_.now());
  entry.stick.lost();
  while (auto output = entry.stick.poll()) {
    if (auto* completed = std::get_if<Stick::Completed>(&*output)) {
      role_.complete(stick, std::move(completed->completion), loop_.now());
    }
  }
  tell_of_pipeline(entry);
}

void Session::tell_of_pipeline(const Entry& entry) {
  const auto* counters = entry.stick.pipeline();
  if (counters == nullptr || counters->commands == 0) return;
  log_.write(Level::info, "stick " + entry.label + ": " + counters->text());
}

std::string Session::label(StickId stick) const {
  const auto found = sticks_.find(stick);
  return found == sticks_.end() ? std::to_string(stick) : found->second->label;
}

}  // namespace tillbridge::plugin
