// What the exporter lets through: towards the device only what its descriptors allow, towards the
// peer (which may be a kernel) only completions that fit the request.
#include <algorithm>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/usbip/exporter.hpp"
#include "channel/usbip/status.hpp"

namespace tillbridge::usbip {

using namespace linux_errno;
using usb::TransferStatus;
using usb::TransferType;

namespace {

/// wValue of SET_FEATURE(TEST_MODE): only a power cycle ends it (USB 2.0, 9.4.9).
constexpr std::uint16_t feature_test_mode = 2;

bool harms_the_device(const usb::SetupPacket& setup) {
  return setup.request_type == 0 &&
         (setup.request == usb::request::set_address ||
          (setup.request == usb::request::set_feature && setup.value == feature_test_mode));
}

}  // namespace

Exporter::Verdict Exporter::judge(const CmdSubmit& command) {
  Verdict verdict;
  auto& transfer = verdict.transfer;
  const usb::EndpointDescriptor* endpoint = nullptr;
  if (command.endpoint <= 15) {
    transfer.endpoint = static_cast<std::uint8_t>(command.endpoint | (command.in ? 0x80U : 0U));
    if (command.endpoint != 0) endpoint = settings_->find_endpoint(transfer.endpoint);
  }
  transfer.length = command.length;
  transfer.type = endpoint != nullptr ? endpoint->type() : TransferType::control;
  // Packet descriptors follow for an isochronous endpoint. For an endpoint that is not there only
  // the count can tell: a peer sends one with isochronous transfers only.
  const bool known = endpoint != nullptr || command.endpoint == 0;
  verdict.has_packets = known ? transfer.type == TransferType::isochronous
                              : command.packet_count != 0 && command.packet_count <= INT32_MAX;

  if (!known) {
    verdict.refusal =
        refuse(Notice::refused, -einval,
               "endpoint " + std::to_string(command.endpoint) + (command.in ? " IN" : " OUT") +
                   " is not in the device's current settings");
  } else if (command.length > limits::transfer_bytes ||
             (verdict.has_packets && command.packet_count > limits::isochronous_packets)) {
    verdict.refusal =
        refuse(Notice::above_limit, -enomem,
               "a transfer of " + std::to_string(command.length) + " bytes is above the limit of " +
                   std::to_string(limits::transfer_bytes));
  } else if (running_.size() >= limits::transfers_in_flight_per_device ||
             bytes_in_flight_ + command.length > limits::transfer_bytes_in_flight_per_device) {
    verdict.refusal =
        refuse(Notice::above_limit, -enomem, "too many transfers are running at once");
  } else if (endpoint == nullptr) {
    verdict.refusal = judge_control(command, transfer);
  } else if (transfer.type == TransferType::control) {
    verdict.refusal = refuse(Notice::refused, -einval, "control transfers go to endpoint 0 only");
  } else if (transfer.type == TransferType::isochronous && !options_.isochronous) {
    verdict.refusal = refuse(Notice::isochronous, -enosys,
                             "isochronous transfers (audio, video) are not supported");
  } else if (transfer.type != TransferType::bulk) {
    transfer.interval = endpoint->interval;
  }
  transfer.short_not_ok = transfer.in() && (command.flags & transfer_flag::short_not_ok) != 0;
  transfer.zero_packet = !transfer.in() && transfer.type == TransferType::bulk &&
                         (command.flags & transfer_flag::zero_packet) != 0;
  return verdict;
}

std::int32_t Exporter::judge_control(const CmdSubmit& command, usb::Transfer& transfer) {
  transfer.setup = command.setup;
  auto& setup = transfer.setup;
  transfer.endpoint = setup.in() ? 0x80 : 0x00;
  if (setup.in()) {
    // Windows' buffers may be longer or shorter than wLength. What both allow is read; a device
    // never sends more than wLength, so the shorter buffer cannot overflow.
    setup.length =
        static_cast<std::uint16_t>(std::min<std::uint32_t>(setup.length, command.length));
    transfer.length = setup.length;
  }
  // Without a data stage Linux sends either direction.
  if (command.length != 0 && command.in != setup.in()) {
    return refuse(Notice::refused, -einval,
                  "a control transfer against the direction of its setup packet");
  }
  if (!setup.in() && setup.length != command.length) {
    return refuse(Notice::refused, -einval,
                  "a control transfer with other data than its setup packet says");
  }
  if (harms_the_device(setup)) {
    return refuse(Notice::refused, -eperm,
                  "SET_ADDRESS and test mode are never passed to a device");
  }
  const auto request = usb::as_host_request(setup);
  if (request && (setup.length != 0 || !settings_->allows(*request))) {
    // What the device itself would answer; a host knows how to go on from there.
    return refuse(Notice::refused, -epipe,
                  "a standard request that names a configuration, interface or endpoint the device "
                  "does not have");
  }
  return 0;
}

std::int32_t Exporter::judge_packets(const std::vector<usb::IsochronousPacket>& packets) {
  if (packets.empty()) return -einval;
  std::uint64_t total = 0;
  for (const auto& packet : packets) {
    total += packet.length;
    if (std::uint64_t{packet.offset} + packet.length > command_.length) return -einval;
  }
  // Packets that overlap would make one transfer's answer longer than its buffer.
  return total > command_.length ? -einval : 0;
}

std::int32_t Exporter::refuse(Notice notice, std::int32_t status, const std::string& why) {
  note(notice, "refused a transfer: " + why);
  return status;
}

void Exporter::make_honest(const Running& running, usb::Completion& completion) {
  if (!running.in) completion.data.clear();
  bool honest = completion.actual_length <= running.length;
  if (running.type != TransferType::isochronous) {
    completion.packets.clear();
    honest = honest && (!running.in || completion.data.size() == completion.actual_length);
  } else if (completion.status == TransferStatus::success || !completion.packets.empty()) {
    // IN: the data stand in the buffer's places, and the packets say which of them are real.
    std::uint64_t total = 0;
    honest = honest && completion.packets.size() == running.packets.size();
    for (std::size_t i = 0; honest && i < running.packets.size(); ++i) {
      auto& packet = completion.packets[i];
      packet.offset = running.packets[i].offset;
      packet.length = running.packets[i].length;
      total += packet.actual_length;
      honest = packet.actual_length <= packet.length &&
               (!running.in || packet.actual_length == 0 ||
                std::uint64_t{packet.offset} + packet.actual_length <= completion.data.size());
    }
    if (honest) completion.actual_length = static_cast<std::uint32_t>(total);
  }
  if (!honest) {
    note(Notice::false_completion, "a completion did not fit its transfer of " +
                                       std::to_string(running.length) + " bytes: it says " +
                                       std::to_string(completion.actual_length) + " and carries " +
                                       std::to_string(completion.data.size()));
    completion.status = TransferStatus::error;
    completion.packets.clear();
  }
  if (running.type == TransferType::isochronous && completion.packets.empty()) {
    // The peer still needs as many descriptors as it sent.
    completion.packets = running.packets;
    for (auto& packet : completion.packets) {
      packet.actual_length = 0;
      packet.status = to_wire(completion.status);
    }
    honest = false;
  }
  if (!honest) {
    completion.actual_length = 0;
    completion.data.clear();
  }
  if (running.short_not_ok && completion.status == TransferStatus::success &&
      completion.actual_length < running.length) {
    completion.status = TransferStatus::short_read;
  }
}

void Exporter::keep_identity(const Running& running, usb::Completion& completion) {
  if (!running.descriptor || completion.data.empty() ||
      settings_->shows(*running.descriptor, completion.data)) {
    return;
  }
  note(Notice::other_descriptors,
       "the device shows other descriptors than those it was let through with; they are not passed "
       "on. If it is not a harmless fault of its firmware, it pretends to be another device");
  completion.status = TransferStatus::error;
  completion.actual_length = 0;
  completion.data.clear();
}

void Exporter::note(Notice notice, std::string text) {
  const auto index = static_cast<std::size_t>(notice);
  if (noted_.test(index)) return;  // once each: a hostile peer must not fill the log
  noted_.set(index);
  notices_.push_back(std::move(text));
}

}  // namespace tillbridge::usbip
