// Test bench only: a Unix socket through which a test pulls, plugs, breaks and questions simulated
// sticks.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "channel/bytes/result.hpp"
#include "channel/transport/loop.hpp"
#include "server/usb/simulated_source.hpp"

namespace tillbridge::server {

/// Off unless `[simulation] control` names a path. Mode 0600: the user that runs the server and
/// nobody else. Each line is a command; each is answered by "ok" or "error: REASON" on a line.
///   list                          first one line "SERIAL BUSID plugged|unplugged" for each stick
///   unplug SERIAL, plug SERIAL    what a hand does
///   power-cycle SERIAL            the supply fails for a moment
///   switches SERIAL 0x5A          a hand at the board's eight switches; bit n is switch n + 1
///   fault SERIAL POINT ACTION ... adds a fault (simulator/faults.hpp); heal SERIAL takes all away
///   witness SERIAL                first one line of JSON (simulator/witness.hpp)
class SimulationControl {
 public:
  [[nodiscard]] static Result<std::unique_ptr<SimulationControl>> listen(
      transport::Loop& loop, SimulatedSource& source, const std::filesystem::path& path);
  ~SimulationControl();
  SimulationControl(const SimulationControl&) = delete;
  SimulationControl& operator=(const SimulationControl&) = delete;
  SimulationControl(SimulationControl&&) = delete;
  SimulationControl& operator=(SimulationControl&&) = delete;

  struct Impl;
  explicit SimulationControl(std::shared_ptr<Impl> impl);

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace tillbridge::server
