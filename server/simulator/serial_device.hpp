// SerialDevice: what all simulated USB serial devices (CDC-ACM) share: descriptors, line coding,
// line state, and bytes that wait for the host.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
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
  /// Takes and answers nothing while the host does not assert DTR; what it gets is dropped, as
  /// tills' serial devices do.
  bool needs_terminal_ready = true;
};

/// Abstract Control Model (CDC 1.2 and PSTN 1.2). A change of DTR is reported as SERIAL_STATE on
/// the interrupt endpoint. Bulk OUT is taken as far as input_room() goes; the rest waits.
class SerialDevice : public EndpointDevice {
 public:
  static constexpr std::uint8_t data_in_endpoint = 0x81, data_out_endpoint = 0x02,
                                notification_endpoint = 0x83;
  static constexpr std::uint8_t communication_interface = 0, data_interface = 1;

 protected:
  explicit SerialDevice(const SerialOptions& options, std::shared_ptr<Bench> bench = nullptr);

  /// How many bytes the device takes now.
  [[nodiscard]] virtual std::size_t input_room() const = 0;
  /// At most input_room() bytes.
  virtual void receive(ByteView data) = 0;
  /// DTR changed.
  virtual void line_changed(bool /*terminal_ready*/) {}
  /// The host starts anew: configuration, interface, bus reset or power cycle. What waited for it
  /// is gone.
  virtual void line_restarted(bool /*bus_reset*/) {}
  /// As EndpointDevice::next_event() and happen(), besides output that gets ready.
  [[nodiscard]] virtual std::optional<Instant> next_step() const { return std::nullopt; }
  virtual void step() {}
  /// The host begins to read a piece (once for each), or has read all of it.
  virtual void piece_begun() {}
  virtual void piece_read() {}

  /// A piece of output, readable from `ready_at` on and not before the pieces before it. A short
  /// packet ends it: one transfer never brings bytes of two pieces.
  void send(Bytes piece, Instant ready_at);
  /// More bytes for the last piece, or a new one.
  void append(ByteView bytes);
  /// The piece whose turn it is gets ready later.
  void postpone(Instant ready_at);
  void drop_output() { output_.clear(), output_bytes_ = 0; }
  [[nodiscard]] std::size_t output_bytes() const { return output_bytes_; }
  [[nodiscard]] std::size_t output_pieces() const { return output_.size(); }
  /// Does the line carry anything? (DTR, unless the device does not care.)
  [[nodiscard]] bool line_open() const { return terminal_ready_ || !needs_terminal_ready_; }

 private:
  struct Piece {
    Instant ready_at{};
    Bytes bytes;
    std::size_t read = 0;
    bool begun = false;
  };

  [[nodiscard]] ControlAnswer class_request(const usb::SetupPacket& setup, ByteView data) final;
  [[nodiscard]] bool ready(std::uint8_t endpoint) const final;
  [[nodiscard]] std::optional<Ending> serve(PendingTransfer& pending) final;
  void restarted(bool bus_reset) final;
  void halt_cleared(std::uint8_t /*endpoint*/) final {}
  [[nodiscard]] std::optional<Instant> next_event() const final;
  void happen() final;

  [[nodiscard]] std::optional<Ending> take(PendingTransfer& pending);
  [[nodiscard]] std::optional<Ending> send_piece(std::uint32_t room);
  [[nodiscard]] Ending send_notification(std::uint32_t room);

  bool needs_terminal_ready_;
  Bytes line_coding_;
  bool terminal_ready_ = false;  ///< DTR
  bool state_changed_ = false;   ///< a SERIAL_STATE notification waits
  std::deque<Piece> output_;
  std::size_t output_bytes_ = 0;  ///< not read yet
};

}  // namespace tillbridge::simulator
