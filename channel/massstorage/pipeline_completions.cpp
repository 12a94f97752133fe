// Pipeline: what comes back from the stick, and what the session is told.
#include <algorithm>
#include <utility>

#include "channel/massstorage/pipeline.hpp"

namespace tillbridge::massstorage {

using usb::TransferStatus;

void Pipeline::complete(usb::Completion completion) {
  const auto found = std::find_if(running_.begin(), running_.end(),
                                  [&](const Running& each) { return each.id == completion.id; });
  if (found == running_.end()) return;
  const Running ended = *found;
  running_.erase(found);
  switch (ended.kind) {
    case Kind::posted:
      posted_ended(ended, std::move(completion));
      break;
    case Kind::ahead:
      read_ended(ended, std::move(completion));
      break;
    case Kind::continuation:
      continuation_ended(std::move(completion));
      break;
    case Kind::forwarded:
      forwarded_ended(ended, std::move(completion));
      break;
    case Kind::control:
    case Kind::retry:
      control_ended(ended, std::move(completion));
      break;
  }
  pump();
}

void Pipeline::posted_ended(const Running& ended, usb::Completion completion) {
  const bool done =
      completion.status == TransferStatus::success && completion.actual_length == ended.length;
  if (completion.status == TransferStatus::stall) out_halted_ = true;
  if (ended.session != 0) {  // nothing was promised yet
    if (!done) {
      fall_back(completion.status == TransferStatus::stall ? FallBack::stalled
                                                           : FallBack::odd_transfer);
      data_out_left_ = 0;
    }
    completion.id = ended.session;
    outputs_.emplace_back(Complete{std::move(completion)});
    return;
  }
  posted_bytes_ -= ended.length;
  if (done) {
    post_waiting();
  } else {
    failed_late(ended, completion.status);
  }
}

void Pipeline::failed_late(const Running& ended, TransferStatus status) {
  fall_back(FallBack::late_failure);
  if (mode_ == Mode::dead) return;
  if (status == TransferStatus::stall && !ended.command_block) {
    late_stall_ = true;
    return;
  }
  mode_ = Mode::dead;
  command_known_ = false;
  dead_status_ = status == TransferStatus::device_gone ? status : TransferStatus::stall;
  stream_.clear();
  for (auto running = running_.rbegin(); running != running_.rend(); ++running) {
    if (running->kind != Kind::ahead) continue;
    running->discard = true;
    cancel_running(*running);
  }
}

void Pipeline::read_ended(const Running& ended, usb::Completion completion) {
  if (ended.discard) return;
  const bool nothing_read = completion.data.empty();
  switch (completion.status) {
    case TransferStatus::success:
      break;
    case TransferStatus::cancelled:
      // By us: it was never there, but for the packets that it had. By the stick's other end: so
      // would the session's read have ended, had it been there by now.
      if (ended.cancelled || asks_.empty()) {
        if (!nothing_read) stream_.append_part(std::move(completion.data));
        return;
      }
      break;
    case TransferStatus::refused:
    case TransferStatus::no_resources:
      // Never reached the stick: the session's own read shall have its own fate.
      if (nothing_read) return;
      break;
    default:
      // Queued behind one that failed, it met the same halt. After CLEAR_FEATURE(HALT) the session
      // asks for what comes then.
      if (read_failed_ && nothing_read) return;
      break;
  }
  if (completion.status != TransferStatus::success) read_failed_ = true;
  stream_.append(std::move(completion), ended.length);
}

void Pipeline::continuation_ended(usb::Completion completion) {
  InTransfer ask = std::move(asks_.front());
  asks_.erase(asks_.begin());
  ask.data.insert(ask.data.end(), completion.data.begin(), completion.data.end());
  answer(std::move(ask), completion.status, false);
}

void Pipeline::forwarded_ended(const Running& ended, usb::Completion completion) {
  const bool in = (ended.endpoint & 0x80U) != 0;
  if (in && completion.status == TransferStatus::stall && completion.data.empty() &&
      std::exchange(owes_retry_, false)) {
    asks_.insert(asks_.begin(),
                 {ended.session, ended.endpoint, ended.length, ended.short_not_ok, {}});
    start(Kind::retry, 0, usb::control_transfer(ended.session, usb::clear_halt(ended.endpoint)));
    return;
  }
  if (completion.status == TransferStatus::stall) {
    (in ? in_halted_ : out_halted_) = true;
  } else if (in && (completion.status == TransferStatus::success ||
                    completion.status == TransferStatus::short_read)) {
    watch_status(completion.data, false);
  }
  completion.id = ended.session;
  outputs_.emplace_back(Complete{std::move(completion)});
}

/// The end of an IN transfer of the session, however much of it was there before it was asked for.
void Pipeline::answer(InTransfer transfer, TransferStatus status, bool ahead) {
  usb::Completion completion;
  completion.id = transfer.id;
  completion.status = status;
  completion.actual_length = static_cast<std::uint32_t>(transfer.data.size());
  completion.data = std::move(transfer.data);
  if (status == TransferStatus::success) {
    watch_status(completion.data, ahead);
    if (transfer.short_not_ok && completion.actual_length < transfer.length) {
      completion.status = TransferStatus::short_read;
    }
  } else if (status == TransferStatus::stall) {
    in_halted_ = true;
    fall_back(FallBack::stalled);
  } else if (status == TransferStatus::overflow) {
    fall_back(FallBack::odd_transfer);
  }
  outputs_.emplace_back(Complete{std::move(completion)});
}

/// The status block is where a command ends: from here on the stick waits for the next one.
void Pipeline::watch_status(ByteView data, bool ahead) {
  const bool more_to_come = !stream_.empty() || running(Kind::ahead);
  if (data.size() == StatusBlock::size && command_known_ && !more_to_come) {
    const auto status = parse_status_block(data, command_);
    if (status && status->status != CommandStatus::phase_error) {
      if (ahead) ++counters_.status_ahead;
      command_known_ = false;
      data_out_left_ = 0;
      mode_ = Mode::ready;
      fell_back_ = false;
      return;
    }
    fall_back(FallBack::bad_status);
    return;
  }
  if (ahead && !data.empty()) ++counters_.data_ahead;
}

void Pipeline::fall_back(FallBack why) noexcept {
  if (std::exchange(fell_back_, true)) return;
  ++counters_.fall_backs[static_cast<std::size_t>(why)];
}

std::string PipelineCounters::text() const {
  static constexpr std::array<const char*, fall_back_kinds> names = {
      "out of step", "no command",   "busy",       "halted",      "too large",
      "stalled",     "odd transfer", "bad status", "failed late", "interrupted"};
  std::string plain;
  for (std::size_t kind = 0; kind < fall_back_kinds; ++kind) {
    if (fall_backs[kind] == 0) continue;
    plain += (plain.empty() ? "; fell back: " : ", ") + std::to_string(fall_backs[kind]) + ' ' +
             names[kind];
  }
  return std::to_string(commands) + " commands, " + std::to_string(posted_commands) +
         " through the pipeline (" + std::to_string(posted_data) + " writes posted, " +
         std::to_string(data_ahead) + " reads and " + std::to_string(status_ahead) +
         " statuses ahead)" + plain;
}

}  // namespace tillbridge::massstorage
