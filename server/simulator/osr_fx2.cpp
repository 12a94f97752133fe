#include "server/simulator/osr_fx2.hpp"

#include <algorithm>
#include <deque>
#include <utility>

#include "server/simulator/endpoint_device.hpp"

namespace tillbridge::simulator {
namespace {

using usb::TransferStatus;

constexpr std::uint8_t switches_pipe = 0x81, out_pipe = 0x06, in_pipe = 0x88;

/// Vendor requests, recipient device.
constexpr std::uint8_t vendor_in = 0xC0, vendor_out = 0x40;
constexpr std::uint8_t read_segments = 0xD4, read_switches = 0xD6, read_bar_graph = 0xD7,
                       set_bar_graph = 0xD8, is_high_speed = 0xD9, set_segments = 0xDB;

/// Packets under way from 06 to 88: endpoints 6 and 8 of the chip have two buffers each.
constexpr std::size_t most_packets = 4;
/// Changes of the switches that nobody has read yet; the newest ones are lost, as on a board whose
/// endpoint is busy.
constexpr std::size_t most_changes = 8;

DeviceBlueprint blueprint_of(const OsrFx2Options& options) {
  constexpr std::uint8_t bulk = 2, interrupt = 3, vendor_class = 0xFF;
  constexpr std::uint16_t interrupt_packet = 64;
  DeviceBlueprint blueprint;
  blueprint.speed = options.speed;
  blueprint.device_class = vendor_class;
  blueprint.vendor_id = options.vendor_id;
  blueprint.product_id = options.product_id;
  blueprint.device_version = 0;
  blueprint.manufacturer = options.manufacturer;
  blueprint.product = options.product;
  blueprint.serial = options.serial;
  blueprint.path = options.path;
  InterfaceBlueprint interface;
  interface.interface_class = vendor_class;
  interface.endpoints = {{switches_pipe, interrupt, interrupt_packet, 1},
                         {out_pipe, bulk, 0, 0},
                         {in_pipe, bulk, 0, 0}};
  blueprint.interfaces = {std::move(interface)};
  return blueprint;
}

class OsrFx2 final : public EndpointDevice, public SwitchPack {
 public:
  explicit OsrFx2(const OsrFx2Options& options)
      : EndpointDevice(blueprint_of(options), options.delay), flip_every_(options.flip_every) {}

  void set_switches(std::uint8_t positions, Instant now) override {
    advance(now);  // what was due before the hand moved
    if (positions != switches_) change_switches(positions);
    advance(now);
  }

 private:
  [[nodiscard]] ControlAnswer class_request(const usb::SetupPacket& setup, ByteView data) override {
    if (setup.request_type == vendor_in) {
      switch (setup.request) {
        case read_segments:
          return ControlAnswer::reply({segments_});
        case read_switches:
          return ControlAnswer::reply({switches_});
        case read_bar_graph:
          return ControlAnswer::reply({bar_graph_});
        case is_high_speed:
          return ControlAnswer::reply(
              {description().speed == usb::Speed::high ? std::uint8_t{0x80} : std::uint8_t{0}});
        default:
          break;
      }
    } else if (setup.request_type == vendor_out && data.size() == 1) {
      switch (setup.request) {
        case set_bar_graph:
          bar_graph_ = data[0];
          return ControlAnswer::accept();
        case set_segments:
          segments_ = data[0];
          return ControlAnswer::accept();
        default:
          break;
      }
    }
    return ControlAnswer::refuse();
  }

  [[nodiscard]] bool ready(std::uint8_t endpoint) const override {
    switch (endpoint) {
      case switches_pipe:
        return !changes_.empty();
      case out_pipe:
        return packets_.size() < most_packets;
      default:
        return !packets_.empty();
    }
  }

  [[nodiscard]] std::optional<Ending> serve(PendingTransfer& pending) override {
    switch (pending.transfer.endpoint) {
      case switches_pipe:
        return report_change(pending.transfer.length);
      case out_pipe:
        return take(pending);
      default:
        return loop_back(pending.transfer.length);
    }
  }

  [[nodiscard]] Ending report_change(std::uint32_t room) {
    const std::uint8_t positions = changes_.front();
    changes_.pop_front();
    if (room == 0) return {TransferStatus::overflow, 0, {}};
    return {TransferStatus::success, 0, {positions}};
  }

  [[nodiscard]] std::optional<Ending> take(PendingTransfer& pending) {
    const std::size_t most = packet_size(out_pipe);
    do {
      const ByteView packet = pending.rest().first(std::min(most, pending.rest().size()));
      packets_.emplace_back(packet.begin(), packet.end());
      pending.progress += static_cast<std::uint32_t>(packet.size());
    } while (!pending.rest().empty() && packets_.size() < most_packets);
    if (!pending.rest().empty()) return std::nullopt;
    return Ending{};
  }

  /// A transfer ends with a short packet or when it is full; a packet that does not fit is babble.
  [[nodiscard]] std::optional<Ending> loop_back(std::uint32_t room) {
    const std::size_t most = packet_size(in_pipe);
    while (!packets_.empty()) {
      const Bytes packet = std::move(packets_.front());
      packets_.pop_front();
      if (packet.size() > room - std::min<std::size_t>(room, read_.size())) {
        read_.clear();
        return Ending{TransferStatus::overflow, 0, {}};
      }
      read_.insert(read_.end(), packet.begin(), packet.end());
      if (packet.size() < most || read_.size() == room) {
        return Ending{TransferStatus::success, 0, std::exchange(read_, {})};
      }
    }
    return std::nullopt;
  }

  void restarted(bool /*bus_reset*/) override {
    changes_.clear();
    packets_.clear();
    read_.clear();
  }
  void halt_cleared(std::uint8_t /*endpoint*/) override {}
  void powered_up(Instant /*now*/) override { bar_graph_ = segments_ = 0; }

  [[nodiscard]] std::optional<Instant> next_event() const override {
    if (flip_every_ == Duration(0) || !changes_.empty()) return std::nullopt;
    const auto since = waiting_since(switches_pipe);
    if (!since) return std::nullopt;
    return std::max(*since, last_flip_) + flip_every_;
  }
  void happen() override {
    last_flip_ = now();
    const auto flipped = static_cast<std::uint8_t>(1U << next_flip_);
    next_flip_ = (next_flip_ + 1) % 8;
    change_switches(switches_ ^ flipped);
  }

  void change_switches(unsigned positions) {
    switches_ = static_cast<std::uint8_t>(positions);
    if (changes_.size() < most_changes) changes_.push_back(switches_);
  }

  Duration flip_every_;
  std::uint8_t switches_ = 0, bar_graph_ = 0, segments_ = 0;
  unsigned next_flip_ = 0;
  Instant last_flip_ = Instant::min();
  std::deque<std::uint8_t> changes_;  ///< positions after each change that was not read yet
  std::deque<Bytes> packets_;         ///< looped back and not read yet
  Bytes read_;                        ///< by the IN transfer whose turn it is
};

}  // namespace

std::unique_ptr<Device> make_osr_fx2(const OsrFx2Options& options) {
  return std::make_unique<OsrFx2>(options);
}

SwitchPack* switch_pack(Device& device) {
  return dynamic_cast<SwitchPack*>(&device);
}

}  // namespace tillbridge::simulator
