#include "server/simulator/tse/swissbit_medium.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "channel/massstorage/scsi.hpp"

namespace tillbridge::simulator::tse {
namespace {

using swissbit::AnswerState;
using swissbit::CommandStatus;
using swissbit::Opcode;
using swissbit::sector_bytes;
static_assert(sector_bytes == block_bytes);

constexpr std::uint8_t number_of(Opcode opcode) {
  return static_cast<std::uint8_t>(opcode);
}

Duration milliseconds(std::uint32_t ms) {
  return std::chrono::milliseconds(ms);
}

/// Commands that move blocks wake a stick up; what Windows asks each second does not (inferred).
bool moves_blocks(std::uint8_t operation_code) {
  namespace operation = massstorage::scsi::operation;
  switch (operation_code) {
    case operation::read_6:
    case operation::read_10:
    case operation::read_12:
    case operation::write_6:
    case operation::write_10:
    case operation::write_12:
      return true;
    default:
      return false;
  }
}

/// Faults whose victim is the answer; all others are the device's affair.
bool concerns_answer(FaultAction action) {
  switch (action) {
    case FaultAction::delay:
    case FaultAction::bit_flip:
    case FaultAction::zero_answer:
    case FaultAction::busy_for_ever:
    case FaultAction::element_timeout:
    case FaultAction::token_kept:
    case FaultAction::stale_answer:
    case FaultAction::lose_answer:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<std::unique_ptr<SwissbitMedium>> SwissbitMedium::create(std::unique_ptr<Medium> base,
                                                               std::unique_ptr<TseCore> core,
                                                               const Timing& timing,
                                                               const SwissbitOptions& options,
                                                               std::shared_ptr<Bench> bench) {
  const auto layout = swissbit_layout(*base, options);
  if (!layout) return layout.error();
  const std::uint64_t room = store_bytes_of(*layout);
  if (core->options().store_bytes > room) {
    constexpr std::uint64_t mib = 1U << 20U;
    return fail(ErrorCode::config, "a store of " +
                                       std::to_string(core->options().store_bytes / mib) +
                                       " MiB does not fit on the disk: at most " +
                                       std::to_string(room / mib) + " MiB do");
  }
  return std::unique_ptr<SwissbitMedium>(new SwissbitMedium(
      std::move(base), std::move(core), timing, options, std::move(bench), *layout));
}

SwissbitMedium::SwissbitMedium(std::unique_ptr<Medium> base, std::unique_ptr<TseCore> core,
                               const Timing& timing, const SwissbitOptions& options,
                               std::shared_ptr<Bench> bench, const SwissbitLayout& layout)
    : base_(std::move(base)),
      card_(std::move(core), options),
      timing_(timing),
      bench_(std::move(bench)),
      layout_(layout),
      witnessed_counter_(card_.core().signature_counter()) {}

// --- blocks

SwissbitMedium::Run SwissbitMedium::run_at(std::uint64_t block) const {
  if (block == swissbit::pointer_block) return {Place::pointers, block + 1};
  if (block == layout_.info) return {Place::info, block + 1};
  if (block == layout_.comm) return {Place::comm, block + 1};
  const std::uint64_t store_end = layout_.store + layout_.store_blocks;
  if (block >= layout_.store && block < store_end) return {Place::store, store_end};
  for (const std::uint64_t next :
       {swissbit::pointer_block, layout_.info, layout_.comm, layout_.store}) {
    if (block < next) return {Place::disk, next};
  }
  return {Place::disk, block_count()};
}

Status SwissbitMedium::read(std::uint64_t block, std::span<std::uint8_t> data) {
  while (!data.empty()) {
    const Run run = run_at(block);
    const std::uint64_t count = std::min<std::uint64_t>(data.size() / block_bytes, run.end - block);
    const auto part = data.first(static_cast<std::size_t>(count * block_bytes));
    Status status;
    switch (run.place) {
      case Place::disk:
      case Place::pointers:
        status = base_->read(block, part);
        break;
      case Place::info: {
        const Bytes info = swissbit::encode(card_.info(layout_.store_blocks, now_));
        std::copy(info.begin(), info.end(), part.begin());
        break;
      }
      case Place::comm: {
        const Bytes answer = read_comm();
        std::copy(answer.begin(), answer.end(), part.begin());
        break;
      }
      case Place::store:
        status = read_store(block - layout_.store, part);
        break;
    }
    if (!status) return status;
    block += count;
    data = data.subspan(part.size());
  }
  return {};
}

Status SwissbitMedium::write(std::uint64_t block, ByteView data) {
  while (!data.empty()) {
    const Run run = run_at(block);
    const std::uint64_t count = std::min<std::uint64_t>(data.size() / block_bytes, run.end - block);
    const ByteView part = data.first(static_cast<std::size_t>(count * block_bytes));
    switch (run.place) {
      case Place::disk:
        if (Status status = base_->write(block, part); !status) return status;
        break;
      case Place::pointers:
      case Place::info:
        break;  // the TSE's own; reported good, as for blocks of the store
      case Place::comm:
        take_command(part);
        break;
      case Place::store:
        write_store(block - layout_.store, part);
        break;
    }
    block += count;
    data = data.subspan(part.size());
  }
  return {};
}

/// The core's archive, zeros behind it, and what was imported for an open step.
Status SwissbitMedium::read_store(std::uint64_t store_block, std::span<std::uint8_t> data) {
  TseCore& core = card_.core();
  const std::uint64_t offset = store_block * block_bytes, used = core.store_bytes_used();
  const std::uint64_t stored =
      offset < used ? std::min<std::uint64_t>(used - offset, data.size()) : 0;
  if (stored > 0) {
    const auto part = data.first(static_cast<std::size_t>(stored));
    if (Status status = core.read_store(offset, part); !status) return status;
    if (offset == 0) reading_time_ += timing_.export_first_byte;
    if (timing_.export_bytes_per_s > 0) {
      constexpr std::uint64_t microseconds = 1'000'000;
      reading_time_ +=
          Duration(static_cast<Duration::rep>(stored * microseconds / timing_.export_bytes_per_s));
    }
  }
  std::fill(data.begin() + static_cast<std::ptrdiff_t>(stored), data.end(), std::uint8_t{0});
  if (!card_.step_open()) return {};
  for (std::size_t at = 0; at < data.size(); at += block_bytes) {
    const auto imported = card_.imported(store_block + at / block_bytes);
    if (!imported) continue;
    std::copy(imported->begin(), imported->end(), data.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return {};
}

void SwissbitMedium::write_store(std::uint64_t store_block, ByteView data) {
  for (; !data.empty(); data = data.subspan(block_bytes), ++store_block) {
    if (!card_.expects(store_block)) continue;
    if (struck_between_steps()) return;
    card_.import(store_block, data.first(block_bytes));
  }
}

// --- time

Duration SwissbitMedium::begin_command(std::uint8_t operation_code, Instant now) {
  now_ = std::max(now_, now);
  if (!started_at_) {  // made at some time of a clock that is not ours; switched on now
    started_at_ = now_ + timing_.start_up;
    last_active_ = now_;
  }
  if (!moves_blocks(operation_code)) return Duration(0);
  Duration wait = std::exchange(reading_time_, Duration(0));
  const Instant idle_since = std::max(last_active_, comm_.busy_until);
  if (timing_.sleep_after.count() > 0 && now_ > idle_since &&
      now_ - idle_since > timing_.sleep_after) {
    wait += timing_.wake_up;
    if (timing_.sleep_loses_answer) comm_.instead = Bytes(sector_bytes);
  }
  now_ += wait;
  last_active_ = now_;
  return wait;
}

void SwissbitMedium::power_cycle(Instant now) {
  now_ = std::max(now_, now);
  card_.power_cycle();
  comm_ = {};
  step_opcode_ = 0;
  reading_time_ = Duration(0);
  started_at_ = now_ + timing_.start_up;
  last_active_ = now_;
}

Duration SwissbitMedium::duration_of(std::uint8_t opcode, bool signed_something) {
  if (opcode == number_of(Opcode::self_test)) return timing_.self_test;
  if (!signed_something) return timing_.other;
  const auto jitter = static_cast<std::uint64_t>(timing_.signing_jitter.count());
  if (jitter == 0) return timing_.signing;
  return timing_.signing + Duration(static_cast<Duration::rep>(bench_->faults.random(jitter + 1)));
}

// --- commands

void SwissbitMedium::take_command(ByteView sector) {
  const auto frame = swissbit::parse_frame(sector);
  if (!frame) return;
  if (answer_state() == AnswerState::busy) return bench_->witness.command_while_busy();
  const bool closes = frame->opcode == number_of(Opcode::close_step) && card_.step_open();
  if (closes && struck_between_steps()) return;

  Duration delay{0};
  bool element_fails = false;
  if (const auto fault = bench_->strike(FaultPoint::before_command, frame->opcode)) {
    if (fault->action == FaultAction::delay) {
      delay = milliseconds(fault->amount_ms);
    } else if (fault->action == FaultAction::element_timeout) {
      element_fails = true;
    } else {
      if (!concerns_answer(fault->action)) bench_->demand = *fault;
      return;
    }
  }

  if (comm_.unread) bench_->witness.answer_discarded();
  bench_->witness.command(frame->opcode, frame->bytes);
  const bool fetches = frame->opcode == number_of(Opcode::fetch_answer) &&
                       answer_state() == AnswerState::waits_for_fetch;
  comm_.request.assign(sector.begin(), sector.end());
  if (fetches) {
    answer_with({comm_.answer.status, comm_.answer.data}, frame->opcode, timing_.other + delay);
  } else {
    const std::uint64_t counter = card_.core().signature_counter();
    SwissbitCard::Outcome outcome = carry_out(*frame, element_fails);
    const bool signed_something = card_.core().signature_counter() != counter;
    answer_with(std::move(outcome), frame->opcode,
                duration_of(frame->opcode, signed_something) + delay);
  }
  witness_signatures();
  if (const auto fault = bench_->strike(FaultPoint::after_command, frame->opcode)) {
    strike_answer(*fault);
  }
}

SwissbitCard::Outcome SwissbitMedium::carry_out(const swissbit::CommandFrame& frame,
                                                bool element_fails) {
  if (element_fails) {
    if (frame.opcode == number_of(Opcode::self_test)) return card_.failing_self_test(now_);
    return {CommandStatus::signature_error, {}};
  }
  const auto command = swissbit::parse_command(frame);
  if (const auto* refused = std::get_if<CommandStatus>(&command)) return {*refused, {}};
  const auto& known = std::get<swissbit::Command>(command);
  SwissbitCard::Outcome outcome = card_.run(known, now_);
  if (std::holds_alternative<swissbit::OpenStep>(known) && outcome.status == CommandStatus::ok) {
    step_opcode_ = frame.opcode;
    step_struck_ = false;
  }
  return outcome;
}

void SwissbitMedium::answer_with(SwissbitCard::Outcome outcome, std::uint8_t opcode,
                                 Duration took) {
  const Duration fetch_after = card_.options().fetch_after;
  comm_.previous = std::exchange(comm_.answer, {});
  comm_.answer.counter = comm_.previous.counter + 1;
  comm_.answer.state = AnswerState::complete;
  comm_.answer.status = outcome.status;
  comm_.answer.data = std::move(outcome.data);
  comm_.opcode = opcode;
  comm_.busy_until = std::max(now_, started_at_.value_or(now_)) + took;
  comm_.waits_for_fetch =
      opcode != number_of(Opcode::fetch_answer) && fetch_after.count() > 0 && took > fetch_after;
  comm_.unread = true;
  comm_.instead.reset();
}

AnswerState SwissbitMedium::answer_state() const {
  if (comm_.answer.state == AnswerState::none) return AnswerState::none;
  if (comm_.busy_for_ever || now_ < comm_.busy_until) return AnswerState::busy;
  return comm_.waits_for_fetch ? AnswerState::waits_for_fetch : AnswerState::complete;
}

Bytes SwissbitMedium::read_comm() {
  AnswerState state = answer_state();
  if (state == AnswerState::waits_for_fetch || state == AnswerState::complete) {
    if (const auto fault = bench_->strike(FaultPoint::answer, comm_.opcode)) strike_answer(*fault);
    state = answer_state();
  }
  if (state == AnswerState::busy) {
    bench_->witness.read_while_busy();
  } else if (state != AnswerState::none) {
    if (comm_.unread) bench_->witness.answer_read();
    comm_.unread = false;
  }
  if (comm_.instead && state != AnswerState::busy) return *comm_.instead;
  swissbit::Answer answer = comm_.answer;
  answer.state = state;
  return swissbit::encode(answer);
}

void SwissbitMedium::witness_signatures() {
  const std::uint64_t counter = card_.core().signature_counter();
  while (witnessed_counter_ < counter) bench_->witness.signature(++witnessed_counter_);
}

// --- faults

bool SwissbitMedium::struck_between_steps() {
  if (std::exchange(step_struck_, true)) return false;
  const auto fault = bench_->strike(FaultPoint::between_steps, step_opcode_);
  if (!fault) return false;
  bench_->demand = *fault;
  return fault->action != FaultAction::delay;
}

void SwissbitMedium::strike_answer(const Fault& fault) {
  switch (fault.action) {
    case FaultAction::delay:
      comm_.busy_until = std::max(now_, comm_.busy_until) + milliseconds(fault.amount_ms);
      break;
    case FaultAction::busy_for_ever:
      comm_.busy_for_ever = true;
      break;
    case FaultAction::zero_answer:
      comm_.instead = Bytes(sector_bytes);
      break;
    case FaultAction::token_kept:
      comm_.instead = comm_.request;
      break;
    case FaultAction::stale_answer:
      comm_.answer.status = comm_.previous.status;
      comm_.answer.data = comm_.previous.data;
      break;
    case FaultAction::lose_answer:
      comm_.answer = comm_.previous;
      comm_.waits_for_fetch = comm_.unread = false;
      break;
    case FaultAction::element_timeout:
      comm_.answer.status = CommandStatus::signature_error;
      comm_.answer.data.clear();
      break;
    case FaultAction::bit_flip: {
      Bytes block = swissbit::encode(comm_.answer);
      const auto bit = static_cast<std::size_t>(bench_->faults.random(8 * block.size()));
      block[bit / 8] = static_cast<std::uint8_t>(block[bit / 8] ^ (1U << (bit % 8)));
      comm_.instead = std::move(block);
      break;
    }
    default:
      bench_->demand = fault;
  }
}

}  // namespace tillbridge::simulator::tse
