// The importer against any server. The input is a program: transfers are submitted and cancelled,
// answers with any numbers and raw bytes arrive, cut anywhere. A model knows what runs: each
// transfer completes exactly once, with no more data than it asked for, whatever the server sends.
#include <algorithm>
#include <cstdlib>
#include <map>
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
    if (!transfer.in()) transfer.data.resize(transfer.length);
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
    importer_.submit(std::move(transfer));
    drain();
  }

  void cancel(ByteReader& input) {
    importer_.cancel(input.u8() % 40U);
    drain();
  }

  void ret_submit(ByteReader& input) {
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

  void ret_unlink(ByteReader& input) {
    receive(usbip::encode(usbip::RetUnlink{input.u8(), input.u8() % 2 == 0 ? 0 : -104}),
            input.u8());
  }

  void raw(ByteReader& input) {
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
      } else if (std::holds_alternative<Importer::Failed>(*output)) {
        require(!failed_);
        failed_ = true;
      } else if (std::holds_alternative<Importer::Imported>(*output)) {
        require(!std::exchange(imported_, true) && !failed_);
      } else {
        require(!failed_);  // nothing is sent after the end
      }
    }
    require(!failed_ || running_.empty());
  }

  void check(const usb::Completion& completion) {
    const auto found = running_.find(completion.id);
    require(found != running_.end());
    const usb::Transfer& transfer = found->second;
    require(completion.actual_length <= transfer.length);
    require(completion.data.size() <= (transfer.in() ? transfer.length : 0));
    if (transfer.type != usb::TransferType::isochronous) {
      require(completion.packets.empty());
      if (transfer.in()) require(completion.data.size() == completion.actual_length);
    } else {
      require(completion.packets.empty() || completion.packets.size() == transfer.packets.size());
    }
    running_.erase(found);
  }

  Importer importer_;
  std::map<usb::TransferId, usb::Transfer> running_;
  bool imported_ = false;
  bool failed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(ByteView(data, size));
  Model model;
  if (input.u8() % 4 != 0) model.grant();
  while (input.remaining() > 0) {
    switch (input.u8() % 6) {
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
      default:
        model.raw(input);
        break;
    }
  }
  model.finish();
  return 0;
}
