#include "channel/massstorage/host.hpp"

#include <algorithm>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/usb/bulk_only.hpp"
#include "channel/usb/requests.hpp"

namespace tillbridge::massstorage {
namespace {

using usb::Completion;
using usb::TransferStatus;

constexpr std::uint32_t inquiry_bytes = scsi::InquiryReply::size;

bool moved(TransferStatus status) {
  return status == TransferStatus::success || status == TransferStatus::short_read;
}

std::string failure(std::string what, TransferStatus status) {
  return what.append(": ").append(usb::name(status));
}

const usb::Configuration* configuration_of(const usb::DeviceDescription& device) {
  if (const auto* active = device.find_configuration(device.active_configuration)) return active;
  return device.configurations.empty() ? nullptr : &device.configurations.front();
}

}  // namespace

Result<BulkOnlyHost> BulkOnlyHost::create(const usb::DeviceDescription& device,
                                          const HostOptions& options) {
  constexpr std::uint32_t largest_packet = 1024;
  if (options.max_transfer_bytes == 0 || options.max_transfer_bytes % largest_packet != 0 ||
      options.max_transfer_bytes > limits::transfer_bytes || options.max_command_bytes == 0 ||
      options.first_transfer_id == 0) {
    return fail(ErrorCode::config,
                "mass storage: a transfer's size must be a multiple of 1024 bytes, at most " +
                    std::to_string(limits::transfer_bytes));
  }
  const usb::Configuration* configuration = configuration_of(device);
  if (configuration == nullptr) {
    return fail(ErrorCode::protocol, device.label() + " has no configuration");
  }
  for (const usb::InterfaceDescriptor& interface : configuration->interfaces) {
    if (!usb::is_bulk_only(interface) || interface.alternate_setting != 0) continue;
    BulkOnlyHost host(options);
    host.configuration_value_ = configuration->value;
    host.interface_number_ = interface.number;
    host.next_id_ = options.first_transfer_id;
    for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
      if (endpoint.type() != usb::TransferType::bulk) continue;
      std::uint8_t& slot = (endpoint.address & 0x80U) != 0 ? host.in_endpoint_ : host.out_endpoint_;
      if (slot == 0) slot = endpoint.address;
    }
    if (host.in_endpoint_ != 0 && host.out_endpoint_ != 0) return host;
  }
  return fail(ErrorCode::refused, device.label() +
                                      " is no Bulk-Only mass storage device (no interface 08/06/50 "
                                      "with a bulk endpoint in each direction)");
}

Status BulkOnlyHost::may_start() const {
  if (busy()) return fail(ErrorCode::protocol, "the previous command has not ended yet");
  return {};
}

Status BulkOnlyHost::execute(Command command) {
  if (Status status = may_start(); !status) return status;
  if (command.direction == DataDirection::out) {
    command.length = static_cast<std::uint32_t>(
        std::min<std::size_t>(command.data.size(), limits::transfer_bytes + 1U));
  }
  if (command.direction == DataDirection::none) command.length = 0;
  if (command.length > limits::transfer_bytes) {
    return fail(ErrorCode::limit,
                "a command moves at most " + std::to_string(limits::transfer_bytes) + " bytes");
  }
  if (command.cdb.length == 0 || command.cdb.length > Cdb::max_size || command.lun > 15) {
    return fail(ErrorCode::protocol, "a command block has 1 to 16 bytes and goes to LUN 0 to 15");
  }
  begin(std::move(command));
  return {};
}

Status BulkOnlyHost::get_max_lun() {
  if (Status status = may_start(); !status) return status;
  pending_ = {};
  constexpr std::uint8_t class_interface_in = 0xA1;
  send(usb::control_transfer(next_id_,
                             {class_interface_in, request_get_max_lun, 0, interface_number_, 1}),
       Phase::max_lun);
  return {};
}

Status BulkOnlyHost::start_in(const Cdb& cdb, std::uint32_t length) {
  return execute({cdb, DataDirection::in, length, {}, 0});
}

Status BulkOnlyHost::inquiry() {
  return start_in(scsi::inquiry(inquiry_bytes), inquiry_bytes);
}

Status BulkOnlyHost::test_unit_ready() {
  return execute({scsi::test_unit_ready(), DataDirection::none, 0, {}, 0});
}

Status BulkOnlyHost::request_sense() {
  return start_in(scsi::request_sense(), scsi::Sense::size);
}

Status BulkOnlyHost::read_capacity() {
  Status status = start_in(scsi::read_capacity_10(), scsi::Capacity::size);
  if (status) learns_capacity_ = true;
  return status;
}

Status BulkOnlyHost::read(std::uint32_t block, std::uint16_t count) {
  const std::uint64_t length = std::uint64_t{count} * capacity_.block_size;
  if (length > options_.max_command_bytes) {
    return fail(ErrorCode::limit,
                "one READ moves at most " + std::to_string(options_.max_command_bytes) + " bytes");
  }
  if (count == 0) return execute({scsi::read_10(block, 0), DataDirection::none, 0, {}, 0});
  return start_in(scsi::read_10(block, count), static_cast<std::uint32_t>(length));
}

Status BulkOnlyHost::write(std::uint32_t block, Bytes data) {
  if (data.empty() || data.size() % capacity_.block_size != 0) {
    return fail(ErrorCode::protocol,
                "a WRITE moves whole blocks of " + std::to_string(capacity_.block_size) + " bytes");
  }
  const std::size_t count = data.size() / capacity_.block_size;
  if (data.size() > options_.max_command_bytes || count > 0xFFFF) {
    return fail(ErrorCode::limit,
                "one WRITE moves at most " + std::to_string(options_.max_command_bytes) + " bytes");
  }
  return execute({scsi::write_10(block, static_cast<std::uint16_t>(count)), DataDirection::out, 0,
                  std::move(data), 0});
}

Status BulkOnlyHost::synchronize_cache() {
  return execute({scsi::synchronize_cache_10(), DataDirection::none, 0, {}, 0});
}

void BulkOnlyHost::begin(Command command) {
  if (!sensing_) pending_ = {};
  command_ = std::move(command);
  block_ = {};
  block_.tag = next_tag_++;
  block_.data_length = command_.length;
  block_.flags = command_.direction == DataDirection::in ? CommandBlock::flag_in : std::uint8_t{0};
  block_.lun = command_.lun;
  block_.cdb = command_.cdb;
  received_.clear();
  moved_ = 0;
  status_retried_ = status_skipped_empty_ = false;

  usb::Transfer transfer;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = out_endpoint_;
  transfer.data = encode(block_);
  transfer.length = CommandBlock::size;
  send(std::move(transfer), Phase::command);
}

void BulkOnlyHost::send(usb::Transfer transfer, Phase phase) {
  transfer.id = next_id_++;
  if (next_id_ == 0) next_id_ = options_.first_transfer_id;  // ids are never 0
  phase_ = phase;
  running_ = Running{transfer.id, transfer.length, transfer.in()};
  queued_ = std::move(transfer);
}

void BulkOnlyHost::send_bulk_in(std::uint32_t length, Phase phase) {
  usb::Transfer transfer;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = in_endpoint_;
  transfer.length = length;
  send(std::move(transfer), phase);
}

void BulkOnlyHost::send_clear_halt(std::uint8_t endpoint, Phase phase) {
  send(usb::control_transfer(next_id_, usb::clear_halt(endpoint)), phase);
}

std::optional<usb::Transfer> BulkOnlyHost::poll_transfer() {
  return std::exchange(queued_, std::nullopt);
}

std::optional<usb::TransferId> BulkOnlyHost::poll_cancel() {
  return std::exchange(cancel_, std::nullopt);
}

std::optional<CommandResult> BulkOnlyHost::poll_result() {
  return std::exchange(result_, std::nullopt);
}

void BulkOnlyHost::abort() {
  if (phase_ == Phase::idle || aborting_) return;
  aborting_ = true;
  if (queued_) {  // never left the house
    queued_.reset();
    running_.reset();
    recover(Outcome::aborted, "given up");
    return;
  }
  cancel_ = running_->id;
}

void BulkOnlyHost::complete(const Completion& completion) {
  if (!running_ || queued_ || completion.id != running_->id) return;
  cancel_.reset();
  if (completion.status == TransferStatus::device_gone) {
    pending_.outcome = Outcome::device_gone;
    pending_.message = "the stick is gone";
    finish();
    return;
  }
  switch (phase_) {
    case Phase::recovery_reset:
    case Phase::recovery_clear_in:
    case Phase::recovery_clear_out:
      recovery_step(completion);
      return;
    default:
      break;
  }
  if (aborting_) {
    recover(Outcome::aborted, "given up");
    return;
  }
  switch (phase_) {
    case Phase::max_lun:
      max_lun_read(completion);
      break;
    case Phase::command:
      command_sent(completion);
      break;
    case Phase::data:
      data_moved(completion);
      break;
    case Phase::data_clear_halt:
    case Phase::status_clear_halt:
      if (completion.status == TransferStatus::success) {
        read_status();
      } else {
        recover(Outcome::transport_failure,
                failure("the halt of a pipe could not be cleared", completion.status));
      }
      break;
    case Phase::status:
      status_read(completion);
      break;
    default:
      break;
  }
}

void BulkOnlyHost::max_lun_read(const Completion& completion) {
  // A device with one LUN may stall this (3.2).
  if (moved(completion.status) && !completion.data.empty()) {
    pending_.max_lun = static_cast<std::uint8_t>(completion.data.front() & 0x0FU);
  } else if (completion.status != TransferStatus::stall) {
    pending_.outcome = Outcome::transport_failure;
    pending_.message = failure("Get Max LUN failed", completion.status);
  }
  finish();
}

void BulkOnlyHost::command_sent(const Completion& completion) {
  // No CBW may be left half taken: the device and we would not agree about what comes next (5.3.1).
  if (completion.status != TransferStatus::success ||
      completion.actual_length != CommandBlock::size) {
    recover(Outcome::transport_failure,
            failure("the command block was not taken", completion.status));
    return;
  }
  next_data();
}

void BulkOnlyHost::next_data() {
  if (moved_ == command_.length) {
    read_status();
    return;
  }
  const std::uint32_t length = std::min(command_.length - moved_, options_.max_transfer_bytes);
  if (command_.direction == DataDirection::in) {
    send_bulk_in(length, Phase::data);
    return;
  }
  usb::Transfer transfer;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = out_endpoint_;
  transfer.length = length;
  const ByteView part = ByteView(command_.data).subspan(moved_, length);
  transfer.data.assign(part.begin(), part.end());
  send(std::move(transfer), Phase::data);
}

void BulkOnlyHost::data_moved(const Completion& completion) {
  const bool in = running_->in;
  const std::uint32_t length = running_->length;
  std::uint32_t count = std::min(completion.actual_length, length);
  if (in) {
    count = static_cast<std::uint32_t>(std::min<std::size_t>(completion.data.size(), length));
    const ByteView data = ByteView(completion.data).first(count);
    received_.insert(received_.end(), data.begin(), data.end());
  }
  moved_ += count;

  if (completion.status == TransferStatus::stall) {
    send_clear_halt(in ? in_endpoint_ : out_endpoint_, Phase::data_clear_halt);
  } else if (!moved(completion.status)) {
    recover(Outcome::transport_failure, failure("the data was not moved", completion.status));
  } else if (count < length) {
    read_status();  // a short packet ends the data stage early
  } else {
    next_data();
  }
}

void BulkOnlyHost::read_status() {
  send_bulk_in(StatusBlock::size, Phase::status);
}

void BulkOnlyHost::status_read(const Completion& completion) {
  if (completion.status == TransferStatus::stall && !status_retried_) {
    status_retried_ = true;
    send_clear_halt(in_endpoint_, Phase::status_clear_halt);
    return;
  }
  if (!moved(completion.status)) {
    recover(Outcome::transport_failure, failure("the status was not read", completion.status));
    return;
  }
  // Some devices end data that is a multiple of the packet size with an empty packet nobody asked
  // for.
  if (completion.data.empty() && !status_skipped_empty_) {
    status_skipped_empty_ = true;
    read_status();
    return;
  }
  const Result<StatusBlock> status = parse_status_block(completion.data, block_);
  if (!status) {
    recover(Outcome::transport_failure, status.error().message);
  } else if (status->status == CommandStatus::phase_error) {
    recover(Outcome::phase_error, "the stick reports a phase error");
  } else if (sensing_) {
    sense_ended(*status);
  } else {
    command_ended(*status);
  }
}

void BulkOnlyHost::command_ended(const StatusBlock& status) {
  pending_.residue = status.residue;
  // A device may pad up to the length that was asked for; the residue says how much means nothing
  // (6.7.2).
  received_.resize(std::min<std::size_t>(received_.size(), command_.length - status.residue));
  pending_.data = std::exchange(received_, {});
  if (status.status == CommandStatus::passed) {
    if (learns_capacity_) {
      if (const auto capacity = scsi::parse_capacity(pending_.data)) capacity_ = *capacity;
    }
    finish();
    return;
  }
  pending_.outcome = Outcome::check_condition;
  pending_.message = "the stick refuses the command";
  if (!options_.automatic_sense) {
    finish();
    return;
  }
  sensing_ = true;
  begin({scsi::request_sense(), DataDirection::in, scsi::Sense::size, {}, command_.lun});
}

void BulkOnlyHost::sense_ended(const StatusBlock& status) {
  if (status.status == CommandStatus::passed) {
    if (const auto sense = scsi::parse_sense(received_)) {
      pending_.sense = *sense;
      pending_.message = "the stick refuses the command: " + sense->text();
    }
  }
  finish();
}

void BulkOnlyHost::recover(Outcome outcome, std::string message) {
  // A failed REQUEST SENSE must not hide that the command itself ended with a check condition.
  if (!sensing_ || aborting_) {
    pending_.outcome = outcome;
    pending_.message = std::move(message);
    if (pending_.residue == 0) pending_.residue = command_.length;
  }
  send(usb::control_transfer(next_id_, usb::bulk_only_reset(interface_number_)),
       Phase::recovery_reset);
}

void BulkOnlyHost::recovery_step(const Completion& completion) {
  // Each step is taken even if the one before failed: a device that cannot do the reset may still
  // clear its halts.
  if (completion.status != TransferStatus::success) pending_.needs_port_reset = true;
  if (phase_ == Phase::recovery_reset) {
    send_clear_halt(in_endpoint_, Phase::recovery_clear_in);
  } else if (phase_ == Phase::recovery_clear_in) {
    send_clear_halt(out_endpoint_, Phase::recovery_clear_out);
  } else {
    finish();
  }
}

void BulkOnlyHost::finish() {
  phase_ = Phase::idle;
  running_.reset();
  queued_.reset();
  cancel_.reset();
  aborting_ = sensing_ = learns_capacity_ = false;
  command_ = {};
  received_.clear();
  result_ = std::exchange(pending_, {});
}

}  // namespace tillbridge::massstorage
