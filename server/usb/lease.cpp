#include "server/usb/lease.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "channel/usb/bulk_only.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

// What stands for a port reset of a mass-storage stick: the class's own recovery (BOT 5.3.4) on
// each interface.
std::deque<usb::SetupPacket> soft_reset_steps(const usb::DeviceDescription& description) {
  std::deque<usb::SetupPacket> steps;
  const usb::Configuration* configuration =
      description.find_configuration(description.active_configuration);
  if (configuration == nullptr) return steps;
  for (const usb::InterfaceDescriptor& interface : configuration->interfaces) {
    // Whatever the command set: the reset is the protocol's (Bulk-Only Transport 1.0, 4.3).
    if (interface.alternate_setting != 0 ||
        interface.interface_class != usb::class_code::mass_storage ||
        interface.interface_protocol != usb::bulk_only_protocol) {
      continue;
    }
    steps.push_back(usb::bulk_only_reset(interface.number));
    for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
      if (endpoint.type() == usb::TransferType::bulk) {
        steps.push_back(usb::clear_halt(endpoint.address));
      }
    }
  }
  return steps;
}

usb::Completion ended(usb::TransferId id, usb::TransferStatus status) {
  usb::Completion completion;
  completion.id = id;
  completion.status = status;
  return completion;
}

}  // namespace

Lease::Lease(transport::Loop& loop, std::string stick, const Mapping& mapping, LeaseRecord record,
             Ended ended)
    : loop_(loop),
      stick_name_(std::move(stick)),
      reset_policy_(mapping.reset),
      record_(std::move(record)),
      ended_(std::move(ended)) {}

Lease::~Lease() {
  auto unfinished = leave();
  stick_.reset();
  end_absence();
  ended_(record_, std::move(unfinished));
}

std::optional<CommandEnd::Leftover> Lease::leave() {
  // After a restart the till goes on with the command itself.
  const bool over = record_.end == LeaseEnd::unplugged || record_.end == LeaseEnd::server_restarts;
  if (!stick_ || over || soft_reset_ || !watch_ || !watch_->in_command()) return std::nullopt;
  CommandEnd::Leftover left{stick_name_, nullptr, stick_events_, std::move(*watch_), {}};
  std::vector<usb::TransferId> others;
  for (const auto& [id, running] : running_) {
    if (running.of_command) {
      left.running.insert(id);
    } else {
      others.push_back(id);
    }
  }
  *stick_events_ = {[](const Status&) {}, [](const usb::Completion&) {}};
  for (const usb::TransferId id : others) stick_->cancel(id);
  left.stick = std::move(stick_);
  return left;
}

void Lease::till_away() {
  if (!record_.away_since) record_.away_since = std::chrono::system_clock::now();
}

void Lease::till_back(const std::string& address) {
  end_absence();
  record_.address = address;
}

void Lease::end_absence() {
  if (!record_.away_since) return;
  record_.times_away += 1;
  record_.time_away += std::chrono::system_clock::now() - *record_.away_since;
  record_.away_since.reset();
}

void Lease::ends_because(LeaseEnd end) {
  if (!std::exchange(end_said_, true)) record_.end = end;
}

void Lease::follow(const Mapping& mapping) {
  record_.mapping = mapping.id;
  reset_policy_ = mapping.reset;
}

void Lease::start(StickSource& source, const std::string& busid, Stick::Events events) {
  events_ = std::move(events);
  *stick_events_ = {[this](const Status& status) {
                      if (status) watch_.emplace(stick_->description());
                      events_.opened(status);
                    },
                    [this](usb::Completion completion) { completed(std::move(completion)); }};
  // Whoever ends what this leaves unfinished takes the stick over, and hears of it instead.
  stick_ = source.open(busid,
                       {[events = stick_events_](const Status& status) { events->opened(status); },
                        [events = stick_events_](usb::Completion completion) {
                          events->completed(std::move(completion));
                        }});
}

void Lease::submit(usb::Transfer transfer) {
  if (soft_reset_) {
    held_.push_back(std::move(transfer));
    return;
  }
  if (transfer.type == usb::TransferType::control) {
    const auto host_request = usb::as_host_request(transfer.setup);
    if (host_request && std::holds_alternative<usb::PortReset>(*host_request)) {
      reset_by_policy(transfer);
      return;
    }
  }
  pass_on(std::move(transfer));
}

void Lease::pass_on(usb::Transfer transfer) {
  spare_running_.insert(running_, transfer.id,
                        Running{!transfer.in(), watch_->concerns(transfer), loop_.now()});
  watch_->submitted(transfer);
  if (tap_ != nullptr) tap_->submitted(transfer);
  stick_->submit(std::move(transfer));
}

void Lease::cancel(usb::TransferId id) {
  if (soft_reset_ && soft_reset_->asked == id) {
    soft_reset_->steps.clear();
    soft_reset_->worst = usb::TransferStatus::cancelled;
    stick_->cancel(soft_reset_->step);
    return;
  }
  const auto held = std::find_if(held_.begin(), held_.end(),
                                 [id](const usb::Transfer& transfer) { return transfer.id == id; });
  if (held != held_.end()) {
    held_.erase(held);
    answer_later(ended(id, usb::TransferStatus::cancelled));
    return;
  }
  if (running_.contains(id)) stick_->cancel(id);
}

void Lease::reset_by_policy(const usb::Transfer& transfer) {
  switch (reset_policy_) {
    case ResetPolicy::pass:
      log::info("stick " + stick_name_ + ": port reset asked for by till " + record_.till +
                    " is carried out (reset = \"pass\")",
                {record_.stick, record_.till});
      pass_on(transfer);
      return;
    case ResetPolicy::refuse:
      log::info("stick " + stick_name_ + ": port reset asked for by till " + record_.till +
                    " is refused (reset = \"refuse\")",
                {record_.stick, record_.till});
      answer_later(ended(transfer.id, usb::TransferStatus::refused));
      return;
    case ResetPolicy::soften:
      break;
  }
  log::info("stick " + stick_name_ + ": port reset asked for by till " + record_.till +
                " is softened to the class's own reset (reset = \"soften\")",
            {record_.stick, record_.till});
  auto steps = soft_reset_steps(description());
  if (steps.empty()) {
    answer_later(ended(transfer.id, usb::TransferStatus::success));
    return;
  }
  soft_reset_ = SoftReset{transfer.id, 0, std::move(steps), usb::TransferStatus::success};
  next_reset_step();
}

void Lease::next_reset_step() {
  SoftReset& reset = *soft_reset_;
  reset.step = unused_id();
  usb::Transfer step = usb::control_transfer(reset.step, reset.steps.front());
  reset.steps.pop_front();
  stick_->submit(std::move(step));
}

void Lease::reset_step_done(usb::TransferStatus status) {
  SoftReset& reset = *soft_reset_;
  if (status != usb::TransferStatus::success) {
    if (reset.worst == usb::TransferStatus::success) reset.worst = status;
    if (status == usb::TransferStatus::device_gone) reset.steps.clear();
  }
  if (!reset.steps.empty()) {
    next_reset_step();
    return;
  }
  const usb::Completion answer = ended(reset.asked, reset.worst);
  soft_reset_.reset();
  watch_->forget();
  ++record_.transfers;
  events_.completed(answer);
  flush_held();
}

void Lease::flush_held() {
  // A second reset among the held ones begins holding anew.
  while (!soft_reset_ && !held_.empty()) {
    usb::Transfer transfer = std::move(held_.front());
    held_.pop_front();
    submit(std::move(transfer));
  }
}

void Lease::completed(usb::Completion completion) {
  if (soft_reset_ && completion.id == soft_reset_->step) {
    reset_step_done(completion.status);
    return;
  }
  const auto found = running_.find(completion.id);
  if (found == running_.end()) return;
  const Running running = found->second;
  spare_running_.erase(running_, found);
  watch_->completed(completion);
  ++record_.transfers;
  (running.out ? record_.bytes_out : record_.bytes_in) += completion.actual_length;
  if (completion.status != usb::TransferStatus::cancelled) {
    const Instant now = loop_.now();
    record_.latency.add(now - running.since);
    recent_.add(now - running.since, now);
  }
  switch (completion.status) {
    case usb::TransferStatus::success:
    case usb::TransferStatus::stall:
    case usb::TransferStatus::cancelled:
    case usb::TransferStatus::short_read:
      break;
    default:
      ++record_.errors;
  }
  if (tap_ != nullptr) tap_->completed(completion);
  events_.completed(std::move(completion));
}

void Lease::answer_later(usb::Completion completion) {
  loop_.post([this, alive = std::weak_ptr<bool>(alive_), completion = std::move(completion)] {
    if (alive.expired()) return;
    ++record_.transfers;
    events_.completed(completion);
  });
}

usb::TransferId Lease::unused_id() const {
  usb::TransferId id = 0xFFFFFFFFU;
  while (running_.contains(id) || id == soft_reset_->asked) --id;
  return id;
}

}  // namespace tillbridge::server
