// The importer against any server. The input is a program: transfers are submitted and cancelled;
// an honest server answers, or answers with any numbers and raw bytes arrive, cut anywhere. A model
// knows what runs: each transfer completes exactly once, with no more data than it asked for,
// whatever the server sends; an honest answer reaches its own transfer and no other, with its data;
// what is sent is a command for that transfer, under a sequence number that nothing else has.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/usbip/importer.hpp"

namespace {

using namespace tillbridge;
using usbip::Importer;

void require(bool condition) {
  if (!condition) std::abort();
}

class Model {
 public:
  Model() : importer_("1-1") { importer_.start(); }

  void grant() {
    usb::DeviceDescription device;
    device.path = "1-1";
    device.speed = usb::Speed::high;
    importer_.receive(usbip::encode_import_granted(device));
    drain();
  }

  void submit(ByteReader& input) {
    usb::Transfer transfer;
    transfer.id = 1U + input.u8() % 32U;
    if (running_.contains(transfer.id)) return;
    const std::uint8_t shape = input.u8();
    transfer.type = static_cast<usb::TransferType>(shape & 3U);
    transfer.endpoint = static_cast<std::uint8_t>(((shape & 4U) != 0 ? 0x80U : 0U) | (shape >> 4U));
    transfer.length = input.u16be() % 3000U;
    if ((shape & 8U) != 0 && transfer.in()) transfer.length = input.u32be();
    transfer.short_not_ok = input.u8() % 2 == 0;
    transfer.interval = input.u8();
    if (!transfer.in()) transfer.data.resize(transfer.length, shape);
    if (transfer.type == usb::TransferType::isochronous) {
      transfer.packets.resize(input.u8() % 5U);
      std::uint32_t offset = 0;
      for (auto& packet : transfer.packets) {
        packet.offset = offset;
        packet.length = input.u16be() % 800U;
        offset += packet.length;
      }
    }
    running_.emplace(transfer.id, transfer);
    submitting_ = transfer.id;
    importer_.submit(std::move(transfer));
    drain();
    submitting_ = 0;
  }

  void cancel(ByteReader& input) {
    importer_.cancel(input.u8() % 40U);
    drain();
  }

  void ret_submit(ByteReader& input) {
    lied_ = true;
    usbip::RetSubmit answer;
    answer.sequence = input.u8();
    answer.status = -std::int32_t{input.u8() % 4U == 0 ? input.u8() : std::uint8_t{0}};
    answer.actual_length = input.u16be() % 3000U;
    answer.packet_count = input.u8() % 5U;
    Bytes bytes = encode(answer);
    // Whether data and packets follow is this peer's choice; a wrong one brings the stream out of
    // step.
    const std::uint8_t shape = input.u8();
    if ((shape & 1U) != 0) bytes.resize(bytes.size() + answer.actual_length, 0xAA);
    if ((shape & 2U) != 0) {
      std::vector<usb::IsochronousPacket> packets(answer.packet_count);
      for (auto& packet : packets) packet = {input.u8(), input.u8(), input.u16be() % 900U, 0};
      const Bytes more = usbip::encode_packets(packets);
      bytes.insert(bytes.end(), more.begin(), more.end());
    }
    receive(bytes, input.u8());
  }

  /// As a server answers that keeps to the protocol.
  void honest(ByteReader& input) {
    if (wire_.empty() || failed_ || lied_) return;
    auto at = wire_.begin();
    std::advance(at, input.u8() % wire_.size());
    const Wire wire = at->second;
    const std::uint32_t sequence = at->first;
    wire_.erase(at);
    const std::size_t cut = input.u8();
    if (wire.unlinks != 0) {
      const auto submitted = wire_.find(wire.unlinks);
      // It won, or the answer had gone out before.
      const bool won = submitted != wire_.end();
      if (won) {
        expected_ = Expected{submitted->second.transfer.id, -104, {}};
        wire_.erase(submitted);
      }
      receive(usbip::encode(usbip::RetUnlink{sequence, won ? -104 : 0}), cut);
      require(!expected_);
      return;
    }
    const usb::Transfer& transfer = wire.transfer;
    usbip::RetSubmit answer;
    answer.sequence = sequence;
    answer.status = input.u8() % 4U == 0 ? -32 : 0;
    std::vector<usb::IsochronousPacket> packets = transfer.packets;
    Bytes data;
    if (transfer.type == usb::TransferType::isochronous) {
      answer.packet_count = static_cast<std::uint32_t>(packets.size());
      for (auto& packet : packets) {
        packet.actual_length = packet.length == 0 ? 0 : input.u16be() % (packet.length + 1);
        answer.actual_length += packet.actual_length;
      }
    } else {
      answer.actual_length = transfer.length == 0 ? 0 : input.u16be() % (transfer.length + 1);
    }
    if (wire.in) data.resize(answer.actual_length, static_cast<std::uint8_t>(sequence));
    expected_ = Expected{transfer.id, answer.status, data};
    Bytes bytes = encode(answer);
    bytes.insert(bytes.end(), data.begin(), data.end());
    const Bytes more = usbip::encode_packets(packets);
    bytes.insert(bytes.end(), more.begin(), more.end());
    receive(bytes, cut);
    require(!expected_ && !failed_);
  }

  void ret_unlink(ByteReader& input) {
    lied_ = true;
    receive(usbip::encode(usbip::RetUnlink{input.u8(), input.u8() % 2 == 0 ? 0 : -104}),
            input.u8());
  }

  void raw(ByteReader& input) {
    lied_ = true;
    const std::size_t size = input.u8();
    const ByteView bytes = input.take(std::min(size, input.remaining()));
    receive(Bytes(bytes.begin(), bytes.end()), size / 2);
  }

  void finish() {
    importer_.lost();
    drain();
    require(running_.empty());
    require(!importer_.poll());
  }

 private:
  void receive(const Bytes& bytes, std::size_t cut) {
    const ByteView view(bytes);
    cut = std::min(cut, view.size());
    importer_.receive(view.first(cut));
    drain();
    importer_.receive(view.subspan(cut));
    drain();
  }

  void drain() {
    while (auto output = importer_.poll()) {
      if (auto* completed = std::get_if<Importer::Completed>(&*output)) {
        check(completed->completion);
      } else if (auto* sent = std::get_if<Importer::Send>(&*output)) {
        require(!failed_);  // nothing is sent after the end
        if (imported_) take_commands(sent->bytes);
      } else if (std::holds_alternative<Importer::Failed>(*output)) {
        require(!failed_);
        failed_ = true;
      } else if (std::holds_alternative<Importer::Imported>(*output)) {
        require(!std::exchange(imported_, true) && !failed_);
      }
    }
    require(!failed_ || running_.empty());
  }

  void check(const usb::Completion& completion) {
    const auto found = running_.find(completion.id);
    require(found != running_.end());
    const usb::Transfer& transfer = found->second;
    if (expected_ && !failed_) {
      require(completion.id == expected_->transfer);
      require(expected_->status != 0 || completion.status == usb::TransferStatus::success ||
              completion.status == usb::TransferStatus::short_read);
      require(expected_->status == 0 || completion.status != usb::TransferStatus::success);
      if (transfer.type == usb::TransferType::isochronous) {
        // In their places: as many bytes of the pattern as came, the rest is zero.
        const auto filled = std::count_if(completion.data.begin(), completion.data.end(),
                                          [](std::uint8_t byte) { return byte != 0; });
        require(expected_->data.empty() || expected_->data[0] == 0 ||
                static_cast<std::size_t>(filled) == expected_->data.size());
      } else {
        require(completion.data == expected_->data);
      }
      expected_.reset();
    }
    require(completion.actual_length <= transfer.length);
    require(completion.data.size() <= (transfer.in() ? transfer.length : 0));
    if (transfer.type != usb::TransferType::isochronous) {
      require(completion.packets.empty());
      if (transfer.in()) require(completion.data.size() == completion.actual_length);
    } else {
      require(completion.packets.empty() || completion.packets.size() == transfer.packets.size());
      for (std::size_t i = 0; i < completion.packets.size(); ++i) {
        const auto& packet = completion.packets[i];
        require(packet.offset == transfer.packets[i].offset);
        require(packet.actual_length <= transfer.packets[i].length);
      }
    }
    running_.erase(found);
  }

  /// The commands as a server reads them: each is whole, for the transfer that is being submitted
  /// or cancelled.
  void take_commands(const Bytes& bytes) {
    unread_.insert(unread_.end(), bytes.begin(), bytes.end());
    while (unread_.size() >= usbip::command_size) {
      ByteReader reader(unread_);
      const auto command = usbip::decode_command(reader.take(usbip::command_size));
      require(command.ok());
      if (const auto* submit = std::get_if<usbip::CmdSubmit>(&*command)) {
        const auto found = running_.find(submitting_);
        require(found != running_.end());
        const usb::Transfer& transfer = found->second;
        require(submit->endpoint == transfer.endpoint_number());
        require(submit->length == transfer.length && submit->device_id == (1U << 16U | 1U));
        require(submit->in == transfer.in() || transfer.length == 0);
        if (!submit->in) {
          const ByteView data = reader.take(submit->length);
          if (!reader.ok()) return;
          require(std::equal(data.begin(), data.end(), transfer.data.begin(), transfer.data.end()));
        }
        if (transfer.type == usb::TransferType::isochronous)
          reader.skip(submit->packet_count * usbip::packet_size);
        if (!reader.ok()) return;  // the rest is in the next Send
        require(wire_.emplace(submit->sequence, Wire{transfer, submit->in, 0}).second);
      } else {
        const auto* unlink = std::get_if<usbip::CmdUnlink>(&*command);
        require(unlink != nullptr);
        require(lied_ || wire_.contains(unlink->unlinked_sequence));
        require(
            wire_.emplace(unlink->sequence, Wire{{}, false, unlink->unlinked_sequence}).second ||
            lied_);
      }
      const ByteView rest = reader.rest();
      unread_ = Bytes(rest.begin(), rest.end());
    }
  }

  struct Wire {
    usb::Transfer transfer;
    bool in = false;
    std::uint32_t unlinks = 0;  ///< the sequence number, if it is a CMD_UNLINK
  };
  struct Expected {
    usb::TransferId transfer = 0;
    std::int32_t status = 0;
    Bytes data;
  };

  Importer importer_;
  std::map<usb::TransferId, usb::Transfer> running_;
  std::map<std::uint32_t, Wire> wire_;  ///< unanswered, by sequence number
  std::optional<Expected> expected_;    ///< of the honest answer that is being given
  usb::TransferId submitting_ = 0;
  Bytes unread_;
  bool lied_ = false;  ///< from then on the wire's state is not known
  bool imported_ = false;
  bool failed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(ByteView(data, size));
  Model model;
  if (input.u8() % 4 != 0) model.grant();
  while (input.remaining() > 0) {
    switch (input.u8() % 8) {
      case 0:
      case 1:
        model.submit(input);
        break;
      case 2:
        model.cancel(input);
        break;
      case 3:
        model.ret_submit(input);
        break;
      case 4:
        model.ret_unlink(input);
        break;
      case 6:
      case 7:
        model.honest(input);
        break;
      default:
        model.raw(input);
        break;
    }
  }
  model.finish();
  return 0;
}
