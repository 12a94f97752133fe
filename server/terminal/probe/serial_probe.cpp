#include "server/terminal/probe/serial_probe.hpp"

#include <algorithm>
#include <random>
#include <utility>

#include "channel/usb/requests.hpp"

namespace tillbridge::terminal::probe {
namespace {

/// Class requests to the control interface (PSTN 1.2, 6.3).
constexpr std::uint8_t class_request_out = 0x21, set_line_coding = 0x20,
                       set_control_line_state = 0x22;
constexpr std::uint16_t data_terminal_ready_and_request_to_send = 3;

/// dwDTERate 115200, bCharFormat 1 stop bit, bParityType none, bDataBits 8 (PSTN 1.2, 6.3.11).
const Bytes line_coding{0x00, 0xC2, 0x01, 0x00, 0x00, 0x00, 0x08};

constexpr std::uint32_t transfer_bytes = 512;

}  // namespace

std::optional<SerialProbe::Port> SerialProbe::find_port(const usb::DeviceDescription& device) {
  if (device.configurations.empty()) return std::nullopt;
  const usb::Configuration& configuration = device.configurations.front();
  Port port;
  port.configuration = configuration.value;
  bool control = false;
  for (const usb::InterfaceDescriptor& interface : configuration.interfaces) {
    if (interface.interface_class == usb::class_code::cdc) {
      control = true;
      port.control_interface = interface.number;
    }
    if (interface.interface_class != usb::class_code::cdc_data) continue;
    for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
      if (endpoint.type() != usb::TransferType::bulk) continue;
      ((endpoint.address & 0x80U) != 0 ? port.in_endpoint : port.out_endpoint) = endpoint.address;
    }
  }
  if (!control || port.in_endpoint == 0 || port.out_endpoint == 0) return std::nullopt;
  return port;
}

SerialProbe::SerialProbe(std::string name, Port port, const Options& options)
    : name_(std::move(name)),
      port_(port),
      patience_(options.patience),
      data_(options.serial_bytes) {
  std::minstd_rand random(1);  // any bytes do, but the same ones every time
  std::generate(data_.begin(), data_.end(),
                [&] { return static_cast<std::uint8_t>(random() >> 8U); });
}

void SerialProbe::start(Instant now) {
  now_ = began_ = now;
  submit(usb::control_transfer(0, usb::set_configuration(port_.configuration)));
}

void SerialProbe::submit(usb::Transfer transfer) {
  transfer.id = ++last_id_;
  deadline_ = now_ + patience_;
  outputs_.emplace_back(Submit{std::move(transfer)});
}

void SerialProbe::completed(const usb::Completion& completion, Instant now) {
  now_ = now;
  if (stage_ == Stage::done) return;
  if (completion.status != usb::TransferStatus::success) {
    return finish(false,
                  "a transfer ended with \"" + std::string(usb::name(completion.status)) + "\"");
  }
  deadline_ = now + patience_;
  const std::uint16_t interface = port_.control_interface;
  switch (stage_) {
    case Stage::configure:
      stage_ = Stage::line_coding;
      return submit(usb::control_transfer(0,
                                          {class_request_out, set_line_coding, 0, interface,
                                           static_cast<std::uint16_t>(line_coding.size())},
                                          line_coding));
    case Stage::line_coding:
      stage_ = Stage::control_lines;
      return submit(
          usb::control_transfer(0, {class_request_out, set_control_line_state,
                                    data_terminal_ready_and_request_to_send, interface, 0}));
    case Stage::control_lines:
      stage_ = Stage::echo;
      began_ = now;
      read();
      return write();
    case Stage::echo:
      if (completion.id == reading_) return was_read(completion);
      if (completion.id == writing_) write();
      return;
    case Stage::done:
      return;
  }
}

void SerialProbe::read() {
  usb::Transfer transfer;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = port_.in_endpoint;
  transfer.length = transfer_bytes;
  submit(std::move(transfer));
  reading_ = last_id_;
}

void SerialProbe::write() {
  const ByteView rest = ByteView(data_).subspan(written_);
  if (rest.empty()) return;
  const ByteView part = rest.first(std::min<std::size_t>(rest.size(), transfer_bytes));
  usb::Transfer transfer;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = port_.out_endpoint;
  transfer.data.assign(part.begin(), part.end());
  transfer.length = static_cast<std::uint32_t>(part.size());
  submit(std::move(transfer));
  writing_ = last_id_;
  written_ += part.size();
}

void SerialProbe::was_read(const usb::Completion& completion) {
  const ByteView expected = ByteView(data_).subspan(echoed_);
  if (completion.data.size() > expected.size() ||
      !std::equal(completion.data.begin(), completion.data.end(), expected.begin())) {
    return finish(
        false, "what came back differs from what was sent, near byte " + std::to_string(echoed_));
  }
  echoed_ += completion.data.size();
  if (echoed_ < data_.size()) return read();
  const Duration took = now_ - began_;
  outputs_.emplace_back(Report{"echo",
                               name_ + ": " + std::to_string(echoed_) + " bytes sent and received",
                               {{"device", name_},
                                {"bytes", static_cast<std::int64_t>(echoed_)},
                                {"took_us", std::int64_t{took.count()}}}});
  finish(true, "the serial port echoes");
}

void SerialProbe::finish(bool success, std::string text) {
  stage_ = Stage::done;
  outputs_.emplace_back(Done{success, std::move(text)});
}

void SerialProbe::advance(Instant now) {
  now_ = now;
  if (stage_ == Stage::done || now < deadline_) return;
  finish(false, "no answer; " + std::to_string(echoed_) + " of " + std::to_string(data_.size()) +
                    " bytes came back");
}

std::optional<Instant> SerialProbe::next_deadline() const {
  if (stage_ == Stage::done) return std::nullopt;
  return deadline_;
}

std::optional<DeviceProbe::Output> SerialProbe::poll() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

}  // namespace tillbridge::terminal::probe
