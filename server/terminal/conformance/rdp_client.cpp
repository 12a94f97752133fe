#include "server/terminal/conformance/rdp_client.hpp"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "channel/bytes/limits.hpp"

namespace tillbridge::terminal::conformance {

Instant RdpClient::now() const {
  return std::chrono::duration_cast<Instant>(std::chrono::steady_clock::now().time_since_epoch());
}

void RdpClient::turn(std::optional<Instant> deadline) {
  line_.send_waiting();
  if (line_.ended()) return;
  std::vector<pollfd> nothing_else;
  line_.wait(nothing_else, deadline);
  take_events();
}

void RdpClient::take_events() {
  while (auto event = line_.poll()) {
    std::visit([this](auto& value) { take(value); }, *event);
  }
}

std::optional<rdpeusb::ChannelId> RdpClient::open_channel(Duration patience) {
  const Instant deadline = now() + patience;
  answer_.reset();
  line_.open_channel(++last_ticket_);
  take_events();  // refused at once, e.g. above the limit
  while (!answer_ && !line_.ended() && now() < deadline) turn(deadline);
  ++last_ticket_;  // an answer that comes after this one is late
  return std::exchange(answer_, std::nullopt).value_or(std::nullopt);
}

void RdpClient::send(rdpeusb::ChannelId channel, ByteView message) {
  if (!open_.contains(channel)) return;
  line_.send(channel, Bytes(message.begin(), message.end()));
  line_.send_waiting();
}

void RdpClient::close_channel(rdpeusb::ChannelId channel) {
  if (open_.erase(channel) == 0) return;
  forget(channel);
  line_.close_channel(channel);
  line_.send_waiting();
}

std::optional<Client::Event> RdpClient::next(Duration patience) {
  const Instant deadline = now() + patience;
  while (events_.empty()) {
    if (line_.ended()) return Gone{};
    turn(deadline);
    if (now() >= deadline) break;
  }
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  if (const auto* message = std::get_if<Message>(&event)) event_bytes_ -= message->bytes.size();
  return event;
}

void RdpClient::start_anew() {
  while (!open_.empty()) close_channel(*open_.begin());
  events_.clear();
  event_bytes_ = 0;
}

void RdpClient::take(const RdpPeer::ChannelOpened& event) {
  if (event.ticket != last_ticket_) {
    line_.close_channel(event.channel);
    return;
  }
  open_.insert(event.channel);
  answer_ = event.channel;
}

void RdpClient::take(const RdpPeer::ChannelRefused& event) {
  if (event.ticket == last_ticket_) answer_ = std::optional<rdpeusb::ChannelId>();
}

void RdpClient::take(const RdpPeer::ChannelClosed& event) {
  if (open_.erase(event.channel) != 0) events_.emplace_back(Closed{event.channel});
}

void RdpClient::take(RdpPeer::Message& event) {
  if (!open_.contains(event.channel)) return;
  event_bytes_ += event.bytes.size();
  events_.emplace_back(Message{event.channel, std::move(event.bytes)});
  if (event_bytes_ > limits::terminal_kept_bytes)
    line_.finish("the client sends more than any case waits for");
}

/// What it sent before the server closed the channel is of no interest any more.
void RdpClient::forget(rdpeusb::ChannelId channel) {
  const auto of_channel = [&](const Event& event) {
    const auto* message = std::get_if<Message>(&event);
    if (message == nullptr || message->channel != channel) return false;
    event_bytes_ -= message->bytes.size();
    return true;
  };
  events_.erase(std::remove_if(events_.begin(), events_.end(), of_channel), events_.end());
}

}  // namespace tillbridge::terminal::conformance
