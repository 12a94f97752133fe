#include "server/simulator/tse/cryptovision_medium.hpp"

#include <algorithm>
#include <utility>

#include "channel/massstorage/scsi.hpp"

namespace tillbridge::simulator::tse {
namespace {

namespace protocol = evidence::cryptovision;
using protocol::CommandCode;
using protocol::Failure;

/// Codes by which faults and the witness know what is no command.
constexpr std::uint32_t code_unreadable = 0xFFFF;

bool moves_blocks(std::uint8_t operation) {
  namespace scsi = massstorage::scsi::operation;
  switch (operation) {
    case scsi::read_6:
    case scsi::read_10:
    case scsi::read_12:
    case scsi::write_6:
    case scsi::write_10:
    case scsi::write_12:
      return true;
    default:
      return false;
  }
}

Bytes data_frame(ByteView data) {
  return protocol::encode_response(static_cast<std::uint16_t>(data.size()), data);
}

}  // namespace

CryptovisionMedium::CryptovisionMedium(std::unique_ptr<Medium> base, std::unique_ptr<TseCore> core,
                                       const Timing& timing, CryptovisionOptions options,
                                       std::shared_ptr<Bench> bench)
    : base_(std::move(base)),
      card_(std::move(core), std::move(options)),
      timing_(timing),
      bench_(std::move(bench)),
      buffer_(protocol::file_bytes) {}

Duration CryptovisionMedium::begin_command(std::uint8_t operation_code, Instant now) {
  time_ = now;
  taking_ = false;
  if (!powered_at_) powered_at_ = now;
  if (!moves_blocks(operation_code)) return Duration(0);
  Duration wait{0};
  const bool sleeps = timing_.sleep_after > Duration(0) && may_sleep_ && last_activity_ &&
                      now - *last_activity_ >= timing_.sleep_after;
  if (sleeps) {
    wait = timing_.wake_up;
    if (timing_.sleep_loses_answer) end_response();
  }
  time_ = now + wait;
  last_activity_ = time_;
  return wait;
}

void CryptovisionMedium::power_cycle(Instant now) {
  time_ = now;
  powered_at_ = now;
  last_activity_.reset();
  may_sleep_ = true;
  end_response();
  buffer_.assign(protocol::file_bytes, 0);
  last_frame_.clear();
  card_.power_cycle();
}

// --- frames arrive

Status CryptovisionMedium::write(std::uint64_t block, ByteView data) {
  const std::uint64_t count = data.size() / block_bytes;
  const auto content = [&](std::uint64_t from, std::uint64_t blocks) {
    return data.subspan(static_cast<std::size_t>(from * block_bytes),
                        static_cast<std::size_t>(blocks * block_bytes));
  };
  std::uint64_t ordinary = 0;  // blocks from here on are for the disk
  const auto write_ordinary = [&](std::uint64_t end) -> Status {
    if (end == ordinary) return {};
    return base_->write(block + ordinary, content(ordinary, end - ordinary));
  };
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!takes(block + i, content(i, 1))) continue;
    if (Status status = write_ordinary(i); !status) return status;
    ordinary = i + 1;
  }
  return write_ordinary(count);
}

/// Is this block part of a frame?
bool CryptovisionMedium::takes(std::uint64_t block, ByteView content) {
  if (gathering_ && block == window_->first + gathering_->blocks) {
    add_block(content);
  } else if (protocol::has_magic(content)) {
    begin_frame(block, content);
  } else if (taking_ && window_ && block == last_taken_ + 1 &&
             block < window_->first + window_blocks) {
    // What follows the frame in the same WRITE means nothing, but stands in the buffer. There is no
    // window any more if a fault has taken the frame's answer away.
    const std::size_t index = static_cast<std::size_t>(block - window_->first);
    std::copy(content.begin(), content.end(),
              buffer_.begin() + static_cast<std::ptrdiff_t>(index * block_bytes));
    window_->ours.set(index);
  } else {
    overwritten(block);
    return false;
  }
  taking_ = true;
  last_taken_ = block;
  return true;
}

void CryptovisionMedium::begin_frame(std::uint64_t block, ByteView content) {
  if (!busy()) buffer_ = shown();
  if (answer_) superseded_ = std::exchange(answer_, std::nullopt);
  snapshot_.clear();
  if (!window_ || window_->first != block) window_ = Window{block, {}};
  const auto header = protocol::parse_request_header(content);
  const std::size_t bytes = protocol::request_header_bytes + (header ? header->length : 0U);
  gathering_ = Gathering{0, (bytes + block_bytes - 1) / block_bytes};
  add_block(content);
}

void CryptovisionMedium::add_block(ByteView content) {
  const std::size_t index = gathering_->blocks++;
  std::copy(content.begin(), content.end(),
            buffer_.begin() + static_cast<std::ptrdiff_t>(index * block_bytes));
  window_->ours.set(index);
  if (gathering_->blocks < gathering_->needed) return;
  gathering_.reset();
  frame_complete();
}

/// Ordinary content in the window: the block belongs to the disk again. In its first block it ends
/// the response.
void CryptovisionMedium::overwritten(std::uint64_t block) {
  if (!window_ || block < window_->first || block >= window_->first + window_blocks) return;
  if (block == window_->first) {
    end_response();
    return;
  }
  window_->ours.reset(static_cast<std::size_t>(block - window_->first));
  gathering_.reset();
}

void CryptovisionMedium::end_response() {
  window_.reset();
  gathering_.reset();
  answer_.reset();
  superseded_.reset();
  snapshot_.clear();
  card_.abandon();
}

// --- and are carried out

void CryptovisionMedium::frame_complete() {
  const auto request = protocol::parse_request(buffer_);
  std::optional<Answer> before = std::exchange(superseded_, std::nullopt);
  const bool was_busy = before && !before->never && time_ < before->ready;
  if (before) last_frame_ = before->frame;
  if (was_busy) {
    bench_->witness.command_while_busy();
    if (!card_.options().holds_commands_while_busy) {
      answer_ = std::move(before);
      return;
    }
  } else if (before && !before->read) {
    bench_->witness.answer_discarded();
  }
  if (!request) {
    answer(data_frame(protocol::encode_failure(Failure::bad_command)), code_unreadable,
           timing_.other);
  } else {
    carry_out(*request);
  }
  // The card is through with one command before it answers the next.
  if (was_busy && answer_) answer_->ready += before->ready - time_;
}

void CryptovisionMedium::carry_out(const protocol::RequestFrame& request) {
  const auto mode_code = static_cast<std::uint32_t>(request.mode);
  switch (request.mode) {
    case protocol::Mode::allow_suspend:
    case protocol::Mode::forbid_suspend:
      may_sleep_ = request.mode == protocol::Mode::allow_suspend;
      bench_->witness.command(mode_code, protocol::encode(request, 1));
      acknowledge(mode_code);
      return;
    case protocol::Mode::normal:
      break;
    default:
      answer(data_frame(protocol::encode_failure(Failure::bad_command)), code_unreadable,
             timing_.other);
      return;
  }
  std::uint32_t code = code_unreadable;
  if (request.data == Bytes{protocol::fetch_more} || request.data == Bytes{protocol::abandon}) {
    code = request.data[0];
  } else if (const auto command = protocol::parse_command(request.data)) {
    code = command->code;
  }
  carry_out_command(request, code);
}

void CryptovisionMedium::carry_out_command(const protocol::RequestFrame& request,
                                           std::uint32_t code) {
  Duration time = timing_.other;
  if (const auto fault = bench_->strike(FaultPoint::before_command, code)) {
    if (!suffer(*fault, code, time)) return;
    const bool carried_out =
        fault->action != FaultAction::unplug && fault->action != FaultAction::power_cycle &&
        fault->action != FaultAction::dead && fault->action != FaultAction::silence;
    if (!carried_out) return;
  }
  bench_->witness.command(code, protocol::encode(request, 1));
  TseCore& core = card_.core();
  const std::uint64_t counter = core.signature_counter();
  const bool was_exporting = card_.exporting();
  Bytes data;
  if (request.data == Bytes{protocol::fetch_more}) {
    data = card_.next_frame();
    if (was_exporting) time += export_time(data.size());
  } else if (request.data == Bytes{protocol::abandon}) {
    card_.abandon();
    time -= timing_.other;  // clients do not wait for it
  } else {
    data = card_.execute(request.data, time_);
    if (card_.exporting()) time += timing_.export_first_byte + export_time(data.size());
    if (code == static_cast<std::uint32_t>(CommandCode::export_data)) {
      time += card_.options().silent_export;
    }
  }
  const std::uint64_t signatures = core.signature_counter() - counter;
  for (std::uint64_t i = 1; i <= signatures; ++i) bench_->witness.signature(counter + i);
  time += signing_time(signatures);
  if (timing_.start_up > Duration(0)) {
    time += std::max(Duration(0), *powered_at_ + timing_.start_up - time_);
  }

  if (const auto fault = bench_->strike(FaultPoint::after_command, code)) {
    if (!suffer(*fault, code, time)) return;
  }
  answer(data_frame(data), code, time);
}

Duration CryptovisionMedium::signing_time(std::uint64_t signatures) {
  Duration time{0};
  for (std::uint64_t i = 0; i < signatures; ++i) {
    time += timing_.signing;
    const auto jitter = static_cast<std::uint64_t>(timing_.signing_jitter.count());
    time += Duration(static_cast<std::int64_t>(bench_->faults.random(jitter)));
  }
  return time;
}

Duration CryptovisionMedium::export_time(std::size_t bytes) const {
  if (timing_.export_bytes_per_s == 0) return Duration(0);
  constexpr std::uint64_t second = 1'000'000;
  return Duration(static_cast<std::int64_t>(bytes * second / timing_.export_bytes_per_s));
}

Bytes CryptovisionMedium::acknowledgement() {
  return data_frame({});
}

void CryptovisionMedium::answer(Bytes frame, std::uint32_t code, Duration after) {
  const std::size_t blocks = (frame.size() + block_bytes - 1) / block_bytes;
  for (std::size_t i = 0; i < blocks; ++i) window_->ours.set(i);
  answer_ = Answer{std::move(frame), code, time_ + after, false};
  snapshot_.clear();
}

bool CryptovisionMedium::suffer(const Fault& fault, std::uint32_t code, Duration& time) {
  switch (fault.action) {
    case FaultAction::delay:
      time += std::chrono::milliseconds(fault.amount_ms);
      return true;
    case FaultAction::zero_answer:
    case FaultAction::lose_answer:
      end_response();
      return false;
    case FaultAction::busy_for_ever:
      acknowledge(code);
      answer_->never = true;
      return false;
    case FaultAction::element_timeout:
      answer(protocol::encode_response(protocol::length_element_timeout, {}), code, time);
      return false;
    case FaultAction::token_kept:
      return false;  // the request stands there as it was written
    case FaultAction::stale_answer:
      answer(last_frame_.empty() ? acknowledgement() : last_frame_, code, time);
      return false;
    default:
      bench_->demand = fault;
      return true;
  }
}

// --- and read

/// The buffer as a host sees it now.
Bytes CryptovisionMedium::shown() const {
  Bytes image = buffer_;
  if (!answer_) return image;
  if (busy()) {
    Bytes header = protocol::encode_response(protocol::length_busy, {});
    header.resize(protocol::request_header_bytes);  // the mode reads as zeros meanwhile
    std::copy(header.begin(), header.end(), image.begin());
    return image;
  }
  if (card_.options().tidy) image.assign(image.size(), 0);
  std::copy(answer_->frame.begin(), answer_->frame.end(), image.begin());
  return image;
}

Status CryptovisionMedium::read(std::uint64_t block, std::span<std::uint8_t> data) {
  if (Status status = base_->read(block, data); !status) return status;
  if (!window_) return {};
  for (std::size_t i = 0; i < data.size() / block_bytes; ++i) {
    if (!window_ || block + i < window_->first || block + i >= window_->first + window_blocks) {
      continue;
    }
    const std::size_t index = static_cast<std::size_t>(block + i - window_->first);
    if (!window_->ours.test(index)) continue;
    // Clients read the first block and the others in two goes: both come from one moment.
    if (index == 0) take_snapshot();
    const Bytes image = snapshot_.empty() ? shown() : snapshot_;
    const ByteView content = ByteView(image).subspan(index * block_bytes, block_bytes);
    std::copy(content.begin(), content.end(), data.subspan(i * block_bytes).begin());
  }
  return {};
}

void CryptovisionMedium::take_snapshot() {
  snapshot_ = shown();
  if (!answer_) return;
  if (busy()) {
    bench_->witness.read_while_busy();
    return;
  }
  if (const auto fault = bench_->strike(FaultPoint::answer, answer_->code)) {
    snapshot_ = struck_snapshot(*fault);
    return;
  }
  if (std::exchange(answer_->read, true)) return;
  bench_->witness.answer_read();
}

/// What this reader sees instead of the answer.
Bytes CryptovisionMedium::struck_snapshot(const Fault& fault) {
  Bytes image = shown();
  const auto put = [&image](const Bytes& frame) {
    std::copy(frame.begin(), frame.end(), image.begin());
  };
  switch (fault.action) {
    case FaultAction::zero_answer:
      image.assign(image.size(), 0);
      break;
    case FaultAction::lose_answer:
      image.assign(image.size(), 0);
      answer_->frame = image;
      break;
    case FaultAction::busy_for_ever:
      answer_->never = true;
      put(protocol::encode_response(protocol::length_busy, {}));
      break;
    case FaultAction::element_timeout:
      put(protocol::encode_response(protocol::length_element_timeout, {}));
      break;
    case FaultAction::token_kept:
      put(protocol::encode_response(protocol::length_busy, {}, protocol::usual_token));
      break;
    case FaultAction::stale_answer:
      put(last_frame_.empty() ? acknowledgement() : last_frame_);
      break;
    default:
      bench_->demand = fault;
      break;
  }
  return image;
}

}  // namespace tillbridge::simulator::tse
