#include "server/simulator/mass_storage_stick.hpp"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

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
  interface.interface_class = massstorage::interface_class;
  interface.interface_subclass = massstorage::interface_subclass;
  interface.interface_protocol = massstorage::interface_protocol;
  interface.endpoints = {{MassStorageStick::in_endpoint, bulk, 0, 0},
                         {MassStorageStick::out_endpoint, bulk, 0, 0}};
  blueprint.interfaces.push_back(std::move(interface));
  return blueprint;
}

std::uint32_t length_of(ByteView bytes) {
  return static_cast<std::uint32_t>(bytes.size());
}

}  // namespace

MassStorageStick::MassStorageStick(std::unique_ptr<Medium> medium, const StickOptions& options)
    : EndpointDevice(blueprint_of(options), options.delay),
      medium_(std::move(medium)),
      disk_(*medium_, {options.inquiry_vendor, options.inquiry_product, options.inquiry_revision,
                       options.serial, options.write_protected}),
      halts_on_short_data_(options.halts_on_short_data) {
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
    phase_ = Phase::command;
    needs_reset_recovery_ = false;  // the halts themselves stay until the host clears them (3.1)
    disk_.reset();
    return ControlAnswer::accept();
  }
  return ControlAnswer::refuse();
}

void MassStorageStick::restarted(bool bus_reset) {
  phase_ = Phase::command;
  needs_reset_recovery_ = false;
  if (bus_reset) {
    disk_.reset();
  } else {
    disk_.abandon();
  }
}

void MassStorageStick::halt_cleared(std::uint8_t endpoint) {
  if (needs_reset_recovery_) control().halt(endpoint);
}

bool MassStorageStick::ready(std::uint8_t endpoint) const {
  if (endpoint == in_endpoint) return phase_ == Phase::data_in || phase_ == Phase::status;
  return phase_ == Phase::command || phase_ == Phase::data_out;
}

std::optional<Ending> MassStorageStick::serve(PendingTransfer& pending) {
  if (pending.transfer.in()) return send(pending.transfer);
  if (phase_ == Phase::command) return take_command(pending);
  return take_data(pending);
}

Ending MassStorageStick::take_command(const PendingTransfer& pending) {
  const ByteView bytes = pending.rest();
  if (const auto command = massstorage::parse_command_block(bytes)) {
    begin(*command);
    return {TransferStatus::success, length_of(bytes), {}};
  }
  needs_reset_recovery_ = true;
  control().halt(in_endpoint);
  control().halt(out_endpoint);
  // The packet that shows the CBW to be none is taken; what follows it meets the halted pipe.
  const std::uint32_t taken = std::min(length_of(bytes), packet_size(out_endpoint));
  const bool whole = taken == bytes.size();
  return {whole ? TransferStatus::success : TransferStatus::stall, taken, {}};
}

/// Bulk-Only Transport 6.7: host expectation (Hn, Hi, Ho) against device intent (Dn, Di, Do).
void MassStorageStick::begin(const CommandBlock& command) {
  command_ = command;
  moved_ = 0;
  owes_empty_packet_ = false;
  const ScsiDisk::Intent intent = disk_.start(command.cdb, command.lun);
  intended_ = intent.length;

  const DataDirection expected = command.direction();
  const bool wanted = intent.direction != DataDirection::none;
  // Cases 2, 3, 7, 8, 10, 13: the device would need data that the host does not move. Nothing is
  // moved at all, so that a WRITE with a wrong length changes no block.
  phase_error_ = wanted && (intent.direction != expected || intent.length > command.data_length);
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
  const ByteView bytes = pending.rest();
  const auto taken =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes.size(), intended_ - moved_));
  disk_.consume(bytes.first(taken));
  moved_ += taken;
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

/// Fills one IN transfer packet by packet, as the bus does: it ends when it is full, with a short
/// packet, with a stall, or with more than fits.
Ending MassStorageStick::send(const usb::Transfer& transfer) {
  const std::size_t packet = packet_size(in_endpoint);
  Bytes data;
  if (phase_ == Phase::data_in) {
    if (!send_data(transfer.length, data)) return {TransferStatus::overflow, 0, std::move(data)};
    if (moved_ == intended_ || disk_.failed()) end_data();
    const bool full = data.size() == transfer.length;
    const bool ends_short = data.size() % packet != 0;
    if (full || ends_short) {
      // The short packet is also the empty one.
      if (ends_short) owes_empty_packet_ = false;
      return {TransferStatus::success, 0, std::move(data)};
    }
    if (control().halted(in_endpoint)) return {TransferStatus::stall, 0, std::move(data)};
  }
  if (owes_empty_packet_) {
    owes_empty_packet_ = false;
    return {TransferStatus::success, 0, std::move(data)};
  }
  // A host that asks for more than its CBW announced gets the status in the same transfer.
  if (transfer.length - data.size() < StatusBlock::size) {
    return {TransferStatus::overflow, 0, std::move(data)};
  }
  const Bytes status = take_status();
  data.insert(data.end(), status.begin(), status.end());
  return {TransferStatus::success, 0, std::move(data)};
}

/// Appends what fits. False: the next packet does not fit, and the host controller sees babble.
bool MassStorageStick::send_data(std::size_t room, Bytes& data) {
  const std::size_t packet = packet_size(in_endpoint);
  const std::uint64_t left = intended_ - moved_;
  const bool fits = left <= room || room % packet == 0;
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
  if (phase_error_) status.status = CommandStatus::phase_error;
  disk_.abandon();
  phase_ = Phase::command;
  return massstorage::encode(status);
}

}  // namespace tillbridge::simulator
