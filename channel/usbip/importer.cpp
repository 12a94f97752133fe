#include "channel/usbip/importer.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/usbip/outputs.hpp"
#include "channel/usbip/status.hpp"

namespace tillbridge::usbip {

using usb::TransferStatus;
using usb::TransferType;

namespace {

/// How many transfers unlinked early are remembered; the race behind them concerns the last one or
/// two.
constexpr std::size_t unlinked_early_max = 64;

std::string why_refused(std::uint32_t status, const std::string& busid) {
  switch (static_cast<OperationStatus>(status)) {
    case OperationStatus::not_available:
    case OperationStatus::no_such_device:
      return "the USB server does not export \"" + busid +
             "\", or somebody else uses it; look at the server's device list";
    case OperationStatus::busy:
      return "\"" + busid +
             "\" is in use by another client of the USB server; detach it there first";
    default:
      return "the USB server could not hand out \"" + busid + "\" (status " +
             std::to_string(status) + "); look at its log";
  }
}

/// Whether the packets stay inside the transfer's buffer, none over another one's length.
bool packets_fit(const usb::Transfer& transfer) {
  std::uint64_t total = 0;
  for (const auto& packet : transfer.packets) {
    total += packet.length;
    if (std::uint64_t{packet.offset} + packet.length > transfer.length) return false;
  }
  return total <= transfer.length;
}

}  // namespace

Importer::Importer(std::string busid) : busid_(std::move(busid)) {}

void Importer::start() {
  if (phase_ != Phase::not_started) return;
  if (busid_.empty() || busid_.size() >= busid_size) {
    return fail_with(
        fail(ErrorCode::refused,
             "\"" + busid_ + "\" is not a USB/IP bus id (1 to 31 bytes, such as 1-1.4)"));
  }
  queue_send<Send>(outputs_, encode_import_request(busid_));
  expect(Phase::reply, OperationHeader::size);
}

void Importer::receive(ByteView bytes) {
  if (phase_ == Phase::not_started) return;
  while (phase_ != Phase::closed && part_.feed(bytes)) advance();
}

void Importer::advance() {
  switch (phase_) {
    case Phase::reply:
      return on_reply();
    case Phase::record:
      return on_record();
    case Phase::command:
      return on_command();
    case Phase::payload:
      payload_ = part_.take();
      return expect(Phase::packets, answered_.type == TransferType::isochronous
                                        ? answer_.packet_count * packet_size
                                        : 0);
    case Phase::packets:
      return finish_ret_submit();
    case Phase::not_started:
    case Phase::closed:
      return;
  }
}

void Importer::expect(Phase phase, std::size_t size) {
  phase_ = phase;
  part_.expect(size);
}

// --- the import
// ----------------------------------------------------------------------------------------------

void Importer::on_reply() {
  const auto header = decode_operation_header(part_.view());
  if (!header) return fail_with(header.error());
  if (header->code != operation::reply_import) {
    return broke_protocol("it answered the import with operation " + std::to_string(header->code));
  }
  if (header->version != protocol_version) {
    return broke_protocol("it does not speak version 1.1.1");
  }
  if (header->status != 0) {
    return fail_with(fail(ErrorCode::refused, why_refused(header->status, busid_)));
  }
  expect(Phase::record, DeviceRecord::size);
}

void Importer::on_record() {
  const auto record = decode_device_record(part_.view());
  if (!record) return fail_with(record.error());
  if (record->busid != busid_) {
    return broke_protocol("it granted \"" + record->busid + "\" instead of \"" + busid_ + "\"");
  }
  device_id_ = (record->bus_number << 16U) | (record->device_number & 0xFFFFU);
  auto device = to_description(*record);
  speed_ = device.speed;
  outputs_.emplace_back(Imported{std::move(device), busid_});
  expect(Phase::command, command_size);
}

// --- towards the device
// --------------------------------------------------------------------------------------

void Importer::submit(usb::Transfer transfer) {
  assert(!by_id_.contains(transfer.id));
  const bool imported =
      phase_ == Phase::command || phase_ == Phase::payload || phase_ == Phase::packets;
  if (!imported) return complete_at_once(transfer.id, TransferStatus::device_gone);
  const bool control = transfer.type == TransferType::control;
  if (!transfer.in()) transfer.length = static_cast<std::uint32_t>(transfer.data.size());
  if (transfer.length > (control ? limits::control_transfer_bytes : limits::transfer_bytes) ||
      transfer.data.size() > limits::transfer_bytes ||
      transfer.packets.size() > limits::isochronous_packets ||
      running_.size() >= limits::transfers_in_flight_per_device ||
      bytes_in_flight_ + transfer.length > limits::transfer_bytes_in_flight_per_device) {
    return complete_at_once(transfer.id, TransferStatus::no_resources);
  }

  if (transfer.type == TransferType::isochronous && !packets_fit(transfer)) {
    return complete_at_once(transfer.id, TransferStatus::refused);
  }

  CmdSubmit command;
  command.sequence = next_sequence();
  command.device_id = device_id_;
  // A control transfer without data stage goes OUT, as Linux' usb_submit_urb wants it.
  command.in = transfer.in() && !(control && transfer.length == 0);
  command.endpoint = transfer.endpoint_number();
  if (command.in) command.flags |= transfer_flag::direction_in;
  if (command.in && transfer.short_not_ok) command.flags |= transfer_flag::short_not_ok;
  if (!command.in && transfer.zero_packet) command.flags |= transfer_flag::zero_packet;
  command.length = transfer.length;
  command.interval = wire_interval(transfer);
  if (transfer.type == TransferType::isochronous) {
    command.flags |= transfer_flag::iso_asap;
    command.packet_count = static_cast<std::uint32_t>(transfer.packets.size());
  }
  if (control) command.setup = transfer.setup;

  Running running;
  running.id = transfer.id;
  running.type = transfer.type;
  running.in = command.in;
  running.short_not_ok = transfer.short_not_ok;
  running.length = transfer.length;
  if (transfer.type == TransferType::isochronous) running.packets = std::move(transfer.packets);

  queue_send<Send>(outputs_, encode(command));
  if (!command.in) queue_send<Send>(outputs_, std::move(transfer.data));
  queue_send<Send>(outputs_, encode_packets(running.packets));
  bytes_in_flight_ += running.length;
  spare_sequences_.insert(by_id_, running.id, command.sequence);
  spare_running_.insert(running_, command.sequence, std::move(running));
}

void Importer::cancel(usb::TransferId id) {
  const auto sequence = by_id_.find(id);
  if (sequence == by_id_.end()) return;
  auto& running = running_.at(sequence->second);
  if (running.unlinked) return;
  // A server that answers every transfer but no unlink would otherwise collect them here for ever.
  if (unlinks_.size() >= 2 * limits::transfers_in_flight_per_device) {
    return broke_protocol("it does not answer CMD_UNLINK");
  }
  running.unlinked = true;
  CmdUnlink command;
  command.sequence = next_sequence();
  command.device_id = device_id_;
  command.unlinked_sequence = sequence->second;
  unlinks_.emplace(command.sequence, command.unlinked_sequence);
  queue_send<Send>(outputs_, encode(command));
}

std::uint32_t Importer::next_sequence() {
  const auto in_use = [this](std::uint32_t sequence) {
    return sequence == 0 || running_.contains(sequence) || unlinks_.contains(sequence);
  };
  do {
    ++last_sequence_;
  } while (in_use(last_sequence_));
  return last_sequence_;
}

/// Linux counts in frames or microframes where the descriptor has an exponent (USB 2.0, table
/// 9-13), and refuses 0.
std::uint32_t Importer::wire_interval(const usb::Transfer& transfer) const {
  if (transfer.type != TransferType::interrupt && transfer.type != TransferType::isochronous)
    return 0;
  const bool exponent = speed_ >= usb::Speed::high || transfer.type == TransferType::isochronous;
  if (!exponent) return std::clamp<std::uint32_t>(transfer.interval, 1, 255);
  return 1U << (std::clamp<std::uint32_t>(transfer.interval, 1, 16) - 1);
}

// --- from the device
// -----------------------------------------------------------------------------------------

void Importer::on_command() {
  const auto command = decode_command(part_.view());
  if (!command) return fail_with(command.error());
  if (const auto* submit = std::get_if<RetSubmit>(&*command)) return on_ret_submit(*submit);
  if (const auto* unlink = std::get_if<RetUnlink>(&*command)) return on_ret_unlink(*unlink);
  broke_protocol("it sent a request where only replies are allowed");
}

void Importer::on_ret_submit(const RetSubmit& command) {
  auto running = take_running(command.sequence);
  answering_ = running.has_value();
  if (!running) {
    const auto early =
        std::find_if(unlinked_early_.begin(), unlinked_early_.end(),
                     [&](const auto& entry) { return entry.first == command.sequence; });
    if (early == unlinked_early_.end()) {
      return broke_protocol("it answered transfer " + std::to_string(command.sequence) +
                            ", which is not running");
    }
    running = std::move(early->second);
    unlinked_early_.erase(early);
  }
  answer_ = command;
  answered_ = std::move(*running);
  bool fits = command.actual_length <= answered_.length;
  if (answered_.type == TransferType::isochronous) {
    // A server that fails the whole transfer may leave the descriptors out.
    fits =
        fits && (command.packet_count == answered_.packets.size() ||
                 (command.packet_count == 0 && command.status != 0 && command.actual_length == 0));
  } else {
    fits = fits && (command.packet_count == 0 || command.packet_count == no_packets);
  }
  if (!fits) {
    return broke_protocol("its answer (" + std::to_string(command.actual_length) + " bytes, " +
                          std::to_string(command.packet_count) +
                          " packets) is larger than the transfer of " +
                          std::to_string(answered_.length) + " bytes");
  }
  phase_ = Phase::payload;
  part_.expect_payload(answered_.in ? command.actual_length : 0);
}

void Importer::finish_ret_submit() {
  usb::Completion completion;
  completion.id = answered_.id;
  completion.status = from_wire(answer_.status);
  completion.actual_length = answer_.actual_length;
  completion.data = std::exchange(payload_, {});
  if (answered_.type == TransferType::isochronous && !unpack(answered_, completion)) {
    return broke_protocol("its isochronous packet descriptors do not fit the transfer");
  }
  if (answered_.short_not_ok && completion.status == TransferStatus::success &&
      completion.actual_length < answered_.length) {
    completion.status = TransferStatus::short_read;
  }
  if (answering_) outputs_.emplace_back(Completed{std::move(completion)});
  answering_ = false;
  expect(Phase::command, command_size);
}

/// Takes over the packets' results and puts IN data, which come packed, into their places of the
/// transfer's buffer.
bool Importer::unpack(Running& running, usb::Completion& completion) {
  const auto results = decode_packets(part_.view());
  if (!results) return false;
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < results->size(); ++i) {
    auto& packet = running.packets[i];
    packet.actual_length = (*results)[i].actual_length;
    packet.status = (*results)[i].status;
    if (packet.actual_length > packet.length) return false;
    total += packet.actual_length;
  }
  if (results->empty()) {
    for (auto& packet : running.packets) packet.status = answer_.status;
  }
  if (running.in) {
    if (total != completion.data.size()) return false;
    Bytes buffer(running.length);
    ByteReader packed(completion.data);
    for (const auto& packet : running.packets) {
      if (packet.actual_length == 0) continue;
      const ByteView data = packed.take(packet.actual_length);
      if (std::uint64_t{packet.offset} + data.size() > buffer.size()) return false;
      std::copy(data.begin(), data.end(), std::span(buffer).subspan(packet.offset).begin());
    }
    completion.data = std::move(buffer);
  }
  completion.packets = std::move(running.packets);
  return true;
}

void Importer::on_ret_unlink(const RetUnlink& command) {
  expect(Phase::command, command_size);
  const auto unlink = unlinks_.find(command.sequence);
  if (unlink == unlinks_.end()) {
    return broke_protocol("it answered unlink " + std::to_string(command.sequence) +
                          ", which was never sent");
  }
  const std::uint32_t sequence = unlink->second;
  unlinks_.erase(unlink);
  auto running = take_running(sequence);
  if (!running) return;  // its RET_SUBMIT came before: the ordinary race
  complete_at_once(running->id, TransferStatus::cancelled);
  // Status 0 means "it had completed before", so its RET_SUBMIT should have come already. Linux'
  // stub driver can send the two in the wrong order, and when an unlinked URB still succeeds it
  // sends no RET_SUBMIT at all. So a late one is let pass.
  if (command.status == 0) remember_unlinked(sequence, std::move(*running));
}

void Importer::remember_unlinked(std::uint32_t sequence, Running running) {
  if (unlinked_early_.size() >= unlinked_early_max) unlinked_early_.pop_front();
  unlinked_early_.emplace_back(sequence, std::move(running));
}

std::optional<Importer::Running> Importer::take_running(std::uint32_t sequence) {
  const auto found = running_.find(sequence);
  if (found == running_.end()) return std::nullopt;
  std::optional<Running> running(std::move(found->second));
  spare_running_.erase(running_, found);
  spare_sequences_.erase(by_id_, by_id_.find(running->id));
  bytes_in_flight_ -= running->length;
  return running;
}

// --- the end
// -------------------------------------------------------------------------------------------------

void Importer::lost(TransferStatus status) {
  // An answer that was on its way: what has come of it is not the whole.
  if (std::exchange(answering_, false)) complete_at_once(answered_.id, status);
  phase_ = Phase::closed;
  static_cast<void>(part_.take());
  payload_ = {};
  std::vector<std::uint32_t> sequences;
  for (const auto& [sequence, running] : running_) sequences.push_back(sequence);
  std::sort(sequences.begin(), sequences.end());  // a deterministic order, about that of submission
  for (const std::uint32_t sequence : sequences) {
    complete_at_once(take_running(sequence)->id, status);
  }
  unlinks_.clear();
  unlinked_early_.clear();
}

void Importer::fail_with(Error error) {
  if (phase_ == Phase::closed) return;
  lost();
  outputs_.emplace_back(Failed{std::move(error)});
}

void Importer::broke_protocol(const std::string& how) {
  fail_with(fail(ErrorCode::protocol, "the USB server broke the USB/IP protocol: " + how));
}

void Importer::complete_at_once(usb::TransferId id, TransferStatus status) {
  usb::Completion completion;
  completion.id = id;
  completion.status = status;
  outputs_.emplace_back(Completed{std::move(completion)});
}

std::optional<Importer::Output> Importer::poll() {
  return take_front(outputs_);
}

}  // namespace tillbridge::usbip
