#include "server/terminal/probe/probe_sink.hpp"

#include <algorithm>
#include <utility>

namespace tillbridge::terminal::probe {

void ProbeSink::device_arrived(SessionDevice device, Instant now) {
  const std::string name = device.description.label();
  auto& entry = probing_[device.id];
  entry = Probing{name, make_probe(name, device.description, options_)};
  entry.probe->start(now);
  drain(device.id, now);
}

void ProbeSink::device_gone(DeviceId device, const std::string& reason, Instant now) {
  const auto found = probing_.find(device);
  if (found == probing_.end()) return;
  const std::string name = found->second.name;
  probing_.erase(found);
  done(name, false, "the device went away: " + reason, now);
}

void ProbeSink::completed(DeviceId device, usb::Completion completion, Instant now) {
  const auto found = probing_.find(device);
  if (found == probing_.end()) return;
  found->second.probe->completed(completion, now);
  drain(device, now);
}

void ProbeSink::io_control_completed(DeviceId device, Instant now) {
  const auto found = probing_.find(device);
  if (found == probing_.end()) return;
  found->second.probe->io_control_completed(now);
  drain(device, now);
}

void ProbeSink::wrong_answer() {
  ++wrong_answers_;
  if (verdict_given_) outputs_.emplace_back(Verdict{false});
}

void ProbeSink::session_ended(Instant /*now*/) {
  probing_.clear();
}

void ProbeSink::drain(DeviceId device, Instant now) {
  const auto found = probing_.find(device);
  if (found == probing_.end()) return;
  while (auto output = found->second.probe->poll()) {
    if (auto* submit = std::get_if<DeviceProbe::Submit>(&*output)) {
      outputs_.emplace_back(Submit{device, std::move(submit->transfer)});
    } else if (const auto* cancel = std::get_if<DeviceProbe::Cancel>(&*output)) {
      outputs_.emplace_back(Cancel{device, cancel->transfer});
    } else if (const auto* control = std::get_if<DeviceProbe::IoControl>(&*output)) {
      outputs_.emplace_back(IoControl{device, control->code, control->output_bytes});
    } else if (auto* told = std::get_if<Report>(&*output)) {
      outputs_.emplace_back(std::move(*told));
    } else if (const auto* over = std::get_if<DeviceProbe::Done>(&*output)) {
      const Probing ended = std::move(found->second);
      probing_.erase(found);
      return done(ended.name, over->success, over->text, now);
    }
  }
}

void ProbeSink::done(const std::string& name, bool success, const std::string& text, Instant now) {
  ++finished_;
  if (!success) ++failed_;
  outputs_.emplace_back(Report{"probe",
                               name + (success ? ": good: " : ": FAILED: ") + text,
                               {{"device", name}, {"success", success}, {"result", text}},
                               success ? rdpeusb::Level::info : rdpeusb::Level::error});
  patience_ends_ = now + options_.patience;  // for the next one
  if (finished_ >= options_.devices) {
    if (failed_ != 0) {
      give_verdict(std::to_string(failed_) + " probes failed");
    } else if (wrong_answers_ != 0) {
      give_verdict("every device was probed, but the client gave " +
                   std::to_string(wrong_answers_) + " wrong answers");
    } else {
      give_verdict("every device was probed");
    }
  }
}

void ProbeSink::give_verdict(const std::string& reason) {
  verdict_given_ = true;
  outputs_.emplace_back(
      Verdict{failed_ == 0 && wrong_answers_ == 0 && finished_ >= options_.devices});
  if (!options_.stay) outputs_.emplace_back(EndSession{reason});
}

void ProbeSink::advance(Instant now) {
  std::vector<DeviceId> devices;
  for (const auto& [device, probing] : probing_) devices.push_back(device);
  for (const DeviceId device : devices) {
    if (const auto found = probing_.find(device); found != probing_.end())
      found->second.probe->advance(now);
    drain(device, now);
  }
  if (verdict_given_ || !probing_.empty()) return;
  if (!patience_ends_) patience_ends_ = now + options_.patience;
  if (now < *patience_ends_) return;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.patience).count();
  const std::string reason = std::to_string(finished_) + " of " + std::to_string(options_.devices) +
                             " devices came, and no other within " + std::to_string(seconds) +
                             " s; is a stick mapped to this till?";
  outputs_.emplace_back(
      Report{"probe", reason, {{"success", false}, {"result", reason}}, rdpeusb::Level::error});
  ++failed_;
  give_verdict("no device came");
}

std::optional<Instant> ProbeSink::next_deadline() const {
  std::optional<Instant> next;
  if (!verdict_given_ && probing_.empty()) next = patience_ends_;
  for (const auto& [device, probing] : probing_) {
    if (const auto deadline = probing.probe->next_deadline())
      next = std::min(next.value_or(*deadline), *deadline);
  }
  return next;
}

std::optional<Sink::Output> ProbeSink::poll() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

}  // namespace tillbridge::terminal::probe
