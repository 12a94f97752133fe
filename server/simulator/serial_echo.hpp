// SerialEcho: a USB serial device that sends back what it gets: the second kind of device in tests.
#pragma once

#include "server/simulator/serial_device.hpp"

namespace tillbridge::simulator {

/// Echoes only while the host asserts DTR. With a full buffer it takes no more until some of it is
/// fetched.
class SerialEcho final : public SerialDevice {
 public:
  explicit SerialEcho(const SerialOptions& options) : SerialDevice(options) {}

 private:
  [[nodiscard]] std::size_t input_room() const override;
  void receive(ByteView data) override { append(data); }
};

}  // namespace tillbridge::simulator
