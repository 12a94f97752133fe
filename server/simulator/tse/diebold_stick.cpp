#include "server/simulator/tse/diebold_stick.hpp"

#include <algorithm>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "tse/diebold/base64.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::simulator::tse {

using namespace evidence::diebold;  // the protocol that this file is about

namespace {

/// Answered while a command that went into a buffer is still being carried out.
bool is_light(std::uint16_t command) {
  return command <= static_cast<std::uint16_t>(Command::fetch_buffer) ||
         command == static_cast<std::uint16_t>(Command::reset_export);
}

std::chrono::milliseconds amount_of(const Fault& fault) {
  return std::chrono::milliseconds(fault.amount_ms);
}

/// An answer around the text of an archive, cut where that goes.
struct Halves {
  Bytes head, tail;
};
Halves halves_of(const Response& response) {
  constexpr std::size_t tail_markers = 2 /* ESC 99 */ + 2 /* ESC 9F */;
  Halves halves;
  halves.head = encode(response);
  const std::size_t cut = halves.head.size() - tail_markers - response.id.size();
  const ByteView frame(halves.head);
  const ByteView tail = frame.subspan(cut);
  halves.tail.assign(tail.begin(), tail.end());
  halves.head.resize(cut);
  return halves;
}

Response response_to(const Request& request, Parameters parameters) {
  return {request.command, std::move(parameters), request.id.value_or("")};
}

}  // namespace

SerialOptions DieboldOptions::default_serial() {
  SerialOptions serial;
  serial.product_id = 0x0005;
  serial.product = "Simulated Diebold Nixdorf TSE";
  serial.serial = "000000000005";
  serial.path = "simulated-5";
  return serial;
}

CoreOptions DieboldOptions::default_core() {
  CoreOptions core;  // P-384 and SHA-384
  core.needs_self_test = true;
  core.self_test_valid = std::chrono::hours(25);
  core.time_valid = std::chrono::hours(24);
  core.user_name[0] = "1";
  core.user_name[1] = "2";
  for (std::string& pin : core.transport_pin) pin = "12345";
  for (std::string& puk : core.transport_puk) puk = "123456";
  return core;
}

Timing DieboldOptions::default_timing() {
  Timing timing;
  timing.signing = std::chrono::milliseconds(250);
  timing.self_test = std::chrono::seconds(25);
  return timing;
}

Result<std::unique_ptr<DieboldStick>> DieboldStick::create(DieboldOptions options,
                                                           std::unique_ptr<Store> store) {
  auto core = TseCore::open(options.core, std::move(store));
  if (!core) return core.error();
  return std::unique_ptr<DieboldStick>(
      new DieboldStick(std::move(options), *std::move(core)));  // the constructor is private
}

DieboldStick::DieboldStick(DieboldOptions options, std::unique_ptr<TseCore> core)
    : SerialDevice(options.serial, std::make_shared<Bench>(options.seed)),
      options_(std::move(options)),
      core_(std::move(core)),
      commands_(*core_, options_),
      reported_(status_text()) {}

DieboldStick::~DieboldStick() = default;

// --- input

std::size_t DieboldStick::input_room() const {
  return limits::simulated_serial_buffer_bytes - input_.size();
}

void DieboldStick::receive(ByteView data) {
  if (!data.empty() && now() < std::max(line_free_at_, module_free_at_)) {
    bench().witness.command_while_busy();
  }
  input_.insert(input_.end(), data.begin(), data.end());
  look_for_request();
}

void DieboldStick::look_for_request() {
  if (head_) return;
  ByteReader reader(input_);
  if (auto event = parser_.next(reader)) head_ = Head{*std::move(event)};
  input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(reader.position()));
}

void DieboldStick::line_changed(bool terminal_ready) {
  if (terminal_ready || line_open()) return;
  // Whoever opens the port next has nothing to do with what its predecessor left.
  if (output_pieces() > 0) bench().witness.answer_discarded();
  drop_output();
  input_.clear();
  parser_.clear();
}

void DieboldStick::line_restarted(bool bus_reset) {
  input_.clear();
  parser_.clear();
  head_.reset();
  if (bus_reset) silent_ = false;
}

void DieboldStick::powered_up(Instant now) {
  const bool at_work =
      at_work_ || now < std::max(line_free_at_, module_free_at_) || commands_.command_open();
  core_->power_cycle();
  commands_.power_failed(at_work);
  line_restarted(true);
  drop_output();
  last_answer_.clear();
  remembered_ids_.clear();
  reported_ = status_text();
  at_work_ = self_test_fails_ = false;
  line_free_at_ = module_free_at_ = now + options_.timing.start_up;
  last_command_at_.reset();
}

// --- one request after the other

std::optional<Instant> DieboldStick::next_step() const {
  // A host that does not read gets nothing more to read.
  if (!head_ || silent_ || output_bytes() > limits::diebold_response_bytes) return std::nullopt;
  const auto* request = std::get_if<Request>(&head_->event);
  const bool light = request == nullptr || is_light(request->command);
  return light ? line_free_at_ : std::max(line_free_at_, module_free_at_);
}

void DieboldStick::step() {
  if (const auto* fault = std::get_if<FrameFault>(&head_->event)) {
    commands_.keep_error(fault->error);
    head_.reset();
    report_status(now());
    look_for_request();
    return;
  }
  const std::uint16_t command = std::get<Request>(head_->event).command;
  if (!std::exchange(head_->arrived, true) && struck_before(FaultPoint::command, command)) return;
  if (!std::exchange(head_->begun, true) && struck_before(FaultPoint::before_command, command)) {
    return;
  }
  const Request request = std::get<Request>(std::move(head_->event));
  head_.reset();
  work(request);
  look_for_request();
}

bool DieboldStick::struck_before(FaultPoint point, std::uint16_t command) {
  const auto fault = bench().strike(point, command);
  if (!fault) return false;
  switch (fault->action) {
    case FaultAction::delay:
      line_free_at_ = now() + amount_of(*fault);
      return true;
    case FaultAction::silence:
    case FaultAction::busy_for_ever:
      silent_ = true;
      return true;
    case FaultAction::stall:
      control().halt(data_in_endpoint);
      return false;
    case FaultAction::bit_flip:
      self_test_fails_ = command == static_cast<std::uint16_t>(Command::self_test);
      return false;
    default:
      at_work_ = true;  // for what a power failure leaves behind
      const bool struck = obey(*fault);
      at_work_ = dead();
      return struck;
  }
}

void DieboldStick::work(const Request& request) {
  note(request);
  const Duration waking = wake_up();
  last_command_at_ = now();
  current_command_ = request.command;
  at_work_ = true;
  const std::uint64_t before = core_->signature_counter();
  DieboldOutcome outcome =
      commands_.carry_out(request, now(), std::exchange(self_test_fails_, false));
  const std::uint64_t after = core_->signature_counter();
  for (std::uint64_t counter = before + 1; counter <= after; ++counter) {
    bench().witness.signature(counter);
  }
  Instant done_at = now() + waking + time_for(outcome, after - before);

  const auto fault = bench().strike(FaultPoint::after_command, request.command);
  if (fault && obey(*fault)) {
    at_work_ = dead();
    return;
  }
  at_work_ = false;
  if (fault && fault->action == FaultAction::delay) done_at += amount_of(*fault);
  if (fault && fault->action == FaultAction::stall) control().halt(data_in_endpoint);
  silent_ = fault &&
            (fault->action == FaultAction::silence || fault->action == FaultAction::busy_for_ever);
  const bool lost = silent_ || (fault && fault->action == FaultAction::lose_answer);

  if (outcome.error == DeviceError::none && request.answer == AnswerMode::in_buffer) {
    module_free_at_ = done_at;
    put_in_buffer(request, std::move(outcome), done_at);
    return;
  }
  line_free_at_ = done_at;
  const bool answered = outcome.error == DeviceError::none && request.answer == AnswerMode::now;
  if (answered && !lost) answer_now(request, std::move(outcome), done_at);
  if (!dead()) report_status(done_at);
}

void DieboldStick::note(const Request& request) {
  // Nobody makes the same id twice: a second one is the same request again, read or not.
  bench().witness.command(request.command, {});
  if (!request.id || request.id->empty()) return;
  if (std::find(remembered_ids_.begin(), remembered_ids_.end(), *request.id) !=
      remembered_ids_.end()) {
    bench().witness.repeated_frame();
    return;
  }
  remembered_ids_.push_back(*request.id);
  if (remembered_ids_.size() > limits::diebold_remembered_ids) remembered_ids_.pop_front();
}

Duration DieboldStick::wake_up() {
  const Timing& timing = options_.timing;
  const bool asleep = timing.sleep_after.count() > 0 && last_command_at_ &&
                      now() - *last_command_at_ >= timing.sleep_after;
  if (!asleep) return Duration(0);
  if (timing.sleep_loses_answer) commands_.clear_buffers();
  return timing.wake_up;
}

Duration DieboldStick::time_for(const DieboldOutcome& outcome, std::uint64_t signatures) {
  const Timing& timing = options_.timing;
  Duration time = outcome.self_test ? timing.self_test : Duration(0);
  for (std::uint64_t i = 0; i < signatures; ++i) {
    const auto jitter = static_cast<std::uint64_t>(timing.signing_jitter.count());
    time += timing.signing + Duration(bench().faults.random(jitter + 1));
  }
  if (outcome.archive) time += timing.export_first_byte;
  return std::max(time, timing.other);
}

// --- output

void DieboldStick::put_in_buffer(const Request& request, DieboldOutcome outcome, Instant done_at) {
  const std::uint64_t rate = outcome.archive ? options_.timing.export_bytes_per_s : 0;
  if (outcome.archive) outcome.parameters = {""};
  Halves halves = halves_of(response_to(request, std::move(outcome.parameters)));
  commands_.fill(request.buffer, DieboldBuffer(std::move(halves.head), std::move(outcome.archive),
                                               std::move(halves.tail), done_at, rate));
}

void DieboldStick::answer_now(const Request& request, DieboldOutcome outcome, Instant done_at) {
  if (outcome.archive) {
    const auto text = archive_text(*outcome.archive);
    if (!text) {
      commands_.keep_error(text.error().code == ErrorCode::limit ? DeviceError::general
                                                                 : DeviceError::log_not_read);
      return;
    }
    outcome.parameters = {*text};
  }
  Bytes frame = encode(response_to(request, std::move(outcome.parameters)));
  if (frame.size() > limits::diebold_response_bytes) {  // only a buffer has room for it
    commands_.keep_error(DeviceError::general);
    return;
  }
  const Bytes previous = std::exchange(last_answer_, frame);
  if (const auto fault = bench().strike(FaultPoint::status, request.command)) {
    if (fault->action == FaultAction::stale_answer) frame = previous;
    if (fault->action == FaultAction::delay) line_free_at_ = done_at += amount_of(*fault);
    if (!survives(*fault, frame)) return;
  }
  send_frame(std::move(frame), done_at);
}

Result<std::string> DieboldStick::archive_text(const Export& archive) {
  const std::uint64_t size = archive.bytes() + evidence::tar_trailer_bytes;
  if (base64_bytes(size) > limits::diebold_response_bytes) {
    return fail(ErrorCode::limit, "the archive is too large for an answer in one piece");
  }
  Bytes bytes(size);
  const auto stored = std::span(bytes).first(archive.bytes());
  if (const Status read = core_->read_export(archive, 0, stored); !read) return read.error();
  return to_base64(bytes);
}

bool DieboldStick::survives(const Fault& fault, Bytes& frame) {
  switch (fault.action) {
    case FaultAction::bit_flip: {
      const std::uint64_t bit = bench().faults.random(frame.size() * 8);
      frame[bit / 8] = static_cast<std::uint8_t>(frame[bit / 8] ^ (1U << (bit % 8)));
      return true;
    }
    case FaultAction::short_data:
      frame.resize(frame.size() / 2);
      return true;
    case FaultAction::stall:
      control().halt(data_in_endpoint);
      return true;
    case FaultAction::lose_answer:
      return false;
    case FaultAction::silence:
    case FaultAction::busy_for_ever:
      silent_ = true;
      return false;
    default:
      return !obey(fault);
  }
}

void DieboldStick::send_frame(Bytes frame, Instant ready_at) {
  if (!line_open()) return;
  if (options_.packet_gap.count() == 0) {
    send(std::move(frame), ready_at);
    return;
  }
  const std::size_t packet = std::max<std::size_t>(1, options_.gap_packet_bytes);
  for (ByteView rest(frame); !rest.empty(); ready_at += options_.packet_gap) {
    const ByteView piece = rest.first(std::min(rest.size(), packet));
    send(Bytes(piece.begin(), piece.end()), ready_at);
    rest = rest.subspan(piece.size());
  }
}

void DieboldStick::report_status(Instant at) {
  std::string text = status_text();
  if (text == reported_) return;
  reported_ = std::move(text);
  if (commands_.wants_status_reports()) send_frame(encode(StatusReport{reported_}), at);
}

std::string DieboldStick::status_text() const {
  std::string text;
  for (const std::string& field : parameters_of(commands_.status())) text += field;
  return text;
}

void DieboldStick::piece_begun() {
  const auto fault = bench().strike(FaultPoint::answer, current_command_);
  if (!fault) return;
  if (fault->action == FaultAction::delay) {
    postpone(now() + amount_of(*fault));
  } else if (fault->action == FaultAction::stall) {
    control().halt(data_in_endpoint);
  } else {
    static_cast<void>(obey(*fault));
  }
}

void DieboldStick::piece_read() {
  if (output_pieces() == 0) bench().witness.answer_read();
}

}  // namespace tillbridge::simulator::tse
