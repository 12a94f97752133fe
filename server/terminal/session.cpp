#include "server/terminal/session.hpp"

#include <algorithm>
#include <utility>
#include <variant>

namespace tillbridge::terminal {

Session::Session(std::uint32_t number, std::unique_ptr<RdpPeer> peer, std::unique_ptr<Sink> sink,
                 Rules rules, Reporter& reporter, int stop_descriptor)
    : line_(number, std::move(peer), reporter, std::move(rules.transcript), stop_descriptor),
      sink_(std::move(sink)),
      role_(rules.profile),
      intake_(std::move(rules.named)),
      now_(line_.now()) {}

SessionOutcome Session::run(const std::function<void()>& activated) {
  bool told = false;
  while (turn()) {
    if (line_.activated() && !std::exchange(told, true)) activated();
  }
  log_off();
  sink_->session_ended(now_);
  while (auto output = sink_->poll()) {
    if (const auto* report = std::get_if<Report>(&*output)) take(*report);
  }
  line_.close();
  return {
      .activated = line_.activated(), .success = verdict_, .logon_refused = line_.logon_refused()};
}

void Session::log_off() {
  role_.log_off(now_);
  while (auto output = role_.poll()) {
    if (auto* message = std::get_if<rdpeusb::TerminalRole::SendMessage>(&*output)) take(*message);
    if (auto* close = std::get_if<rdpeusb::TerminalRole::CloseChannel>(&*output)) take(*close);
  }
}

/// One round: wait, read, move everything on, send. False when the session is over.
bool Session::turn() {
  wait();
  while (auto event = line_.poll()) {
    std::visit([this](auto& value) { take(value); }, *event);
  }
  for (const pollfd& polled : polled_) {
    if (polled.revents != 0) sink_->ready(polled, now_);
  }
  role_.advance(now_);
  intake_.advance(now_);
  sink_->advance(now_);
  drain();
  line_.send_waiting();
  return !line_.ended();
}

void Session::wait() {
  polled_.clear();
  sink_->add_polled(polled_);
  std::optional<Instant> next;
  for (const auto& deadline :
       {role_.next_deadline(), intake_.next_deadline(), sink_->next_deadline()}) {
    if (deadline) next = std::min(next.value_or(*deadline), *deadline);
  }
  line_.wait(polled_, next);
  now_ = line_.now();
}

// --- the client
// ----------------------------------------------------------------------------------------------

void Session::take(const RdpPeer::ChannelsReady& /*event*/) {
  role_.start(now_);
}

void Session::take(const RdpPeer::ChannelOpened& event) {
  role_.channel_opened(event.ticket, event.channel, now_);
}

void Session::take(const RdpPeer::ChannelRefused& event) {
  role_.channel_refused(event.ticket, now_);
}

void Session::take(const RdpPeer::ChannelClosed& event) {
  role_.channel_closed(event.channel, now_);
}

void Session::take(RdpPeer::Message& event) {
  role_.receive(event.channel, event.bytes, now_);
}

// --- the role
// --------------------------------------------------------------------------------------------------

void Session::take(const rdpeusb::TerminalRole::OpenChannel& output) {
  line_.open_channel(output.ticket);
  while (auto event = line_.poll()) {  // refused at once, e.g. above the limit
    std::visit([this](auto& value) { take(value); }, *event);
  }
}

void Session::take(rdpeusb::TerminalRole::SendMessage& output) {
  line_.send(output.channel, std::move(output.message));
}

void Session::take(const rdpeusb::TerminalRole::CloseChannel& output) {
  line_.close_channel(output.channel);
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
  if (output.wrong_answer) sink_->wrong_answer();
  report({"protocol", output.text, {{"wrong_answer", output.wrong_answer}}, output.level});
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
  verdict_ = output.success;
}

void Session::take(const Sink::EndSession& output) {
  line_.finish(output.reason);
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

}  // namespace tillbridge::terminal
