#include "channel/usbip/exporter.hpp"

#include <cassert>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "channel/usbip/outputs.hpp"
#include "channel/usbip/status.hpp"

namespace tillbridge::usbip {

Exporter::Exporter(Start start, std::optional<usb::DeviceDescription> device,
                   ExporterOptions options)
    : options_(options) {
  if (start == Start::attached) {
    assert(device.has_value());
    attach(device ? std::move(*device) : usb::DeviceDescription{});
  } else {
    expect(Phase::operation, OperationHeader::size);
  }
}

void Exporter::receive(ByteView bytes) {
  const auto answer_is_due = [this] {
    return phase_ == Phase::list_wanted || phase_ == Phase::import_wanted;
  };
  while (phase_ != Phase::closed && !answer_is_due() && part_.feed(bytes)) advance();
  // A client waits for the answer before it goes on; so there is nothing to buffer here.
  if (answer_is_due() && !bytes.empty()) {
    close(fail(ErrorCode::protocol, "USB/IP: the peer sent more before its request was answered"));
  }
}

void Exporter::advance() {
  switch (phase_) {
    case Phase::operation:
      return on_operation();
    case Phase::busid:
      return on_busid();
    case Phase::command:
      return on_command();
    case Phase::payload:
      payload_ = part_.take();
      if (!verdict_.has_packets) return finish_submit();
      if (command_.packet_count > limits::isochronous_packets) {  // refused already
        phase_ = Phase::packets;
        return part_.discard(std::uint64_t{command_.packet_count} * packet_size);
      }
      return expect(Phase::packets, command_.packet_count * packet_size);
    case Phase::packets:
      return on_packets();
    case Phase::list_wanted:
    case Phase::import_wanted:
    case Phase::closed:
      return;
  }
}

void Exporter::expect(Phase phase, std::size_t size) {
  phase_ = phase;
  part_.expect(size);
}

// --- operations
// ----------------------------------------------------------------------------------------------

void Exporter::on_operation() {
  const auto header = decode_operation_header(part_.view());
  if (!header) return close(header.error());
  if (header->version != protocol_version) {
    return close(fail(ErrorCode::protocol, "the peer speaks USB/IP version " +
                                               std::to_string(header->version >> 8U) + "." +
                                               std::to_string((header->version >> 4U) & 0xFU) +
                                               "." + std::to_string(header->version & 0xFU) +
                                               "; it needs a client of version 1.1.1"));
  }
  switch (header->code) {
    case operation::request_device_list:
      phase_ = Phase::list_wanted;
      outputs_.emplace_back(ListWanted{});
      return;
    case operation::request_import:
      return expect(Phase::busid, busid_size);
    default:
      return close(
          fail(ErrorCode::protocol, "the peer does not speak USB/IP: it asked for operation " +
                                        std::to_string(header->code)));
  }
}

void Exporter::on_busid() {
  auto busid = decode_busid(part_.view());
  if (!busid) return close(busid.error());
  phase_ = Phase::import_wanted;
  outputs_.emplace_back(ImportWanted{std::move(*busid)});
}

void Exporter::devices(const std::vector<usb::DeviceDescription>& devices) {
  if (phase_ != Phase::list_wanted) return;
  queue_send<Send>(outputs_, encode_device_list(devices));
  close(std::nullopt);
}

void Exporter::import_granted(usb::DeviceDescription device) {
  if (phase_ != Phase::import_wanted) return;
  queue_send<Send>(outputs_, encode_import_granted(device));
  attach(std::move(device));
}

void Exporter::import_refused(OperationStatus status) {
  if (phase_ != Phase::import_wanted) return;
  queue_send<Send>(outputs_, encode_import_refused(status));
  close(std::nullopt);
}

void Exporter::attach(usb::DeviceDescription device) {
  settings_.emplace(std::move(device));
  expect(Phase::command, command_size);
}

// --- commands
// ------------------------------------------------------------------------------------------------

void Exporter::on_command() {
  const auto command = decode_command(part_.view());
  if (!command) return close(command.error());
  if (const auto* submit = std::get_if<CmdSubmit>(&*command)) return on_submit(*submit);
  if (const auto* unlink = std::get_if<CmdUnlink>(&*command)) return on_unlink(*unlink);
  close(fail(ErrorCode::protocol, "USB/IP: the peer sent a reply where only requests are allowed"));
}

void Exporter::on_submit(const CmdSubmit& command) {
  if (by_sequence_.contains(command.sequence)) {
    return close(fail(ErrorCode::protocol, "USB/IP: the peer used sequence number " +
                                               std::to_string(command.sequence) +
                                               " again while its transfer is running"));
  }
  // Linux holds both in an int.
  if (command.length > INT32_MAX) {
    return close(fail(ErrorCode::malformed, "USB/IP: a CMD_SUBMIT of negative length"));
  }
  command_ = command;
  verdict_ = judge(command);
  if (verdict_.has_packets && command.packet_count > INT32_MAX) {
    return close(
        fail(ErrorCode::malformed, "USB/IP: an isochronous CMD_SUBMIT of negative packet count"));
  }
  const std::uint32_t payload = command.in ? 0 : command.length;
  phase_ = Phase::payload;
  if (verdict_.refusal == 0) return part_.expect_payload(payload);
  part_.discard(payload);
}

void Exporter::on_packets() {
  auto packets = decode_packets(part_.view());
  if (!packets) return close(packets.error());
  packets_ = std::move(*packets);
  if (verdict_.refusal == 0) verdict_.refusal = judge_packets(packets_);
  finish_submit();
}

void Exporter::finish_submit() {
  if (verdict_.refusal != 0) {
    answer_refused();
  } else {
    usb::Transfer transfer = std::move(verdict_.transfer);
    while (transfer.id == 0 || running_.contains(transfer.id)) transfer.id = next_id_++;
    transfer.packets = std::move(packets_);
    transfer.data = std::exchange(payload_, {});

    Running running;
    running.sequence = command_.sequence;
    running.type = transfer.type;
    running.in = transfer.in();
    running.short_not_ok = transfer.short_not_ok;
    running.length = transfer.length;
    running.packet_count = command_.packet_count;
    running.packets = transfer.packets;
    if (transfer.type == usb::TransferType::control) {
      running.host_request = usb::as_host_request(transfer.setup);
      if (transfer.setup.request_type == 0x80 &&
          transfer.setup.request == usb::request::get_descriptor) {
        running.descriptor = transfer.setup.value;
      }
    }
    bytes_in_flight_ += running.length;
    spare_sequences_.insert(by_sequence_, running.sequence, transfer.id);
    spare_running_.insert(running_, transfer.id, std::move(running));
    outputs_.emplace_back(Submit{std::move(transfer)});
  }
  payload_.clear();
  packets_.clear();
  expect(Phase::command, command_size);
}

void Exporter::on_unlink(const CmdUnlink& command) {
  expect(Phase::command, command_size);
  const auto found = by_sequence_.find(command.unlinked_sequence);
  if (found == by_sequence_.end()) return send_ret_unlink(command.sequence, 0);  // it had completed
  if (unlinks_waiting_ >= limits::transfers_in_flight_per_device) {
    return close(
        fail(ErrorCode::limit, "USB/IP: the peer unlinks more transfers than can be running"));
  }
  ++unlinks_waiting_;
  auto& unlinks = running_.at(found->second).unlinks;
  unlinks.push_back(command.sequence);
  if (unlinks.size() == 1) outputs_.emplace_back(Cancel{found->second});
}

void Exporter::close(std::optional<Error> error) {
  phase_ = Phase::closed;
  static_cast<void>(part_.take());
  payload_ = {};
  outputs_.emplace_back(Close{std::move(error)});
}

// --- answers
// -------------------------------------------------------------------------------------------------

void Exporter::complete(usb::Completion completion) {
  const auto found = running_.find(completion.id);
  if (found == running_.end()) {
    return note(Notice::unknown_completion, "a completion came for transfer " +
                                                std::to_string(completion.id) +
                                                ", which is not running");
  }
  const Running running = std::move(found->second);
  spare_running_.erase(running_, found);
  spare_sequences_.erase(by_sequence_, by_sequence_.find(running.sequence));
  bytes_in_flight_ -= running.length;
  unlinks_waiting_ -= running.unlinks.size();
  make_honest(running, completion);
  keep_identity(running, completion);
  if (running.host_request && completion.status == usb::TransferStatus::success) {
    settings_->apply(*running.host_request);
  }
  if (phase_ != Phase::closed) answer(running, std::move(completion));
}

void Exporter::answer(const Running& running, usb::Completion completion) {
  const bool unlinked = !running.unlinks.empty() &&
                        completion.status == usb::TransferStatus::cancelled &&
                        completion.actual_length == 0;
  if (!unlinked) {
    RetSubmit header;
    header.sequence = running.sequence;
    header.status = to_wire(completion.status);
    header.actual_length = completion.actual_length;
    header.packet_count = running.packet_count;
    for (const auto& packet : completion.packets) {
      if (packet.status != 0) ++header.error_count;
    }
    if (running.in && !completion.packets.empty()) {
      // On the wire the packets' data stand one behind the other, without the gaps of the buffer.
      ByteWriter packed(completion.actual_length);
      for (const auto& packet : completion.packets) {
        if (packet.actual_length == 0) continue;  // its offset may lie behind what is there
        packed.bytes(ByteView(completion.data).subspan(packet.offset, packet.actual_length));
      }
      completion.data = packed.finish();
    }
    send_ret_submit(header, std::move(completion.data), completion.packets);
  }
  std::int32_t status = unlinked ? -linux_errno::econnreset : 0;
  for (const std::uint32_t sequence : running.unlinks) {
    send_ret_unlink(sequence, status);
    status = 0;  // a second CMD_UNLINK for the same transfer came too late
  }
}

void Exporter::answer_refused() {
  RetSubmit header;
  header.sequence = command_.sequence;
  header.status = verdict_.refusal;
  header.packet_count = command_.packet_count;
  if (verdict_.has_packets) {
    header.packet_count = static_cast<std::uint32_t>(packets_.size());
    header.error_count = header.packet_count;
    for (auto& packet : packets_) {
      packet.actual_length = 0;
      packet.status = verdict_.refusal;
    }
  }
  send_ret_submit(header, {}, packets_);
}

void Exporter::send_ret_submit(RetSubmit header, Bytes payload,
                               const std::vector<usb::IsochronousPacket>& packets) {
  queue_send<Send>(outputs_, encode(header));
  queue_send<Send>(outputs_, std::move(payload));
  queue_send<Send>(outputs_, encode_packets(packets));
}

void Exporter::send_ret_unlink(std::uint32_t sequence, std::int32_t status) {
  queue_send<Send>(outputs_, encode(RetUnlink{sequence, status}));
}

std::optional<Exporter::Output> Exporter::poll() {
  return take_front(outputs_);
}

std::vector<usb::TransferId> Exporter::running() const {
  std::vector<usb::TransferId> ids;
  ids.reserve(running_.size());
  for (const auto& [id, running] : running_) ids.push_back(id);
  return ids;
}

std::optional<std::string> Exporter::poll_notice() {
  return take_front(notices_);
}

}  // namespace tillbridge::usbip
