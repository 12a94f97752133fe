#include "server/terminal/client_line.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>
#include <variant>

#include "channel/bytes/limits.hpp"

namespace tillbridge::terminal {
namespace {

Instant clock_now() {
  return std::chrono::duration_cast<Instant>(std::chrono::steady_clock::now().time_since_epoch());
}

std::string or_unknown(const std::string& text) {
  return text.empty() ? "(unnamed)" : text;
}

}  // namespace

ClientLine::ClientLine(std::uint32_t number, std::unique_ptr<RdpPeer> peer, Reporter& reporter,
                       std::shared_ptr<TranscriptFile> transcript, int stop_descriptor)
    : number_(number),
      peer_(std::move(peer)),
      reporter_(reporter),
      stop_descriptor_(stop_descriptor),
      now_(clock_now()),
      transcript_(std::move(transcript), number, now_) {}

void ClientLine::wait(std::vector<pollfd>& others, std::optional<Instant> deadline) {
  polled_.clear();
  polled_.push_back(pollfd{stop_descriptor_, POLLIN, 0});
  peer_->add_polled(polled_);
  const std::size_t first_other = polled_.size();
  polled_.insert(polled_.end(), others.begin(), others.end());
  if (peer_->input_pending()) deadline = Instant(0);

  timespec patience{};
  if (deadline) {
    const Duration left = std::max(*deadline - clock_now(), Duration(0));
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    patience.tv_sec = seconds.count();
    patience.tv_nsec = std::chrono::nanoseconds(left - seconds).count();
  }
  if (::ppoll(polled_.data(), polled_.size(), deadline ? &patience : nullptr, nullptr) < 0) {
    for (pollfd& polled : polled_) polled.revents = 0;  // a signal: go round
  }
  std::copy(polled_.begin() + static_cast<std::ptrdiff_t>(first_other), polled_.end(),
            others.begin());

  now_ = clock_now();
  if (polled_.front().revents != 0) {
    stopped_ = !ended_;
    finish("tillbridge-terminal stops");
  }
  if (Status serviced = peer_->service(); !serviced) {
    logon_refused_ = serviced.error().code == ErrorCode::refused;
    finish(serviced.error().message);
  }
}

std::optional<RdpPeer::Event> ClientLine::poll() {
  auto event = peer_->poll();
  if (event) note(*event);
  return event;
}

void ClientLine::note(const RdpPeer::Event& event) {
  if (const auto* activation = std::get_if<RdpPeer::Activated>(&event)) {
    activated_ = true;
    report_activation(activation->facts);
  } else if (std::holds_alternative<RdpPeer::ChannelsMissing>(event)) {
    report({"no_channels",
            "the client has no dynamic channels, so it cannot redirect a stick; start it with "
            "/dvc:tillbridge (or "
            "/usb:...)",
            {},
            rdpeusb::Level::warning});
  } else if (const auto* opened = std::get_if<RdpPeer::ChannelOpened>(&event)) {
    transcript_.opened(opened->channel, now_);
  } else if (const auto* refused = std::get_if<RdpPeer::ChannelRefused>(&event)) {
    report({"channel_refused",
            "the client refused the channel URBDRC (status " + std::to_string(refused->status) +
                "); its plugin is missing or has no stick",
            {{"status", std::int64_t{refused->status}}},
            rdpeusb::Level::warning});
    transcript_.refused(now_);
  } else if (const auto* closed = std::get_if<RdpPeer::ChannelClosed>(&event)) {
    transcript_.closed(closed->channel, "client", now_);
  } else if (const auto* message = std::get_if<RdpPeer::Message>(&event)) {
    transcript_.received(message->channel, message->bytes, now_);
  }
}

void ClientLine::report_activation(const PeerFacts& facts) {
  const std::string user = facts.domain.empty() ? facts.user : facts.domain + "\\" + facts.user;
  report({"session_opened",
          "opened by user " + or_unknown(user) + ", client " + or_unknown(facts.client_name) +
              ", from " + facts.address,
          {{"user", facts.user},
           {"domain", facts.domain},
           {"client", facts.client_name},
           {"address", facts.address}}});
}

void ClientLine::send(rdpeusb::ChannelId channel, Bytes message) {
  waiting_bytes_ += message.size();
  waiting_.push_back({channel, std::move(message)});
  if (waiting_bytes_ > limits::terminal_kept_bytes)
    finish("the client does not read what it is sent");
}

void ClientLine::close_channel(rdpeusb::ChannelId channel) {
  waiting_.push_back({channel, std::nullopt});
}

void ClientLine::send_waiting() {
  if (!ended_) write();
}

void ClientLine::write() {
  // A channel that was opened in this round is a request in FreeRDP's queue, and nothing else may
  // be waiting.
  if (Status flushed = peer_->flush(); !flushed) return finish(flushed.error().message);
  while (!waiting_.empty() && !peer_->write_blocked()) {
    const Waiting& item = waiting_.front();
    if (item.message) {
      waiting_bytes_ -= item.message->size();
      transcript_.sent(item.channel, *item.message, now_);
      peer_->send(item.channel, *item.message);
    } else {
      transcript_.closed(item.channel, "server", now_);
      peer_->close_channel(item.channel);
    }
    waiting_.pop_front();
    if (Status flushed = peer_->flush(); !flushed) return finish(flushed.error().message);
  }
}

void ClientLine::finish(std::string reason) {
  if (!ended_) ended_ = std::move(reason);
}

void ClientLine::close() {
  write();  // what was said at the end, if the client still listens
  peer_->say_goodbye();
  const std::string reason = ended_.value_or("done");
  report({"session_closed",
          "closed: " + reason,
          {{"reason", reason}},
          activated_ ? rdpeusb::Level::info : rdpeusb::Level::warning});
}

}  // namespace tillbridge::terminal
