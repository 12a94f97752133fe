#include "server/simulator/endpoint_device.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <utility>
#include <variant>

#include "channel/bytes/limits.hpp"
#include "channel/usb/requests.hpp"

namespace tillbridge::simulator {
namespace {

using usb::TransferStatus;

/// Endpoint 0 has one queue for both directions.
std::uint8_t queue_of(const usb::Transfer& transfer) {
  return transfer.type == usb::TransferType::control ? std::uint8_t{0} : transfer.endpoint;
}

bool has_endpoint(const usb::InterfaceDescriptor& interface, std::uint8_t address) {
  return std::any_of(interface.endpoints.begin(), interface.endpoints.end(),
                     [&](const auto& endpoint) { return endpoint.address == address; });
}

bool is_port_reset(const usb::SetupPacket& setup) {
  const auto request = usb::as_host_request(setup);
  return request && std::holds_alternative<usb::PortReset>(*request);
}

std::uint32_t length_of(ByteView bytes) {
  return static_cast<std::uint32_t>(bytes.size());
}

}  // namespace

void EndpointDevice::submit(usb::Transfer transfer, Instant now) {
  run(now);  // what was due before this one arrived
  PendingTransfer pending{std::move(transfer), now, next_sequence_++, 0};
  if (!acceptable(pending.transfer)) {
    end(pending, {TransferStatus::refused, 0, {}});
    return;
  }
  if (pending_count_ >= limits::transfers_in_flight_per_device) {
    end(pending, {TransferStatus::no_resources, 0, {}});
    return;
  }
  queues_[queue_of(pending.transfer)].push_back(std::move(pending));
  ++pending_count_;
  run(now);
}

void EndpointDevice::cancel(usb::TransferId id, Instant now) {
  run(now);
  for (auto entry = queues_.begin(); entry != queues_.end(); ++entry) {
    Queue& queue = entry->second;
    const auto found = std::find_if(queue.begin(), queue.end(),
                                    [&](const auto& pending) { return pending.transfer.id == id; });
    if (found == queue.end()) continue;
    const PendingTransfer pending = std::move(*found);
    queue.erase(found);
    if (queue.empty()) queues_.erase(entry);
    --pending_count_;
    end(pending, {TransferStatus::cancelled, 0, {}});
    return;
  }
}

void EndpointDevice::reset(Instant now) {
  run(now);
  port_reset(now);
}

void EndpointDevice::power_cycle(Instant now) {
  run(now);
  bench_->witness.power_cycle();
  bench_->demand.reset();
  now_ = now;
  paused_until_ = Instant::min();
  departure_.reset();
  dead_ = false;
  powered_up(now);
  do_reset();
}

bool EndpointDevice::obey(const Fault& fault) {
  switch (fault.action) {
    case FaultAction::unplug:
      bench_->witness.unplugged();
      departure_ = Departure{};
      if (fault.amount_ms > 0) departure_->back_after = std::chrono::milliseconds(fault.amount_ms);
      dead_ = true;
      return true;
    case FaultAction::power_cycle:
      bench_->witness.power_cycle();
      powered_up(now_);
      return true;
    case FaultAction::dead:
      dead_ = true;
      return true;
    default:
      return false;
  }
}

void EndpointDevice::advance(Instant now) {
  run(now);
}

std::optional<Instant> EndpointDevice::next_deadline() const {
  std::optional<Instant> deadline = dead_ ? std::nullopt : next_event();
  if (const auto endpoint = next_endpoint()) {
    const Instant turn = due(*endpoint);
    deadline = deadline ? std::min(*deadline, turn) : turn;
  }
  return deadline;
}

std::optional<usb::Completion> EndpointDevice::poll_completion() {
  if (completions_.empty()) return std::nullopt;
  usb::Completion completion = std::move(completions_.front());
  completions_.pop_front();
  return completion;
}

std::uint32_t EndpointDevice::packet_size(std::uint8_t endpoint) const {
  const usb::EndpointDescriptor* descriptor = control_.find_endpoint(endpoint);
  assert(descriptor != nullptr);
  return descriptor->max_packet_size;
}

std::optional<Instant> EndpointDevice::waiting_since(std::uint8_t endpoint) const {
  const auto found = queues_.find(endpoint);
  if (found == queues_.end()) return std::nullopt;
  return found->second.front().arrival;
}

bool EndpointDevice::acceptable(const usb::Transfer& transfer) const {
  if (transfer.type == usb::TransferType::control) return true;
  const usb::EndpointDescriptor* descriptor = control_.find_endpoint(transfer.endpoint);
  return descriptor != nullptr && descriptor->type() == transfer.type &&
         transfer.type != usb::TransferType::isochronous;
}

bool EndpointDevice::runnable(std::uint8_t endpoint) const {
  if (endpoint == 0) {
    // The host controller carries out a port reset by itself, whoever listens.
    return !dead_ || is_port_reset(queues_.at(0).front().transfer.setup);
  }
  return !dead_ && (control_.halted(endpoint) || ready(endpoint));
}

Instant EndpointDevice::due(std::uint8_t endpoint) const {
  const Instant turn = std::max(queues_.at(endpoint).front().arrival, last_end_) + delay_;
  if (endpoint == 0 || control_.halted(endpoint)) return turn;
  return std::max(turn, paused_until_);
}

std::optional<std::uint8_t> EndpointDevice::next_endpoint() const {
  std::optional<std::uint8_t> next;
  const auto order = [this](std::uint8_t endpoint) {
    return std::pair(due(endpoint), queues_.at(endpoint).front().sequence);
  };
  for (const auto& [endpoint, queue] : queues_) {
    if (runnable(endpoint) && (!next || order(endpoint) < order(*next))) next = endpoint;
  }
  return next;
}

void EndpointDevice::run(Instant now) {
  while (true) {
    const auto endpoint = next_endpoint();
    const auto event = dead_ ? std::nullopt : next_event();
    const auto turn = endpoint ? std::optional(due(*endpoint)) : std::optional<Instant>();
    const bool event_first = event && (!turn || *event <= *turn);
    const auto next = event_first ? event : turn;
    if (!next || *next > now) return;
    // What an event makes ready is not served before it.
    last_end_ = now_ = std::max(last_end_, *next);
    if (event_first) {
      happen();
    } else {
      serve_next(*endpoint);
    }
  }
}

void EndpointDevice::serve_next(std::uint8_t endpoint) {
  if (endpoint != 0) {
    serve_pipe(endpoint);
    return;
  }
  Queue& queue = queues_.at(0);
  PendingTransfer pending = std::move(queue.front());
  queue.pop_front();
  if (queue.empty()) queues_.erase(0);
  --pending_count_;
  serve_control(std::move(pending));
}

void EndpointDevice::serve_control(PendingTransfer pending) {
  const usb::SetupPacket& setup = pending.transfer.setup;
  ControlAnswer answer;
  if (is_port_reset(setup)) {
    port_reset(now_);
    answer = ControlAnswer::accept();
  } else if (auto outcome = control_.handle(setup)) {
    using Effect = ControlEndpoint::Effect;
    if (outcome->effect == Effect::configuration_set) {
      cancel_pipes(std::nullopt);
      restarted(false);
    } else if (outcome->effect == Effect::interface_set) {
      cancel_pipes(outcome->target);
      restarted(false);
    } else if (outcome->effect == Effect::halt_cleared) {
      halt_cleared(outcome->target);
    }
    answer = std::move(outcome->answer);
  } else {
    const ByteView data(pending.transfer.data);
    answer = class_request(setup, data.first(std::min<std::size_t>(data.size(), setup.length)));
  }

  Ending ending;
  if (answer.stall) {
    ending.status = TransferStatus::stall;
  } else if (setup.in()) {
    ending.data = std::move(answer.data);
    ending.data.resize(std::min<std::size_t>(
        {ending.data.size(), std::size_t{setup.length}, std::size_t{pending.transfer.length}}));
  } else {
    ending.moved = length_of(pending.transfer.data);
  }
  end(pending, std::move(ending));
}

void EndpointDevice::serve_pipe(std::uint8_t endpoint) {
  Queue& queue = queues_.at(endpoint);
  PendingTransfer& pending = queue.front();
  std::optional<Ending> ending;
  if (control_.halted(endpoint)) {
    ending = Ending{TransferStatus::stall, 0, {}};
  } else {
    ending = serve(pending);
  }
  if (!ending) {
    assert(!runnable(endpoint) || paused_until_ > now_);
    return;
  }
  const PendingTransfer ended = std::move(pending);
  queue.pop_front();
  if (queue.empty()) queues_.erase(endpoint);
  --pending_count_;
  end(ended, std::move(*ending));
}

void EndpointDevice::end(const PendingTransfer& pending, Ending ending) {
  const usb::Transfer& transfer = pending.transfer;
  const bool in = transfer.type == usb::TransferType::control ? transfer.setup.in() : transfer.in();
  usb::Completion completion;
  completion.id = transfer.id;
  completion.status = ending.status;
  completion.data = std::move(ending.data);
  completion.actual_length = in ? length_of(completion.data) : pending.progress + ending.moved;
  if (in && transfer.short_not_ok && ending.status == TransferStatus::success &&
      completion.actual_length < transfer.length) {
    completion.status = TransferStatus::short_read;
  }
  completions_.push_back(std::move(completion));
}

void EndpointDevice::cancel_pipes(std::optional<std::uint8_t> interface_number) {
  // As a host stack does before it changes what the endpoints are.
  const usb::DeviceDescription& device = control_.description();
  const auto belongs = [&](std::uint8_t endpoint) {
    if (endpoint == 0) return false;
    if (!interface_number) return true;
    const auto* configuration = device.find_configuration(device.active_configuration);
    return configuration != nullptr &&
           std::any_of(configuration->interfaces.begin(), configuration->interfaces.end(),
                       [&](const usb::InterfaceDescriptor& interface) {
                         return interface.number == *interface_number &&
                                has_endpoint(interface, endpoint);
                       });
  };
  for (auto entry = queues_.begin(); entry != queues_.end();) {
    entry = belongs(entry->first) ? cancel_queue(entry) : std::next(entry);
  }
}

EndpointDevice::Queues::iterator EndpointDevice::cancel_queue(Queues::iterator entry) {
  for (const PendingTransfer& pending : entry->second) {
    end(pending, {TransferStatus::cancelled, 0, {}});
    --pending_count_;
  }
  return queues_.erase(entry);
}

void EndpointDevice::port_reset(Instant now) {
  bench_->witness.bus_reset();
  now_ = now;
  bus_was_reset(now);
  do_reset();
}

void EndpointDevice::do_reset() {
  for (auto entry = queues_.begin(); entry != queues_.end();) entry = cancel_queue(entry);
  control_.bus_reset();
  restarted(true);
}

}  // namespace tillbridge::simulator
