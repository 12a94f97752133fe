// line_on(): CDC-ACM (CDC 1.2, PSTN 1.2) on an imported device.
#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "channel/usb/requests.hpp"
#include "pos/usbip_device.hpp"
#include "pos/usbip_stick.hpp"

namespace tillbridge::pos {
namespace {

/// Class requests to the control interface (PSTN 1.2, 6.3).
constexpr std::uint8_t class_request_out = 0x21, set_line_coding = 0x20,
                       set_control_line_state = 0x22;
constexpr std::uint16_t ready_and_request = 3;  ///< DTR, RTS
/// dwDTERate 9600, one stop bit, no parity, 8 data bits: what TSE clients set and USB ignores.
const Bytes line_coding{0x80, 0x25, 0x00, 0x00, 0x00, 0x00, 0x08};

constexpr Duration write_patience = std::chrono::seconds(10);
constexpr std::uint32_t write_bytes = 4096;
/// Reads that wait for the device at the same time, one packet each: so that what it sends comes at
/// once and in one go, whether a short packet ends it or not.
constexpr std::size_t reads_waiting = 8;

struct Port {
  std::uint8_t configuration = 0, control_interface = 0, in = 0, out = 0;
  std::uint16_t packet_bytes = 0;
};

std::optional<Port> find_port(const usb::DeviceDescription& device) {
  if (device.configurations.empty()) return std::nullopt;
  const usb::Configuration& configuration = device.configurations.front();
  Port port;
  port.configuration = configuration.value;
  bool control = false;
  for (const usb::InterfaceDescriptor& interface : configuration.interfaces) {
    if (interface.interface_class == usb::class_code::cdc && !control) {
      control = true;
      port.control_interface = interface.number;
    }
    if (interface.interface_class != usb::class_code::cdc_data) continue;
    for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
      if (endpoint.type() != usb::TransferType::bulk) continue;
      const bool in = (endpoint.address & 0x80U) != 0;
      (in ? port.in : port.out) = endpoint.address;
      if (in) port.packet_bytes = endpoint.max_packet_size & 0x7FFU;
    }
  }
  if (!control || port.in == 0 || port.out == 0 || port.packet_bytes == 0) return std::nullopt;
  return port;
}

class UsbipLine final : public SerialLine {
 public:
  UsbipLine(std::unique_ptr<UsbipDevice> device, Port port, std::string name)
      : device_(std::move(device)), port_(port), name_(std::move(name)) {}
  ~UsbipLine() override {
    // Closing a tty drops DTR as well. The reads that wait end with the connection.
    if (!device_->lost()) device_->submit(line_state(0));
  }
  UsbipLine(const UsbipLine&) = delete;
  UsbipLine& operator=(const UsbipLine&) = delete;
  UsbipLine(UsbipLine&&) = delete;
  UsbipLine& operator=(UsbipLine&&) = delete;

  [[nodiscard]] Status begin() {
    if (Status configured = device_->configure(port_.configuration); !configured) {
      return configured;
    }
    const usb::SetupPacket coding{class_request_out, set_line_coding, 0, port_.control_interface,
                                  static_cast<std::uint16_t>(line_coding.size())};
    for (usb::Transfer transfer :
         {usb::control_transfer(0, coding, line_coding), line_state(ready_and_request)}) {
      const auto done = device_->carry_out(std::move(transfer), UsbipDevice::request_patience);
      if (done.status != usb::TransferStatus::success) return failed("cannot be opened", done);
    }
    for (std::size_t i = 0; i < reads_waiting; ++i) read_more();
    return {};
  }

  [[nodiscard]] std::string name() const override { return name_; }

  [[nodiscard]] Status write(ByteView data) override {
    while (!data.empty()) {
      const ByteView piece = data.first(std::min<std::size_t>(data.size(), write_bytes));
      usb::Transfer transfer;
      transfer.type = usb::TransferType::bulk;
      transfer.endpoint = port_.out;
      transfer.length = static_cast<std::uint32_t>(piece.size());
      transfer.data.assign(piece.begin(), piece.end());
      writing_ = device_->submit(std::move(transfer));
      written_.reset();
      const Instant end = steady_now() + write_patience;
      while (!written_ && steady_now() < end) take(device_->wait(end - steady_now()));
      if (!written_) device_->cancel(writing_);
      const Instant last = steady_now() + UsbipDevice::request_patience;
      while (!written_ && steady_now() < last) take(device_->wait(last - steady_now()));
      if (!written_) return fail(ErrorCode::io, name_ + " does not take anything any more");
      if (written_->status != usb::TransferStatus::success) {
        return failed("did not take what was written", *written_);
      }
      data = data.subspan(piece.size());
    }
    return {};
  }

  [[nodiscard]] Result<Bytes> read(Duration timeout) override {
    const Instant end = steady_now() + timeout;
    while (received_.empty() && !broken_) {
      const Duration left = end - steady_now();
      take(device_->wait(std::max(left, Duration(0))));
      if (left <= Duration(0)) break;
    }
    while (auto more = device_->wait(Duration(0))) take(std::move(more));
    if (!received_.empty()) return std::exchange(received_, {});
    if (broken_) return failed("cannot be read", *broken_);
    return Bytes{};
  }

 private:
  [[nodiscard]] usb::Transfer line_state(std::uint16_t lines) const {
    return usb::control_transfer(
        0, {class_request_out, set_control_line_state, lines, port_.control_interface, 0});
  }
  [[nodiscard]] Error failed(const std::string& what, const usb::Completion& done) const {
    if (device_->lost())
      return fail(device_->lost()->code, name_ + ": " + device_->lost()->message);
    if (done.status == usb::TransferStatus::device_gone) {
      return fail(ErrorCode::unavailable, name_ + " was unplugged");
    }
    return fail(ErrorCode::io,
                name_ + " " + what + " (" + std::string(usb::name(done.status)) + ")");
  }
  void read_more() {
    usb::Transfer transfer;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = port_.in;
    transfer.length = port_.packet_bytes;
    reading_.insert(device_->submit(std::move(transfer)));
  }
  void take(std::optional<usb::Completion> done) {
    if (!done) return;
    if (done->id == writing_) {
      written_ = std::move(done);
      return;
    }
    if (reading_.erase(done->id) == 0) return;
    received_.insert(received_.end(), done->data.begin(), done->data.end());
    if (done->status == usb::TransferStatus::success) return read_more();
    if (!broken_) broken_ = std::move(done);
  }

  std::unique_ptr<UsbipDevice> device_;
  Port port_;
  std::string name_;
  std::set<usb::TransferId> reading_;
  usb::TransferId writing_ = 0;
  std::optional<usb::Completion> written_;
  Bytes received_;
  std::optional<usb::Completion> broken_;  ///< the read that ended the line
};

}  // namespace

Result<std::unique_ptr<SerialLine>> line_on(std::unique_ptr<UsbipDevice> device,
                                            const std::string& at) {
  const std::string name = device->description().label() + " at " + at;
  const auto port = find_port(device->description());
  if (!port) return fail(ErrorCode::refused, name + " has no serial line (CDC-ACM)");
  auto line = std::make_unique<UsbipLine>(std::move(device), *port, name);
  if (Status begun = line->begin(); !begun) return begun.error();
  return std::unique_ptr<SerialLine>(std::move(line));
}

}  // namespace tillbridge::pos
