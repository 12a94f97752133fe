// The exporter against any peer and any device. The input is a program: well-formed commands with
// any numbers, honest and lying completions, in any order and cut anywhere. A model knows what is
// outstanding: each CMD_SUBMIT is answered exactly once, or unlinked; each CMD_UNLINK exactly once;
// what is submitted is what the peer asked for and what the descriptors allow; an answer has the
// data of its own transfer and of no other. Inputs that begin with an even byte are raw bytes
// instead.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>

#include "channel/bytes/limits.hpp"
#include "channel/usbip/exporter.hpp"

namespace {

using namespace tillbridge;
using usbip::Exporter;

void require(bool condition) {
  if (!condition) std::abort();
}

usb::DeviceDescription device() {
  static const Bytes configuration{
      9, 2, 71,   0, 2, 1,    0, 0x80, 50,                                 // configuration 1
      9, 4, 0,    0, 3, 8,    6, 0x50, 0,  7,    5, 0x81, 2,    0, 2, 0,   // bulk IN
      7, 5, 0x02, 2, 0, 2,    0, 7,    5,  0x83, 3, 8,    0,    4,         // bulk OUT, interrupt IN
      9, 4, 0,    1, 2, 0xFF, 0, 0,    0,  7,    5, 0x86, 1,    0, 4, 1,   // isochronous IN
      7, 5, 0x07, 1, 0, 4,    1, 9,    4,  1,    0, 0,    0xFF, 0, 0, 0};  // isochronous OUT
  usb::DeviceDescription description;
  description.speed = usb::Speed::high;
  description.path = "1-1";
  description.device.configuration_count = 1;
  description.active_configuration = 1;
  auto parsed = usb::parse_configuration(configuration);
  require(parsed.ok());
  description.configurations.push_back(std::move(*parsed));
  return description;
}

struct Outstanding {
  bool in = false;
  bool has_packets = false;
  std::uint32_t length = 0;
  usb::TransferId transfer = 0;  ///< what was submitted for it; 0: refused, or not yet
  std::optional<Bytes> data;     ///< of an honest completion
};

class Model {
 public:
  explicit Model(std::uint8_t options)
      : exporter_(Exporter::Start::attached, device(), {(options & 2U) != 0}) {}

  void submit(ByteReader& input) {
    usbip::CmdSubmit command;
    command.sequence = next_sequence_++;
    const std::uint8_t shape = input.u8();
    command.in = (shape & 1U) != 0;
    command.endpoint = (shape >> 1U) & 0x1FU;
    command.flags = input.u16be();
    command.length = (shape & 0x40U) != 0 ? input.u32be() & 0x7FFFFFFFU : input.u16be() % 2048U;
    if (!command.in) command.length %= 4096U;  // its data really follow
    command.packet_count = input.u8() % 5U;
    command.setup = {input.u8(), input.u8(), input.u8(), input.u8(), input.u16be()};
    if ((shape & 0x80U) != 0) command.setup.length = static_cast<std::uint16_t>(command.length);

    Outstanding outstanding{command.in, false, command.length, 0, std::nullopt};
    const bool exists = command.endpoint == 0 || known(command);
    outstanding.has_packets = exists ? isochronous(command) : command.packet_count != 0;
    outstanding_.emplace(command.sequence, outstanding);
    command_ = command;
    send(encode(command), input.u8());
    if (!command.in)
      send(Bytes(command.length, static_cast<std::uint8_t>(command.sequence)), input.u8());
    if (outstanding.has_packets) {
      std::vector<usb::IsochronousPacket> packets(command.packet_count);
      for (auto& packet : packets)
        packet = {input.u16be() % 2048U, input.u16be() % 1024U, input.u8(), -1};
      send(usbip::encode_packets(packets), input.u8());
    }
  }

  void unlink(ByteReader& input) {
    const std::uint32_t sequence = next_unlink_++;
    // One of the last few, or one that never was.
    const std::uint32_t target = next_sequence_ - input.u8() % 16U;
    if (unlinks_.size() >= limits::transfers_in_flight_per_device) return;
    unlinks_.emplace(sequence, target);
    send(usbip::encode(usbip::CmdUnlink{sequence, input.u8(), target}), input.u8());
  }

  void complete(ByteReader& input) {
    if (running_.empty()) return;
    auto at = running_.begin();
    std::advance(at, input.u8() % running_.size());
    const usb::Transfer transfer = at->second;
    running_.erase(at);
    usb::Completion completion;
    completion.id = transfer.id;
    const std::uint8_t shape = input.u8();
    completion.status = static_cast<usb::TransferStatus>(shape % 10);
    if (shape >= 160 && transfer.type != usb::TransferType::isochronous) {
      return complete_honestly(transfer, std::move(completion), input);
    }
    completion.actual_length = input.u16be() % 4096U;
    completion.data.resize(input.u8() % 2 == 0 ? completion.actual_length : input.u16be() % 4096U);
    completion.packets = transfer.packets;
    if (input.u8() % 3 == 0) completion.packets.resize(input.u8() % 6U);
    for (auto& packet : completion.packets) packet.actual_length = input.u16be() % 1200U;
    const auto request = transfer.type == usb::TransferType::control
                             ? usb::as_host_request(transfer.setup)
                             : std::nullopt;
    // The model must know which settings are in use; a completion that lies succeeds at nothing.
    if (request && completion.status == usb::TransferStatus::success) {
      completion.actual_length = 0;
      completion.data.clear();
      if (const auto* set = std::get_if<usb::SetInterface>(&*request)) {
        if (set->interface_number == 0) alternate_ = set->alternate_setting;
      }
      if (const auto* set = std::get_if<usb::SetConfiguration>(&*request)) {
        configured_ = set->value != 0;
        alternate_ = 0;
      }
    }
    exporter_.complete(std::move(completion));
    drain();
  }

  /// With the data that its length and its id stand for; the answer must have them.
  void complete_honestly(const usb::Transfer& transfer, usb::Completion completion,
                         ByteReader& input) {
    const bool host_request = transfer.type == usb::TransferType::control &&
                              usb::as_host_request(transfer.setup).has_value();
    if (host_request) completion.status = usb::TransferStatus::stall;
    completion.actual_length =
        host_request || transfer.length == 0 ? 0 : input.u16be() % (transfer.length + 1);
    if (transfer.in())
      completion.data.assign(completion.actual_length, static_cast<std::uint8_t>(transfer.id));
    const bool descriptor = transfer.type == usb::TransferType::control &&
                            transfer.setup.request_type == 0x80 &&
                            transfer.setup.request == usb::request::get_descriptor;
    if (!descriptor) {  // those are compared with what they should be
      for (auto& [sequence, outstanding] : outstanding_) {
        if (outstanding.transfer == transfer.id) outstanding.data = completion.data;
      }
    }
    exporter_.complete(std::move(completion));
    drain();
  }

  void nonsense(ByteReader& input) {
    usb::Completion completion;
    completion.id = 0x80000000U + input.u8();
    exporter_.complete(completion);
    drain();
  }

  void finish() {
    for (const auto id : exporter_.running()) {
      require(running_.contains(id));
      usb::Completion completion;
      completion.id = id;
      completion.status = usb::TransferStatus::cancelled;
      exporter_.complete(completion);
    }
    drain();
    require(exporter_.running().empty());
    require(outstanding_.empty());
    require(unlinks_.empty());
    require(answers_.empty());
  }

 private:
  [[nodiscard]] bool known(const usbip::CmdSubmit& command) const {
    if (!configured_ || command.endpoint > 15) return false;
    const auto address = command.endpoint | (command.in ? 0x80U : 0U);
    if (alternate_ == 0) return address == 0x81 || address == 0x02 || address == 0x83;
    return alternate_ == 1 && (address == 0x86 || address == 0x07);
  }

  [[nodiscard]] bool isochronous(const usbip::CmdSubmit& command) const {
    return command.endpoint != 0 && alternate_ == 1;
  }

  void send(const Bytes& bytes, std::size_t cut) {
    const ByteView view(bytes);
    cut = std::min(cut, view.size());
    exporter_.receive(view.first(cut));
    drain();
    exporter_.receive(view.subspan(cut));
    drain();
  }

  void drain() {
    while (auto output = exporter_.poll()) {
      if (auto* sent = std::get_if<Exporter::Send>(&*output)) {
        answers_.insert(answers_.end(), sent->bytes.begin(), sent->bytes.end());
      } else if (auto* submit = std::get_if<Exporter::Submit>(&*output)) {
        const auto& transfer = submit->transfer;
        require(transfer.id != 0 && transfer.length <= limits::transfer_bytes);
        require(transfer.data.size() == (transfer.in() ? 0 : transfer.length));
        check_submitted(transfer);
        require(running_.emplace(transfer.id, transfer).second);
      } else if (auto* cancel = std::get_if<Exporter::Cancel>(&*output)) {
        require(running_.contains(cancel->transfer));
      } else {
        std::abort();  // no Close: this peer keeps to the protocol
      }
    }
    while (take_answer()) {
    }
  }

  /// It is what the last command asked for, and the descriptors have it.
  void check_submitted(const usb::Transfer& transfer) {
    require(transfer.endpoint_number() == command_.endpoint);
    require(transfer.length <= command_.length);
    if (command_.endpoint == 0) {
      require(transfer.type == usb::TransferType::control);
      require(transfer.setup.request != usb::request::set_address ||
              transfer.setup.request_type != 0);
      require(transfer.in() == transfer.setup.in() && transfer.setup.length == transfer.length);
    } else {
      require(known(command_) && transfer.in() == command_.in);
      require((transfer.type == usb::TransferType::isochronous) == isochronous(command_));
      require(transfer.length == command_.length);
    }
    std::uint64_t total = 0;
    for (const auto& packet : transfer.packets) {
      total += packet.length;
      require(std::uint64_t{packet.offset} + packet.length <= transfer.length);
    }
    require(total <= transfer.length);
    for (const std::uint8_t byte : transfer.data)
      require(byte == static_cast<std::uint8_t>(command_.sequence));
    Outstanding& outstanding = outstanding_.at(command_.sequence);
    require(outstanding.transfer == 0);
    outstanding.transfer = transfer.id;
  }

  bool take_answer() {
    if (answers_.size() < usbip::command_size) return false;
    ByteReader reader(answers_);
    const auto command = usbip::decode_command(reader.take(usbip::command_size));
    require(command.ok());
    if (const auto* answer = std::get_if<usbip::RetSubmit>(&*command)) {
      const auto found = outstanding_.find(answer->sequence);
      require(found != outstanding_.end());
      require(answer->status <= 0 && answer->actual_length <= found->second.length);
      ByteView data;
      if (found->second.in) data = reader.take(answer->actual_length);
      if (found->second.has_packets) {
        require(answer->packet_count <= 4);
        reader.skip(answer->packet_count * usbip::packet_size);
      }
      if (!reader.ok()) return false;  // the rest is in the next Send
      if (found->second.data) {
        require(std::equal(data.begin(), data.end(), found->second.data->begin(),
                           found->second.data->end()));
      }
      outstanding_.erase(found);
    } else if (const auto* unlinked = std::get_if<usbip::RetUnlink>(&*command)) {
      const auto found = unlinks_.find(unlinked->sequence);
      require(found != unlinks_.end());
      if (unlinked->status == 0) {
        // It completed before: its answer has gone out, or an earlier unlink has won.
        require(!outstanding_.contains(found->second));
      } else {
        require(unlinked->status == -104);
        // No byte that the device gave is lost with it.
        const auto unlinked_transfer = outstanding_.find(found->second);
        require(unlinked_transfer != outstanding_.end());
        require(unlinked_transfer->second.data.value_or(Bytes()).empty());
        outstanding_.erase(unlinked_transfer);
      }
      unlinks_.erase(found);
    } else {
      std::abort();
    }
    const ByteView rest = reader.rest();
    answers_ = Bytes(rest.begin(), rest.end());
    return true;
  }

  Exporter exporter_;
  std::map<std::uint32_t, Outstanding> outstanding_;
  std::map<std::uint32_t, std::uint32_t> unlinks_;
  std::map<usb::TransferId, usb::Transfer> running_;
  usbip::CmdSubmit command_;  ///< the last one
  std::uint32_t next_sequence_ = 100;
  std::uint32_t next_unlink_ = 1000000;
  std::uint8_t alternate_ = 0;
  bool configured_ = true;
  Bytes answers_;
};

void raw(ByteReader& input) {
  const bool attached = input.u8() % 2 == 0;
  Exporter exporter = attached ? Exporter(Exporter::Start::attached, device())
                               : Exporter(Exporter::Start::await_request);
  bool closed = false;
  while (input.remaining() > 0) {
    const std::size_t piece = input.u8();
    exporter.receive(input.take(std::min(piece, input.remaining())));
    while (auto output = exporter.poll()) {
      require(!closed);
      closed = std::holds_alternative<Exporter::Close>(*output);
      if (std::holds_alternative<Exporter::ListWanted>(*output)) exporter.devices({device()});
      if (std::holds_alternative<Exporter::ImportWanted>(*output))
        exporter.import_granted(device());
      if (auto* submit = std::get_if<Exporter::Submit>(&*output)) {
        usb::Completion completion;
        completion.id = submit->transfer.id;
        if (piece % 2 == 0) exporter.complete(completion);
      }
    }
    require(exporter.running().size() <= limits::transfers_in_flight_per_device);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(ByteView(data, size));
  const std::uint8_t options = input.u8();
  if ((options & 1U) == 0) {
    raw(input);
    return 0;
  }
  Model model(options);
  while (input.remaining() > 0) {
    switch (input.u8() % 4) {
      case 0:
        model.submit(input);
        break;
      case 1:
        model.unlink(input);
        break;
      case 2:
        model.complete(input);
        break;
      default:
        model.nonsense(input);
        break;
    }
  }
  model.finish();
  return 0;
}
