// SerialProbe: a CDC-ACM device that sends back what it gets.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "channel/usb/descriptors.hpp"
#include "server/terminal/probe/device_probe.hpp"

namespace tillbridge::terminal::probe {

/// Configures the device, sets 115200 8N1 and DTR/RTS as a serial driver does on open, keeps a read
/// pending, writes bytes and waits for the same ones to come back.
class SerialProbe final : public DeviceProbe {
 public:
  /// What of the device's first configuration is the serial port.
  struct Port {
    std::uint8_t configuration = 0;
    std::uint8_t control_interface = 0;
    std::uint8_t in_endpoint = 0, out_endpoint = 0;
  };
  /// Nothing if the device is no serial port.
  [[nodiscard]] static std::optional<Port> find_port(const usb::DeviceDescription& device);

  SerialProbe(std::string name, Port port, const Options& options);

  void start(Instant now) override;
  void completed(const usb::Completion& completion, Instant now) override;
  void advance(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  [[nodiscard]] std::optional<Output> poll() override;

 private:
  enum class Stage : std::uint8_t { configure, line_coding, control_lines, echo, done };

  void submit(usb::Transfer transfer);
  void read();
  void write();
  void was_read(const usb::Completion& completion);
  void finish(bool success, std::string text);

  std::string name_;
  Port port_;
  Duration patience_;
  Bytes data_;
  std::deque<Output> outputs_;
  Stage stage_ = Stage::configure;
  Instant began_{}, now_{}, deadline_{};
  usb::TransferId last_id_ = 0, reading_ = 0, writing_ = 0;
  std::size_t written_ = 0, echoed_ = 0;
};

}  // namespace tillbridge::terminal::probe
