// A till as the conformance cases see it: a TillRole behind its byte interface with a simulated
// device behind it, in virtual time.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "channel/rdpeusb/till_role.hpp"
#include "server/simulator/device.hpp"
#include "server/terminal/conformance/client.hpp"

namespace tillbridge::terminal::conformance::testing {

/// What a case cannot see: that every transfer reaches the device once, under an id that is free,
/// and that the device is released when its channel ends.
class TillClient final : public Client {
 public:
  explicit TillClient(std::unique_ptr<simulator::Device> device,
                      rdpeusb::ResetPolicy reset = rdpeusb::ResetPolicy::soften)
      : device_(std::move(device)) {
    role_.add_device(device_id, {device_->description(), reset}, now_);
  }

  [[nodiscard]] std::optional<rdpeusb::ChannelId> open_channel(Duration) override {
    const rdpeusb::ChannelId channel = ++last_channel_;
    open_.insert(channel);
    role_.channel_opened(channel, now_);
    settle();
    return channel;
  }
  void send(rdpeusb::ChannelId channel, ByteView message) override {
    if (open_.count(channel) == 0) return;
    role_.receive(channel, message, now_);
    settle();
  }
  void close_channel(rdpeusb::ChannelId channel) override {
    if (open_.erase(channel) == 0) return;
    role_.channel_closed(channel, now_);
    settle();
  }
  [[nodiscard]] std::optional<Event> next(Duration patience) override {
    const Instant deadline = now_ + patience;
    std::size_t standing = 0;  // turns in which time did not move
    while (events_.empty()) {
      auto due = next_deadline();
      standing = due && *due <= now_ ? standing + 1 : 0;
      if (standing > most_turns) {
        fault("a deadline that has passed is still the next one");
        due.reset();
      }
      if (!due || *due > deadline) {
        move_to(deadline);
        break;
      }
      move_to(*due);
    }
    if (events_.empty()) return std::nullopt;
    Event event = std::move(events_.front());
    events_.pop_front();
    return event;
  }
  [[nodiscard]] Instant now() const override { return now_; }

  // --- what a case cannot see
  static constexpr rdpeusb::DeviceId device_id = 1;
  [[nodiscard]] simulator::Device& device() { return *device_; }
  /// Transfers that the device has and has not ended.
  [[nodiscard]] std::size_t running() const { return running_.size(); }
  [[nodiscard]] std::size_t submitted() const { return submitted_; }
  /// Of them, to this endpoint address; control transfers do not count.
  [[nodiscard]] std::size_t submitted_to(std::uint8_t endpoint) const {
    const auto found = by_endpoint_.find(endpoint);
    return found == by_endpoint_.end() ? 0 : found->second;
  }
  [[nodiscard]] std::size_t cancelled() const { return cancelled_; }
  /// Things that must not happen, whatever the server says.
  [[nodiscard]] const std::vector<std::string>& faults() const { return faults_; }
  [[nodiscard]] const std::set<rdpeusb::ChannelId>& open_channels() const { return open_; }
  /// DeviceInSession without DeviceLeftSession.
  [[nodiscard]] bool in_session() const { return in_session_; }
  /// Every message that the till sent, in order.
  [[nodiscard]] const std::vector<Message>& sent() const { return sent_; }

 private:
  [[nodiscard]] std::optional<Instant> next_deadline() const {
    const auto role = role_.next_deadline();
    const auto device = device_->next_deadline();
    if (!role || !device) return role ? role : device;
    return std::min(*role, *device);
  }
  void move_to(Instant instant) {
    now_ = std::max(now_, instant);
    device_->advance(now_);
    role_.advance(now_);
    settle();
  }
  /// Until neither has anything to say.
  void settle() {
    while (true) {
      if (const auto output = role_.poll()) {
        std::visit([&](const auto& value) { handle(value); }, *output);
      } else if (auto completion = device_->poll_completion()) {
        if (running_.erase(completion->id) == 0) fault("the device completed a transfer twice");
        role_.complete(device_id, std::move(*completion), now_);
      } else if (!closing_.empty()) {
        role_.channel_closed(closing_.front(), now_);
        closing_.pop_front();
      } else {
        return;
      }
    }
  }
  void handle(const rdpeusb::TillRole::SendMessage& send) {
    if (open_.count(send.channel) == 0) fault("a message on a channel that is not open");
    sent_.push_back({send.channel, send.message});
    events_.emplace_back(Message{send.channel, send.message});
  }
  void handle(const rdpeusb::TillRole::CloseChannel& close) {
    if (open_.erase(close.channel) == 0) return fault("a close of a channel that is not open");
    events_.emplace_back(Closed{close.channel});
    closing_.push_back(close.channel);
  }
  void handle(const rdpeusb::TillRole::Submit& submit) {
    ++submitted_;
    if (submit.transfer.type != usb::TransferType::control) {
      ++by_endpoint_[submit.transfer.endpoint];
    }
    if (!running_.insert(submit.transfer.id).second) fault("a transfer id that is in use");
    device_->submit(submit.transfer, now_);
  }
  void handle(const rdpeusb::TillRole::Cancel& cancel) {
    ++cancelled_;
    device_->cancel(cancel.transfer, now_);
  }
  void handle(const rdpeusb::TillRole::DeviceInSession&) {
    if (in_session_) fault("in the session twice");
    in_session_ = true;
  }
  void handle(const rdpeusb::TillRole::DeviceLeftSession&) { in_session_ = false; }
  void handle(const rdpeusb::TillRole::Event&) {}
  void fault(std::string text) { faults_.push_back(std::move(text)); }

  static constexpr std::size_t most_turns = 10'000;

  std::unique_ptr<simulator::Device> device_;
  rdpeusb::TillRole role_;
  Instant now_ = std::chrono::seconds(1);
  rdpeusb::ChannelId last_channel_ = 0;
  std::set<rdpeusb::ChannelId> open_;
  std::deque<rdpeusb::ChannelId> closing_;  ///< by the role, which has not heard of it yet
  std::deque<Event> events_;
  std::set<usb::TransferId> running_;
  std::size_t submitted_ = 0, cancelled_ = 0;
  std::map<std::uint8_t, std::size_t> by_endpoint_;
  bool in_session_ = false;
  std::vector<std::string> faults_;
  std::vector<Message> sent_;
};

}  // namespace tillbridge::terminal::conformance::testing
