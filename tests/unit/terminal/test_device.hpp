// A device that answers at once: what tests put behind intake and sinks. The simulator's devices,
// driven without time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "server/simulator/factory.hpp"

namespace tillbridge::terminal {

inline std::unique_ptr<simulator::Device> simulated(simulator::DeviceOptions options = {}) {
  auto device = simulator::make_device(options);
  EXPECT_TRUE(device.ok()) << device.error().message;
  return std::move(*device);
}

/// A small disk, 8 MiB.
inline std::unique_ptr<simulator::Device> simulated_disk(const std::string& path = "simulated-1") {
  simulator::DeviceOptions options;
  options.path = path;
  options.size_mib = 8;
  return simulated(options);
}

inline std::unique_ptr<simulator::Device> simulated_serial() {
  simulator::DeviceOptions options;
  options.kind = "serial-echo";
  return simulated(options);
}

/// All completions that are due now.
inline std::vector<usb::Completion> completions_of(simulator::Device& device, Instant now) {
  device.advance(now);
  std::vector<usb::Completion> all;
  while (auto completion = device.poll_completion()) all.push_back(std::move(*completion));
  return all;
}

}  // namespace tillbridge::terminal
