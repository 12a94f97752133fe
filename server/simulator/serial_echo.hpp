// SerialEcho: a USB serial device (CDC-ACM) that sends back what it gets: the second kind of device
// in tests.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "server/simulator/endpoint_device.hpp"

namespace tillbridge::simulator {

struct SerialOptions {
  std::uint16_t vendor_id = 0x1209, product_id = 0x0002;  ///< pid.codes' id for tests
  std::string manufacturer = "tillbridge", product = "Simulated serial echo";
  std::string serial = "000000000002";
  std::string path = "simulated-2";
  usb::Speed speed = usb::Speed::high;  ///< high or full
  Duration delay{0};
};

/// Abstract Control Model (CDC 1.2 and PSTN 1.2). Echoes only while the host asserts DTR, and drops
/// what it gets otherwise, as tills' serial devices do. A change of DTR is reported as SERIAL_STATE
/// on the interrupt endpoint. With a full buffer it takes no more until some of it is fetched.
class SerialEcho final : public EndpointDevice {
 public:
  static constexpr std::uint8_t data_in_endpoint = 0x81, data_out_endpoint = 0x02,
                                notification_endpoint = 0x83;
  static constexpr std::uint8_t communication_interface = 0, data_interface = 1;

  explicit SerialEcho(const SerialOptions& options);

 private:
  [[nodiscard]] ControlAnswer class_request(const usb::SetupPacket& setup, ByteView data) override;
  [[nodiscard]] bool ready(std::uint8_t endpoint) const override;
  [[nodiscard]] std::optional<Ending> serve(PendingTransfer& pending) override;
  void restarted(bool bus_reset) override;
  void halt_cleared(std::uint8_t endpoint) override;

  [[nodiscard]] Ending send_buffered(std::uint32_t room);
  [[nodiscard]] Ending send_notification(std::uint32_t room);
  [[nodiscard]] std::optional<Ending> take(PendingTransfer& pending);

  Bytes line_coding_;
  bool terminal_ready_ = false;  ///< DTR
  bool state_changed_ = false;   ///< a SERIAL_STATE notification waits
  std::deque<std::uint8_t> buffer_;
};

}  // namespace tillbridge::simulator
