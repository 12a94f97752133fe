#include "server/simulator/mass_storage_stick.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <limits>
#include <utility>

#include "channel/usb/bulk_only.hpp"

namespace tillbridge::simulator {
namespace {

using massstorage::CommandBlock;
using massstorage::CommandStatus;
using massstorage::DataDirection;
using massstorage::StatusBlock;
using usb::TransferStatus;

DeviceBlueprint blueprint_of(const StickOptions& options) {
  constexpr std::uint8_t bulk = 2;
  DeviceBlueprint blueprint;
  blueprint.speed = options.speed;
  blueprint.vendor_id = options.vendor_id;
  blueprint.product_id = options.product_id;
  blueprint.manufacturer = options.manufacturer;
  blueprint.product = options.product;
  blueprint.serial = options.serial;
  blueprint.path = options.path;
  blueprint.max_power_ma = 200;
  InterfaceBlueprint interface;
  interface.interface_class = usb::class_code::mass_storage;
  interface.interface_subclass = usb::scsi_subclass;
  interface.interface_protocol = usb::bulk_only_protocol;
  interface.endpoints = {{MassStorageStick::in_endpoint, bulk, 0, 0},
                         {MassStorageStick::out_endpoint, bulk, 0, 0}};
  blueprint.interfaces.push_back(std::move(interface));
  return blueprint;
}

std::uint32_t length_of(ByteView bytes) {
  return static_cast<std::uint32_t>(bytes.size());
}

}  // namespace

MassStorageStick::MassStorageStick(std::unique_ptr<Medium> medium, const StickOptions& options,
                                   std::shared_ptr<Bench> bench)
    : EndpointDevice(blueprint_of(options), options.delay, std::move(bench)),
      medium_(std::move(medium)),
      disk_(*medium_, {options.inquiry_vendor, options.inquiry_product, options.inquiry_revision,
                       options.serial, options.write_protected}),
      halts_on_short_data_(options.halts_on_short_data),
      port_reset_cuts_power_(options.port_reset_cuts_power) {
  assert(medium_->block_count() > 0 &&
         medium_->block_count() <= std::numeric_limits<std::uint32_t>::max());
}

ControlAnswer MassStorageStick::class_request(const usb::SetupPacket& setup, ByteView /*data*/) {
  constexpr std::uint8_t class_interface_out = 0x21, class_interface_in = 0xA1;
  if (setup.index != 0 || setup.value != 0 || description().active_configuration == 0) {
    return ControlAnswer::refuse();
  }
  if (setup.request_type == class_interface_in &&
      setup.request == massstorage::request_get_max_lun && setup.length == 1) {
    return ControlAnswer::reply({0});
  }
  if (setup.request_type == class_interface_out &&
      setup.request == massstorage::request_bulk_only_reset && setup.length == 0) {
    bench().witness.class_reset();
    phase_ = Phase::command;
    silent_ = false;
    needs_reset_recovery_ = false;  // the halts themselves stay until the host clears them (3.1)
    disk_.reset();
    return ControlAnswer::accept();
  }
  return ControlAnswer::refuse();
}

void MassStorageStick::restarted(bool bus_reset) {
  phase_ = Phase::command;
  needs_reset_recovery_ = false;
  silent_ = false;
  if (bus_reset) {
    disk_.reset();
  } else {
    disk_.abandon();
  }
}

void MassStorageStick::halt_cleared(std::uint8_t endpoint) {
  if (needs_reset_recovery_) control().halt(endpoint);
}

void MassStorageStick::powered_up(Instant now) {
  disk_.insert_medium();
  medium_->power_cycle(now);
}

void MassStorageStick::bus_was_reset(Instant now) {
  if (port_reset_cuts_power_) {
    bench().witness.power_cycle();
    medium_->power_cycle(now);
  } else {
    medium_->bus_reset(now);
  }
}

bool MassStorageStick::ready(std::uint8_t endpoint) const {
  if (silent_) return false;
  if (endpoint == in_endpoint) return phase_ == Phase::data_in || phase_ == Phase::status;
  return phase_ == Phase::command || phase_ == Phase::data_out;
}

std::optional<Ending> MassStorageStick::serve(PendingTransfer& pending) {
  if (pending.transfer.in()) return send(pending.transfer);
  if (phase_ == Phase::command) return take_command(pending);
  return take_data(pending);
}

// --- faults

MassStorageStick::Course MassStorageStick::suffer(const Fault& fault) {
  switch (fault.action) {
    case FaultAction::delay:
      pause(std::chrono::milliseconds(fault.amount_ms));
      return fault.amount_ms > 0 ? Course::hold : Course::on;
    case FaultAction::stall:
      return Course::stall;
    case FaultAction::silence:
      silent_ = true;
      return Course::hold;
    case FaultAction::short_data:
      mischief_.short_data = true;
      return Course::on;
    case FaultAction::wrong_residue:
      mischief_.wrong_residue = true;
      return Course::on;
    case FaultAction::phase_error:
      mischief_.phase_error = true;
      return Course::on;
    case FaultAction::bit_flip:
      mischief_.bit_flip = true;
      return Course::on;
    case FaultAction::torn_write:
      mischief_.torn_write = fault;
      return Course::on;
    default:
      (void)obey(fault);  // the other faults are a TSE's own
      return dead() ? Course::hold : Course::on;
  }
}

MassStorageStick::Course MassStorageStick::pass(FaultPoint point, bool& struck) {
  if (struck) return Course::on;
  struck = true;
  const auto fault = bench().strike(point, command_.cdb.operation());
  return fault ? suffer(*fault) : Course::on;
}

/// What the front end behind the medium wants of the device. The data is with the medium by then,
/// or came from it; so a stall and a delay befall the status.
void MassStorageStick::heed_demand() {
  if (const auto fault = bench().take_demand()) {
    if (suffer(*fault) == Course::stall) mischief_.stalls_status = true;
  }
}

void MassStorageStick::flip_a_bit(Bytes& data) {
  if (!mischief_.bit_flip || data.empty()) return;
  mischief_.bit_flip = false;
  const std::uint64_t bit = bench().faults.random(data.size() * 8);
  data[static_cast<std::size_t>(bit / 8)] ^= static_cast<std::uint8_t>(1U << (bit % 8));
}

// --- the command's way

std::optional<Ending> MassStorageStick::take_command(const PendingTransfer& pending) {
  const ByteView bytes = pending.rest();
  if (const auto command = massstorage::parse_command_block(bytes)) {
    command_ = *command;
    mischief_ = {};
    bench().witness.scsi_command(command_.cdb.operation());
    bool struck = false;
    const Course course = pass(FaultPoint::command, struck);
    if (dead()) return std::nullopt;
    if (course == Course::stall) {
      control().halt(out_endpoint);
      return Ending{TransferStatus::stall, 0, {}};
    }
    if (!silent_) begin();
    return Ending{TransferStatus::success, length_of(bytes), {}};
  }
  needs_reset_recovery_ = true;
  control().halt(in_endpoint);
  control().halt(out_endpoint);
  // The packet that shows the CBW to be none is taken; what follows it meets the halted pipe.
  const std::uint32_t taken = std::min(length_of(bytes), packet_size(out_endpoint));
  const bool whole = taken == bytes.size();
  return Ending{whole ? TransferStatus::success : TransferStatus::stall, taken, {}};
}

/// Bulk-Only Transport 6.7: host expectation (Hn, Hi, Ho) against device intent (Dn, Di, Do).
void MassStorageStick::begin() {
  moved_ = 0;
  owes_empty_packet_ = false;
  pause(medium_->begin_command(command_.cdb.operation(), now()));
  const ScsiDisk::Intent intent = disk_.start(command_.cdb, command_.lun);
  intended_ = intent.length;
  heed_demand();

  const DataDirection expected = command_.direction();
  const bool wanted = intent.direction != DataDirection::none;
  // Cases 2, 3, 7, 8, 10, 13: the device would need data that the host does not move. Nothing is
  // moved at all, so that a WRITE with a wrong length changes no block.
  phase_error_ = wanted && (intent.direction != expected || intent.length > command_.data_length);
  phase_ = Phase::status;
  if (expected == DataDirection::none) return;  // cases 1, 2, 3

  const std::uint8_t pipe = expected == DataDirection::in ? in_endpoint : out_endpoint;
  if (phase_error_) {
    disk_.abandon();
    control().halt(pipe);
  } else if (wanted) {  // cases 5, 6, 11, 12
    phase_ = expected == DataDirection::in ? Phase::data_in : Phase::data_out;
  } else if (expected == DataDirection::out || halts_on_short_data_) {  // cases 4, 9
    control().halt(pipe);
  } else {
    owes_empty_packet_ = true;
  }
}

std::optional<Ending> MassStorageStick::take_data(PendingTransfer& pending) {
  const Course course = pass(FaultPoint::data, mischief_.data_struck);
  if (course == Course::hold) return std::nullopt;
  if (course == Course::stall) return stall_data(out_endpoint);
  const ByteView bytes = pending.rest();
  if (mischief_.torn_write || mischief_.short_data) {
    if (auto ending = take_part(bytes)) return ending;
    if (dead()) return std::nullopt;
  }
  const auto taken =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes.size(), intended_ - moved_));
  if (mischief_.bit_flip) {
    Bytes flipped(bytes.begin(), bytes.begin() + taken);
    flip_a_bit(flipped);
    disk_.consume(flipped);
  } else {
    disk_.consume(bytes.first(taken));
  }
  moved_ += taken;
  heed_demand();
  if (dead()) return std::nullopt;
  const bool complete = moved_ == intended_;
  const bool ends_short = bytes.size() % packet_size(out_endpoint) != 0 || bytes.empty() ||
                          pending.transfer.zero_packet;

  if (!complete && !ends_short && !disk_.failed()) {
    return Ending{TransferStatus::success, taken, {}};
  }
  if (!complete) disk_.cut_short();
  phase_ = Phase::status;
  if (command_.data_length > moved_) control().halt(out_endpoint);
  if (taken == bytes.size()) return Ending{TransferStatus::success, taken, {}};
  if (command_.data_length > moved_) return Ending{TransferStatus::stall, taken, {}};
  // More than the CBW announced: it waits, and is the next CBW in the device's eyes.
  pending.progress += taken;
  return std::nullopt;
}

/// A fault lets only the first half of the blocks in. Nothing: this transfer does not reach so far,
/// or the stick has left the bus.
std::optional<Ending> MassStorageStick::take_part(ByteView bytes) {
  const std::uint64_t half = intended_ / 2 / block_bytes * block_bytes;
  if (moved_ + bytes.size() <= half) return std::nullopt;
  const auto taken = static_cast<std::uint32_t>(half - moved_);
  disk_.consume(bytes.first(taken));
  moved_ += taken;
  if (mischief_.torn_write) {
    Fault leaving = *mischief_.torn_write;
    leaving.action = FaultAction::unplug;
    (void)obey(leaving);
    return std::nullopt;
  }
  mischief_.short_data = false;
  Ending ending = stall_data(out_endpoint);
  ending.moved = taken;
  return ending;
}

/// The data ends here, with a halted pipe and a failed command.
Ending MassStorageStick::stall_data(std::uint8_t pipe) {
  disk_.cut_short();
  phase_ = Phase::status;
  control().halt(pipe);
  return {TransferStatus::stall, 0, {}};
}

/// Fills one IN transfer packet by packet, as the bus does: it ends when it is full, with a short
/// packet, with a stall, or with more than fits.
std::optional<Ending> MassStorageStick::send(const usb::Transfer& transfer) {
  const std::size_t packet = packet_size(in_endpoint);
  Bytes data;
  if (phase_ == Phase::data_in) {
    const Course course = pass(FaultPoint::data, mischief_.data_struck);
    if (course == Course::hold) return std::nullopt;
    if (course == Course::stall) return stall_data(in_endpoint);
    if (mischief_.short_data) intended_ /= 2;
    mischief_.short_data = false;
    const bool fits = send_data(transfer.length, data);
    heed_demand();
    if (dead()) return std::nullopt;
    flip_a_bit(data);
    if (!fits) return Ending{TransferStatus::overflow, 0, std::move(data)};
    if (moved_ == intended_ || disk_.failed()) end_data();
    const bool full = data.size() == transfer.length;
    const bool ends_short = data.size() % packet != 0;
    if (full || ends_short) {
      // The short packet is also the empty one.
      if (ends_short) owes_empty_packet_ = false;
      return Ending{TransferStatus::success, 0, std::move(data)};
    }
    if (control().halted(in_endpoint)) return Ending{TransferStatus::stall, 0, std::move(data)};
  }
  if (owes_empty_packet_) {
    owes_empty_packet_ = false;
    return Ending{TransferStatus::success, 0, std::move(data)};
  }
  // A host that asks for more than its CBW announced gets the status in the same transfer. Faults
  // strike only a status that stands for itself.
  if (data.empty()) {
    const Course course = pass(FaultPoint::status, mischief_.status_struck);
    if (course == Course::hold) return std::nullopt;
    if (course == Course::stall || std::exchange(mischief_.stalls_status, false)) {
      control().halt(in_endpoint);
      return Ending{TransferStatus::stall, 0, {}};
    }
  }
  const std::size_t status_size =
      mischief_.short_data ? StatusBlock::size / 2 : std::size_t{StatusBlock::size};
  if (transfer.length - data.size() < status_size) {
    return Ending{TransferStatus::overflow, 0, std::move(data)};
  }
  Bytes status = take_status();
  flip_a_bit(status);
  status.resize(status_size);
  data.insert(data.end(), status.begin(), status.end());
  return Ending{TransferStatus::success, 0, std::move(data)};
}

/// Appends what fits. False: the next packet does not fit, and the host controller sees babble.
bool MassStorageStick::send_data(std::size_t room, Bytes& data) {
  const std::size_t packet = packet_size(in_endpoint);
  const std::uint64_t left = intended_ - moved_;
  // A transfer of no bytes has an IN token, too, and no room for the packet that answers it.
  const bool fits = left <= room || (room % packet == 0 && room != 0);
  const std::size_t size =
      fits ? static_cast<std::size_t>(std::min<std::uint64_t>(left, room)) : room - room % packet;
  disk_.produce(size, data);
  moved_ += data.size();
  return fits;
}

void MassStorageStick::end_data() {
  phase_ = Phase::status;
  if (moved_ == command_.data_length) return;
  if (halts_on_short_data_ || disk_.failed()) {
    control().halt(in_endpoint);
  } else {
    owes_empty_packet_ = true;
  }
}

Bytes MassStorageStick::take_status() {
  StatusBlock status;
  status.tag = command_.tag;
  status.residue = command_.data_length - static_cast<std::uint32_t>(disk_.processed());
  status.status = CommandStatus::passed;
  if (disk_.failed()) status.status = CommandStatus::failed;
  if (phase_error_ || mischief_.phase_error) status.status = CommandStatus::phase_error;
  if (mischief_.wrong_residue) status.residue += block_bytes;
  disk_.abandon();
  phase_ = Phase::command;
  return massstorage::encode(status);
}

}  // namespace tillbridge::simulator
