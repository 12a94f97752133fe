// ControlEndpoint: the standard requests of USB 2.0 chapter 9, for any simulated device.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>

#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"
#include "server/simulator/blueprint.hpp"

namespace tillbridge::simulator {

/// How a control request ends.
struct ControlAnswer {
  bool stall = true;
  Bytes data;  ///< IN: at most wLength of it is sent

  [[nodiscard]] static ControlAnswer refuse() { return {}; }
  [[nodiscard]] static ControlAnswer accept() { return {false, {}}; }
  [[nodiscard]] static ControlAnswer reply(Bytes data) { return {false, std::move(data)}; }
};

/// Keeps configuration, alternate settings and halts, and answers every standard request from them;
/// whatever chapter 9 leaves to the device (9.4: "request error") is a stall.
class ControlEndpoint {
 public:
  explicit ControlEndpoint(const DeviceBlueprint& blueprint)
      : descriptors_(build_descriptors(blueprint)) {}

  /// What the request did besides being answered: the device drops or resumes transfers
  /// accordingly.
  enum class Effect : std::uint8_t { none, configuration_set, interface_set, halt_cleared };
  struct Outcome {
    ControlAnswer answer;
    Effect effect = Effect::none;
    std::uint8_t target = 0;  ///< interface number or endpoint address
  };
  /// Standard requests only (bmRequestType bits 5-6 are 0); anything else yields nothing.
  [[nodiscard]] std::optional<Outcome> handle(const usb::SetupPacket& setup);

  /// Configuration, alternate settings and halts are lost.
  void bus_reset();

  [[nodiscard]] const usb::DeviceDescription& description() const {
    return descriptors_.description;
  }
  /// The descriptor of an endpoint of the current configuration and alternate settings; nullptr if
  /// there is none.
  [[nodiscard]] const usb::EndpointDescriptor* find_endpoint(std::uint8_t address) const;
  [[nodiscard]] bool halted(std::uint8_t endpoint) const { return halted_.contains(endpoint); }
  void halt(std::uint8_t endpoint) { halted_.insert(endpoint); }

 private:
  [[nodiscard]] const usb::Configuration* active() const;
  [[nodiscard]] ControlAnswer get_descriptor(const usb::SetupPacket& setup) const;
  [[nodiscard]] ControlAnswer get_string(const usb::SetupPacket& setup) const;
  [[nodiscard]] ControlAnswer get_status(const usb::SetupPacket& setup) const;
  [[nodiscard]] Outcome set_configuration(const usb::SetupPacket& setup);
  [[nodiscard]] Outcome set_interface(const usb::SetupPacket& setup);
  [[nodiscard]] Outcome change_halt(const usb::SetupPacket& setup, bool halt);
  [[nodiscard]] ControlAnswer get_interface(const usb::SetupPacket& setup) const;

  DescriptorSet descriptors_;
  std::map<std::uint8_t, std::uint8_t> alternate_settings_;  ///< by interface number; absent: 0
  std::set<std::uint8_t> halted_;
};

}  // namespace tillbridge::simulator
