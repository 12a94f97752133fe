// Sticks without hardware, as the configuration describes them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "channel/bytes/result.hpp"
#include "channel/transport/loop.hpp"
#include "server/simulator/device.hpp"
#include "server/usb/stick_source.hpp"

namespace tillbridge::server {

/// Arrival::enumeration of a simulated stick: it lives in this program, and ends with it.
[[nodiscard]] std::string simulated_enumeration(simulator::Device& device);

class SimulatedSource final : public StickSource {
 public:
  /// The devices' paths are their bus ids and must differ.
  SimulatedSource(transport::Loop& loop, std::vector<std::unique_ptr<simulator::Device>> devices);
  ~SimulatedSource() override;
  SimulatedSource(const SimulatedSource&) = delete;
  SimulatedSource& operator=(const SimulatedSource&) = delete;
  SimulatedSource(SimulatedSource&&) = delete;
  SimulatedSource& operator=(SimulatedSource&&) = delete;

  void start(Observer observer) override;
  void hold(const std::string&) override {}    // no kernel driver here
  void let_go(const std::string&) override {}  // nor here
  [[nodiscard]] std::unique_ptr<Stick> open(const std::string& busid,
                                            Stick::Events events) override;

  // For test benches: what a hand does to a stick. `name` is a serial, or a bus id where there is
  // no serial.
  Status unplug(const std::string& name);
  Status plug(const std::string& name);
  /// The supply goes away for a moment; the bus does not notice.
  Status power_cycle(const std::string& name);
  /// Bit n is switch n + 1. Refused by a stick that has none.
  Status set_switches(const std::string& name, std::uint8_t positions);
  /// See simulator::parse_fault.
  Status add_fault(const std::string& name, const std::string& fault);
  Status clear_faults(const std::string& name);
  /// One line of JSON: simulator::Witness.
  [[nodiscard]] Result<std::string> witness(const std::string& name) const;
  struct State {
    std::string serial, busid;
    bool plugged = false;
  };
  [[nodiscard]] std::vector<State> list() const;

 private:
  struct Slot;
  class SimulatedStick;

  [[nodiscard]] Result<Slot*> find(const std::string& name) const;
  void pull(Slot& slot);
  void push_in(Slot& slot);
  void depart(Slot& slot, simulator::Departure departure);

  transport::Loop& loop_;
  std::vector<std::unique_ptr<Slot>> slots_;
  Observer observer_;
  bool started_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillbridge::server
