#include "server/terminal/session.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <type_traits>
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

Session::Session(std::uint32_t number, std::unique_ptr<RdpPeer> peer, std::unique_ptr<Sink> sink,
                 Rules rules, Reporter& reporter, int stop_descriptor)
    : number_(number),
      peer_(std::move(peer)),
      sink_(std::move(sink)),
      intake_(std::move(rules.named)),
      reporter_(reporter),
      stop_descriptor_(stop_descriptor),
      now_(clock_now()),
      transcript_(std::move(rules.transcript), number, now_) {}

/// One round: wait, read, move everything on, send. False when the session is over.
bool Session::turn() {
  wait();
  now_ = clock_now();
  if (polled_.front().revents != 0) finish("tillbridge-terminal stops");

  // What the client sent before it went still counts, so its end is looked at after its events.
  const Status serviced = peer_->service();
  while (auto event = peer_->poll()) {
    std::visit([this](auto& value) { take(value); }, *event);
  }
  if (!serviced) finish(serviced.error().message);
  for (std::size_t i = sink_polled_; i < polled_.size(); ++i) {
    if (polled_[i].revents != 0) sink_->ready(polled_[i], now_);
  }
  role_.advance(now_);
  intake_.advance(now_);
  sink_->advance(now_);
  drain();
  if (!ended_) send_waiting();
  return !ended_;
}

void Session::wait() {
  polled_.clear();
  polled_.push_back(pollfd{stop_descriptor_, POLLIN, 0});
  peer_->add_polled(polled_);
  sink_polled_ = polled_.size();
  sink_->add_polled(polled_);

  std::optional<Instant> next;
  for (const auto& deadline :
       {role_.next_deadline(), intake_.next_deadline(), sink_->next_deadline()}) {
    if (deadline) next = std::min(next.value_or(*deadline), *deadline);
  }
  if (peer_->input_pending()) next = Instant(0);

  timespec patience{};
  if (next) {
    const Duration left = std::max(*next - clock_now(), Duration(0));
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    patience.tv_sec = seconds.count();
    patience.tv_nsec = std::chrono::nanoseconds(left - seconds).count();
  }
  if (::ppoll(polled_.data(), polled_.size(), next ? &patience : nullptr, nullptr) < 0) {
    for (pollfd& polled : polled_) polled.revents = 0;  // a signal: go round
  }
}

void Session::finish(std::string reason) {
  if (!ended_) ended_ = std::move(reason);
}

void Session::end() {
  sink_->session_ended(now_);
  while (auto output = sink_->poll()) {
    if (const auto* told = std::get_if<Report>(&*output)) take(*told);
  }
  peer_->say_goodbye();
  const rdpeusb::Level level = outcome_.activated ? rdpeusb::Level::info : rdpeusb::Level::warning;
  report({"session_closed", "closed: " + *ended_, {{"reason", *ended_}}, level});
}

// --- the client
// ----------------------------------------------------------------------------------------------

void Session::take(RdpPeer::Activated& event) {
  outcome_.activated = true;
  const PeerFacts& facts = event.facts;
  const std::string user = facts.domain.empty() ? facts.user : facts.domain + "\\" + facts.user;
  report({"session_opened",
          "opened by user " + or_unknown(user) + ", client " + or_unknown(facts.client_name) +
              ", from " + facts.address,
          {{"user", facts.user},
           {"domain", facts.domain},
           {"client", facts.client_name},
           {"address", facts.address}}});
}

void Session::take(const RdpPeer::ChannelsReady& /*event*/) {
  role_.start(now_);
}

void Session::take(const RdpPeer::ChannelsMissing& /*event*/) {
  report({"no_channels",
          "the client has no dynamic channels, so it cannot redirect a stick; start it with "
          "/dvc:tillbridge (or "
          "/usb:...)",
          {},
          rdpeusb::Level::warning});
}

void Session::take(const RdpPeer::ChannelOpened& event) {
  transcript_.opened(event.channel, now_);
  role_.channel_opened(event.ticket, event.channel, now_);
}

void Session::take(const RdpPeer::ChannelRefused& event) {
  report({"channel_refused",
          "the client refused the channel URBDRC (status " + std::to_string(event.status) +
              "); its plugin is missing or has no stick",
          {{"status", std::int64_t{event.status}}},
          rdpeusb::Level::warning});
  transcript_.refused(now_);
  role_.channel_refused(event.ticket, now_);
}

void Session::take(const RdpPeer::ChannelClosed& event) {
  transcript_.closed(event.channel, "client", now_);
  role_.channel_closed(event.channel, now_);
}

void Session::take(RdpPeer::Message& event) {
  transcript_.received(event.channel, event.bytes, now_);
  role_.receive(event.channel, event.bytes, now_);
}

// --- the role
// --------------------------------------------------------------------------------------------------

void Session::take(const rdpeusb::TerminalRole::OpenChannel& output) {
  peer_->open_channel(output.ticket);
  while (auto event = peer_->poll()) {  // refused at once, e.g. above the limit
    std::visit([this](auto& value) { take(value); }, *event);
  }
}

void Session::take(rdpeusb::TerminalRole::SendMessage& output) {
  waiting_bytes_ += output.message.size();
  waiting_.emplace_back(std::move(output));
  if (waiting_bytes_ > limits::terminal_kept_bytes)
    finish("the client does not read what it is sent");
}

void Session::take(const rdpeusb::TerminalRole::CloseChannel& output) {
  waiting_.emplace_back(output);
}

void Session::take(rdpeusb::TerminalRole::DeviceArrived& output) {
  report({"device_announced",
          "device " + std::to_string(output.device) +
              " announced: " + output.announced.instance_id +
              (output.announced.description.empty() ? ""
                                                    : ", \"" + output.announced.description + "\""),
          {{"device", std::int64_t{output.device}},
           {"instance_id", output.announced.instance_id},
           {"container_id", output.announced.container_id},
           {"description", output.announced.description}}});
  intake_.device_arrived(output.device, std::move(output.announced), now_);
}

void Session::take(const rdpeusb::TerminalRole::DeviceGone& output) {
  intake_.device_gone(output.device);
  if (admitted_.erase(output.device) != 0) sink_->device_gone(output.device, output.reason, now_);
  report({"device_gone",
          "device " + std::to_string(output.device) + " gone: " + output.reason,
          {{"device", std::int64_t{output.device}}, {"reason", output.reason}}});
}

void Session::take(rdpeusb::TerminalRole::Completed& output) {
  if (intake_.completed(output.device, output.completion, now_)) return;
  if (admitted_.contains(output.device))
    sink_->completed(output.device, std::move(output.completion), now_);
}

void Session::take(const rdpeusb::TerminalRole::IoControlCompleted& output) {
  if (admitted_.contains(output.device)) sink_->io_control_completed(output.device, now_);
}

void Session::take(const rdpeusb::TerminalRole::Event& output) {
  report({"protocol", output.text, {}, output.level});
}

// --- the intake
// ------------------------------------------------------------------------------------------------

void Session::take(DeviceIntake::Submit& output) {
  role_.submit(output.device, std::move(output.transfer), now_);
}

void Session::take(const DeviceIntake::Cancel& output) {
  role_.cancel(output.device, output.transfer, now_);
}

void Session::take(DeviceIntake::Admitted& output) {
  const usb::DeviceDescription& description = output.device.description;
  std::string text =
      "device " + std::to_string(output.device.id) + " arrived: " + description.label();
  if (!description.product.empty())
    text += ", \"" + description.manufacturer + " " + description.product + "\"";
  text += ", " + std::string(usb::name(description.speed));
  report({"device_arrived",
          std::move(text),
          {{"device", std::int64_t{output.device.id}},
           {"label", description.label()},
           {"vendor_id", std::int64_t{description.device.vendor_id}},
           {"product_id", std::int64_t{description.device.product_id}},
           {"serial", description.serial},
           {"product", description.product}}});
  admitted_.insert(output.device.id);
  sink_->device_arrived(std::move(output.device), now_);
}

void Session::take(const DeviceIntake::Refused& output) {
  report({"device_refused",
          "device " + std::to_string(output.device) + " refused: " + output.reason,
          {{"device", std::int64_t{output.device}}, {"reason", output.reason}},
          rdpeusb::Level::warning});
  role_.retract(output.device, output.reason, now_);
}

// --- the sink
// --------------------------------------------------------------------------------------------------

void Session::take(Sink::Submit& output) {
  role_.submit(output.device, std::move(output.transfer), now_);
}

void Session::take(const Sink::Cancel& output) {
  role_.cancel(output.device, output.transfer, now_);
}

void Session::take(const Sink::IoControl& output) {
  role_.io_control(output.device, output.code, output.output_bytes, now_);
}

void Session::take(const Sink::Retract& output) {
  take(DeviceIntake::Refused{output.device, output.reason});
}

void Session::take(const Report& output) {
  report(output);
}

void Session::take(const Sink::Verdict& output) {
  outcome_.success = output.success;
}

void Session::take(const Sink::EndSession& output) {
  finish(output.reason);
}

// --- moving on
// -------------------------------------------------------------------------------------------------

/// Role, intake and sink feed each other, so they are emptied until all of them are.
void Session::drain() {
  const auto visit_all = [this](auto& source) {
    bool any = false;
    while (auto output = source.poll()) {
      any = true;
      std::visit([this](auto& value) { this->take(value); }, *output);
    }
    return any;
  };
  while (visit_all(role_) || visit_all(intake_) || visit_all(*sink_)) {
  }
}

void Session::send_waiting() {
  // A channel that was opened in this round is a request in FreeRDP's queue, and nothing else may
  // be waiting.
  if (Status flushed = peer_->flush(); !flushed) return finish(flushed.error().message);
  while (!waiting_.empty() && !peer_->write_blocked()) {
    std::visit(
        [this](const auto& item) {
          if constexpr (std::is_same_v<std::decay_t<decltype(item)>,
                                       rdpeusb::TerminalRole::SendMessage>) {
            waiting_bytes_ -= item.message.size();
            transcript_.sent(item.channel, item.message, now_);
            peer_->send(item.channel, item.message);
          } else {
            transcript_.closed(item.channel, "server", now_);
            peer_->close_channel(item.channel);
          }
        },
        waiting_.front());
    waiting_.pop_front();
    if (Status flushed = peer_->flush(); !flushed) return finish(flushed.error().message);
  }
}

}  // namespace tillbridge::terminal
