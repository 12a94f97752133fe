// Pipeline: the requests that clear halts, reset and select, before which what was submitted ahead
// must have ended.
#include <algorithm>
#include <utility>

#include "channel/massstorage/pipeline.hpp"

namespace tillbridge::massstorage {

using usb::TransferStatus;

namespace {

template <typename Request>
const Request* as(const std::optional<usb::HostRequest>& request) {
  return request ? std::get_if<Request>(&*request) : nullptr;
}

}  // namespace

bool Pipeline::is_barrier(const usb::SetupPacket& setup) const noexcept {
  const auto request = usb::as_host_request(setup);
  if (const auto* halt = as<usb::ClearHalt>(request)) {
    return place_ && (halt->endpoint == place_->in || halt->endpoint == place_->out);
  }
  if (const auto* selected = as<usb::SetInterface>(request)) {
    return std::any_of(places_.begin(), places_.end(), [&](const Place& place) {
      return place.interface == selected->interface_number;
    });
  }
  if (request) return useful();  // SET_CONFIGURATION, port reset
  return place_ && setup == usb::bulk_only_reset(place_->interface);
}

bool Pipeline::clears_shown_stall(const usb::SetupPacket& setup) const noexcept {
  return shown_stall_ && setup == usb::clear_halt(place_->in);
}

bool Pipeline::touches(const usb::SetupPacket& setup, std::uint8_t endpoint) const noexcept {
  const auto request = usb::as_host_request(setup);
  const auto* halt = as<usb::ClearHalt>(request);
  return halt == nullptr || halt->endpoint == endpoint;
}

/// A host stack may not clear a halt, or reset, under transfers that are still queued: what the
/// session would have ended by itself, had it made it, is ended for it. Its own transfers are its
/// own business.
bool Pipeline::in_the_way(const Running& running, const usb::SetupPacket& setup) const noexcept {
  const bool ours =
      running.kind == Kind::ahead || (running.kind == Kind::posted && running.session == 0);
  return ours && is_barrier(setup) && touches(setup, running.endpoint);
}

void Pipeline::make_way(const usb::SetupPacket& setup) {
  // The last one first: a read that goes must not leave its data to the one queued behind it.
  for (auto running = running_.rbegin(); running != running_.rend(); ++running) {
    if (!in_the_way(*running, setup)) continue;
    fall_back(FallBack::interrupted);
    cancel_running(*running);
  }
}

void Pipeline::carry_out(usb::Transfer transfer) {
  const usb::TransferId session = transfer.id;
  const auto request = usb::as_host_request(transfer.setup);
  const bool barrier = is_barrier(transfer.setup);
  if (barrier && as<usb::ClearHalt>(request) == nullptr) {
    forget_command();
    // What was submitted before it was, goes before it.
    while (answer_in() || release_out()) {
    }
  } else if (barrier && clears_shown_stall(transfer.setup)) {
    if (stream_.halted()) {  // the stick halted both
      start(Kind::control, 0, usb::control_transfer(session, usb::clear_halt(place_->out)));
    } else {
      transfer.setup = usb::clear_halt(place_->out);
      owes_retry_ = true;
    }
  } else if (barrier && data_out_left_ > 0 && mode_ == Mode::command) {
    // The session knows something of the command that the pipeline does not: each of its transfers
    // waits for the stick again.
    fall_back(FallBack::interrupted);
    data_out_left_ = 0;
  }
  start(Kind::control, session, std::move(transfer));
}

/// The command is over without a status; whatever came of it is of no use to anybody.
void Pipeline::forget_command() {
  mode_ = Mode::plain;
  stream_.clear();
  data_out_left_ = 0;
  command_known_ = status_asked_ = read_failed_ = late_stall_ = shown_stall_ = owes_retry_ = false;
}

void Pipeline::control_ended(const Running& running, usb::Completion completion) {
  const auto request = usb::as_host_request(running.setup);
  if (completion.status == TransferStatus::success && is_barrier(running.setup)) {
    if (const auto* halt = as<usb::ClearHalt>(request)) {
      if (halt->endpoint == place_->in) {
        in_halted_ = false;
        stream_.clear_halt();
      } else {
        out_halted_ = shown_stall_ = false;
      }
    } else {
      if (const auto* configuration = as<usb::SetConfiguration>(request)) {
        configuration_ = configuration->value;
        use_default();
      } else if (const auto* interface = as<usb::SetInterface>(request)) {
        use(interface->interface_number, interface->alternate_setting);
      }
      if (request) in_halted_ = out_halted_ = false;  // Bulk-Only Transport 3.1 keeps them
      // Nothing was sent behind it, and no other request will undo what a command reads ahead.
      if (running.outs_sent == outs_sent_ && running_.empty()) {
        mode_ = Mode::ready;
        fell_back_ = false;
      }
    }
  }
  if (running.session == 0) return;
  completion.id = running.session;
  outputs_.emplace_back(Complete{std::move(completion)});
}

/// All alternate settings are 0 once a configuration is selected.
void Pipeline::use_default() {
  place_.reset();
  for (const Place& place : places_) {
    if (place.configuration == configuration_) return use(place.interface, 0);
  }
}

void Pipeline::use(std::uint8_t interface, std::uint8_t alternate) {
  place_.reset();
  for (const Place& place : places_) {
    if (place.configuration == configuration_ && place.interface == interface &&
        place.alternate == alternate) {
      place_ = place;
      stream_ = PacketStream(place.in_packet);
    }
  }
}

}  // namespace tillbridge::massstorage
