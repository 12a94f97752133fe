// Pipeline: what the session asks, and what is done ahead of it.
#include "channel/massstorage/pipeline.hpp"

#include <algorithm>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/usb/bulk_only.hpp"

namespace tillbridge::massstorage {

using usb::TransferStatus;

namespace {

template <typename T>
T take_first(std::vector<T>& queue) {
  T first = std::move(queue.front());
  queue.erase(queue.begin());
  return first;
}

}  // namespace

Pipeline::Pipeline(const usb::DeviceDescription& device)
    : configuration_(device.active_configuration) {
  for (const usb::Configuration& configuration : device.configurations) {
    std::optional<std::uint8_t> chosen;
    for (const usb::InterfaceDescriptor& interface : configuration.interfaces) {
      if (!usb::is_bulk_only(interface) || chosen.value_or(interface.number) != interface.number) {
        continue;
      }
      Place place{configuration.value, interface.number, interface.alternate_setting};
      for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
        if (endpoint.type() != usb::TransferType::bulk) continue;
        if ((endpoint.address & 0x80U) == 0) {
          if (place.out == 0) place.out = endpoint.address;
        } else if (place.in == 0) {
          place.in = endpoint.address;
          place.in_packet = endpoint.max_packet_size & 0x7FFU;
        }
      }
      if (place.in == 0 || place.out == 0 || place.in_packet == 0) continue;
      chosen = interface.number;
      places_.push_back(place);
    }
  }
  use_default();
}

bool Pipeline::concerns(const usb::Transfer& transfer) const noexcept {
  if (transfer.type == usb::TransferType::control) {
    return !behind_.empty() || is_barrier(transfer.setup);
  }
  return transfer.type == usb::TransferType::bulk && place_ &&
         (transfer.endpoint == place_->in || transfer.endpoint == place_->out);
}

void Pipeline::submit(usb::Transfer transfer) {
  if (gone_) return give(transfer.id, TransferStatus::device_gone);
  if (asks_.size() + outs_.size() + behind_.size() >= limits::transfers_in_flight_per_device) {
    return give(transfer.id, TransferStatus::no_resources);
  }
  const bool control = transfer.type == usb::TransferType::control;
  if (control && is_barrier(transfer.setup)) make_way(transfer.setup);
  behind_.push_back(std::move(transfer));
  pump();
}

void Pipeline::pump() {
  while (answer_in() || release_out() || release_behind()) {
  }
}

bool Pipeline::release_behind() {
  if (behind_.empty()) return false;
  const usb::Transfer& first = behind_.front();
  if (first.type == usb::TransferType::control) {
    const auto blocks = [&](const Running& each) { return in_the_way(each, first.setup); };
    if (std::any_of(running_.begin(), running_.end(), blocks)) return false;
    carry_out(take_first(behind_));
  } else if (first.in()) {
    asks_.push_back({first.id, first.endpoint, first.length, first.short_not_ok, {}});
    behind_.erase(behind_.begin());
  } else {
    outs_.push_back(take_first(behind_));
  }
  return true;
}

// --- OUT -----------------------------------------------------------------------------------------

bool Pipeline::release_out() {
  if (outs_.empty()) return false;
  const auto length = static_cast<std::uint32_t>(outs_.front().data.size());

  const bool awaited = data_out_left_ > 0 && (mode_ == Mode::dead || mode_ == Mode::command);
  if (awaited && (mode_ == Mode::dead || late_stall_)) {
    // The data of a command that the stick does not wait for: it would take it for the next one.
    if (unsettled()) return false;
    const bool stalled = mode_ == Mode::command;
    data_out_left_ = stalled ? 0 : data_out_left_ - std::min(length, data_out_left_);
    late_stall_ = false;
    give(take_first(outs_).id, stalled ? TransferStatus::stall : dead_status_);
    return true;
  }
  if (awaited) {
    const bool odd = length == 0 || length > data_out_left_;
    // What could be taken for a command block waits until its command is known to have arrived.
    if ((odd || length == CommandBlock::size) && unsettled()) return false;
    if (!odd) {
      send_data(take_first(outs_));
      return true;
    }
    fall_back(FallBack::odd_transfer);
    data_out_left_ = 0;
  } else if (stick_is_ahead()) {
    return false;
  }
  take_command(take_first(outs_));
  return true;
}

/// An OUT transfer that nothing announced: a command block, if it is one.
void Pipeline::take_command(usb::Transfer transfer) {
  const auto block = transfer.data.size() == CommandBlock::size
                         ? parse_command_block(transfer.data)
                         : Result<CommandBlock>(fail(ErrorCode::malformed, {}));
  if (!block) {
    if (mode_ == Mode::ready) fall_back(FallBack::no_command);
    mode_ = Mode::plain;
    const usb::TransferId session = transfer.id;
    start(Kind::forwarded, session, std::move(transfer));
    return;
  }
  const bool was_ready = mode_ == Mode::ready;
  ++counters_.commands;
  command_ = *block;
  command_known_ = true;
  fell_back_ = status_asked_ = read_failed_ = late_stall_ = shown_stall_ = owes_retry_ = false;
  data_out_left_ = 0;
  const usb::TransferId session = transfer.id;
  const auto obstacle = was_ready ? why_not() : std::optional(FallBack::out_of_step);
  if (obstacle) {
    fall_back(*obstacle);
    mode_ = Mode::plain;
    start(Kind::forwarded, session, std::move(transfer));
    return;
  }
  mode_ = Mode::command;
  ++counters_.posted_commands;
  start(Kind::posted, 0, std::move(transfer)).command_block = true;
  posted_bytes_ += CommandBlock::size;
  const DataDirection direction = command_.direction();
  if (direction == DataDirection::out) {
    data_out_left_ = command_.data_length;
  } else {
    if (direction == DataDirection::in) read_ahead(command_.data_length);
    read_ahead(StatusBlock::size);
    status_asked_ = true;
  }
  give(session, TransferStatus::success, CommandBlock::size);
}

std::optional<Pipeline::FallBack> Pipeline::why_not() const noexcept {
  if (in_halted_ || out_halted_) return FallBack::halted;
  const auto bulk = [](const Running& each) { return !is_control(each.kind); };
  if (std::any_of(running_.begin(), running_.end(), bulk) || !asks_.empty()) {
    return FallBack::busy;
  }
  if (command_.direction() == DataDirection::in &&
      command_.data_length > limits::pipeline_read_bytes) {
    return FallBack::too_large;
  }
  return std::nullopt;
}

void Pipeline::send_data(usb::Transfer transfer) {
  const usb::TransferId session = transfer.id;
  data_out_left_ -= static_cast<std::uint32_t>(transfer.data.size());
  start(Kind::posted, session, std::move(transfer));
  if (data_out_left_ == 0 && !std::exchange(status_asked_, true)) read_ahead(StatusBlock::size);
  post_waiting();
}

/// Tells the session that its data is done, as far as the bound allows; the rest later, or with
/// what has become of it.
void Pipeline::post_waiting() {
  if (mode_ != Mode::command || late_stall_) return;
  for (Running& each : running_) {
    if (each.kind != Kind::posted || each.session == 0) continue;
    if (each.cancelled || posted_bytes_ + each.length > limits::pipeline_posted_bytes) return;
    posted_bytes_ += each.length;
    ++counters_.posted_data;
    give(std::exchange(each.session, 0), TransferStatus::success, each.length);
  }
}

bool Pipeline::stick_is_ahead() const noexcept {
  return unsettled() || !stream_.empty() || running(Kind::ahead);
}

// --- IN ------------------------------------------------------------------------------------------

/// Exactly what the command block announces, as a class driver reads it. Not whole packets: a stick
/// that is emulated knows how much room a read has, and QEMU's fills it up when it has less data.
void Pipeline::read_ahead(std::uint32_t length) {
  usb::Transfer read;
  read.type = usb::TransferType::bulk;
  read.endpoint = place_->in;
  read.length = length;
  start(Kind::ahead, 0, std::move(read));
}

bool Pipeline::answer_in() {
  if (asks_.empty() || unsettled() || running(Kind::continuation) || running(Kind::retry)) {
    return false;
  }
  TransferStatus status = TransferStatus::stall;
  if (mode_ == Mode::dead) {
    give(take_first(asks_).id, dead_status_);
    return true;
  }
  if (shown_stall_ || late_stall_) {
    // Who knows of the stall sends no more of that data: what comes next is no part of it.
    if (std::exchange(late_stall_, false)) data_out_left_ = 0;
    shown_stall_ = true;
    give(take_first(asks_).id, status);
    return true;
  }
  // What was asked behind CLEAR_FEATURE(HALT) is not to meet the halt.
  if (stream_.halted() && running(Kind::control)) return false;
  if (stream_.fill(asks_.front(), status)) {
    answer(take_first(asks_), status, true);
    return true;
  }
  if (running(Kind::ahead)) return false;

  if (mode_ == Mode::command) {
    fall_back(FallBack::odd_transfer);
    // Who reads here before all data is sent gets the status with it: one ahead of it would wait
    // for ever, and every command behind it.
    status_asked_ = true;
  }
  usb::Transfer read;
  read.type = usb::TransferType::bulk;
  const InTransfer& ask = asks_.front();
  read.endpoint = ask.endpoint;
  if (!ask.data.empty()) {
    read.length = ask.length - static_cast<std::uint32_t>(ask.data.size());
    start(Kind::continuation, ask.id, std::move(read));
    return true;
  }
  read.length = ask.length;
  read.short_not_ok = ask.short_not_ok;
  const usb::TransferId session = ask.id;
  asks_.erase(asks_.begin());
  start(Kind::forwarded, session, std::move(read));
  return true;
}

// --- cancelling ----------------------------------------------------------------------------------

bool Pipeline::cancel(usb::TransferId id) {
  // What is at the stick in the session's name ends there, and says how.
  const auto at_stick = std::find_if(running_.begin(), running_.end(),
                                     [&](const Running& each) { return each.session == id; });
  if (at_stick != running_.end()) {
    cancel_running(*at_stick);
    return true;
  }
  // What the session waits for here can end at once. Reads ahead go on: whatever the stick still
  // sends belongs to the session's next read, unless a reset comes first.
  const auto ask = std::find_if(asks_.begin(), asks_.end(),
                                [&](const InTransfer& each) { return each.id == id; });
  if (ask != asks_.end()) {
    InTransfer ended = std::move(*ask);
    asks_.erase(ask);
    answer(std::move(ended), TransferStatus::cancelled, true);
    pump();
    return true;
  }
  for (auto* queue : {&outs_, &behind_}) {
    const auto found = std::find_if(queue->begin(), queue->end(),
                                    [&](const usb::Transfer& each) { return each.id == id; });
    if (found == queue->end()) continue;
    queue->erase(found);
    give(id, TransferStatus::cancelled);
    pump();
    return true;
  }
  return false;
}

void Pipeline::cancel_running(Running& running) {
  if (std::exchange(running.cancelled, true)) return;
  outputs_.emplace_back(Cancel{running.id});
}

void Pipeline::lost() {
  if (std::exchange(gone_, true)) return;
  for (const Running& each : std::exchange(running_, {})) {
    if (each.session != 0 && each.kind != Kind::continuation) {
      give(each.session, TransferStatus::device_gone);
    }
  }
  for (InTransfer& each : std::exchange(asks_, {})) {
    answer(std::move(each), TransferStatus::device_gone, true);
  }
  for (auto* queue : {&outs_, &behind_}) {
    for (const usb::Transfer& each : std::exchange(*queue, {})) {
      give(each.id, TransferStatus::device_gone);
    }
  }
  stream_.clear();
  posted_bytes_ = 0;
}

// --- outputs -------------------------------------------------------------------------------------

Pipeline::Running& Pipeline::start(Kind kind, usb::TransferId session, usb::Transfer transfer) {
  Running running;
  running.id = transfer.id = next_id();
  running.session = session;
  running.kind = kind;
  running.endpoint = transfer.endpoint;
  running.length =
      transfer.in() ? transfer.length : static_cast<std::uint32_t>(transfer.data.size());
  running.setup = transfer.setup;
  running.short_not_ok = transfer.short_not_ok;
  const bool out = !is_control(kind) && !transfer.in();
  if (out) ++outs_sent_;
  running.outs_sent = outs_sent_;
  outputs_.emplace_back(Submit{std::move(transfer)});
  return running_.emplace_back(running);
}

usb::TransferId Pipeline::next_id() noexcept {
  const auto in_use = [this](usb::TransferId id) {
    return std::any_of(running_.begin(), running_.end(),
                       [&](const Running& each) { return each.id == id; });
  };
  do {
    ++last_id_;
    if (last_id_ < first_own_id) last_id_ = first_own_id;
  } while (in_use(last_id_));
  return last_id_;
}

void Pipeline::give(usb::TransferId session, TransferStatus status, std::uint32_t actual_length) {
  usb::Completion completion;
  completion.id = session;
  completion.status = status;
  completion.actual_length = actual_length;
  outputs_.emplace_back(Complete{std::move(completion)});
}

std::optional<Pipeline::Output> Pipeline::poll() {
  if (next_output_ == outputs_.size()) {
    outputs_.clear();
    next_output_ = 0;
    return std::nullopt;
  }
  return std::move(outputs_[next_output_++]);
}

bool Pipeline::running(Kind kind) const noexcept {
  return std::any_of(running_.begin(), running_.end(),
                     [&](const Running& each) { return each.kind == kind; });
}

}  // namespace tillbridge::massstorage
