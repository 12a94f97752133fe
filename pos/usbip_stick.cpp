#include "pos/usbip_stick.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <set>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usbip/codec.hpp"
#include "pos/usbip_device.hpp"

namespace tillbridge::pos {
namespace {

constexpr Duration list_patience = std::chrono::seconds(10);

/// Collects exactly so many bytes of an answer.
class AnswerReader {
 public:
  explicit AnswerReader(UsbipSocket& socket)
      : socket_(socket), end_(steady_now() + list_patience) {}

  [[nodiscard]] Result<Bytes> take(std::size_t size) {
    while (kept_.size() < size) {
      const Duration left = end_ - steady_now();
      if (left <= Duration(0)) {
        return fail(ErrorCode::unavailable, "the USB/IP server does not list its devices in 10 s");
      }
      const auto bytes = socket_.receive(left);
      if (!bytes) return bytes.error();
      kept_.insert(kept_.end(), bytes->begin(), bytes->end());
    }
    const auto split = kept_.begin() + static_cast<std::ptrdiff_t>(size);
    Bytes taken(kept_.begin(), split);
    kept_.erase(kept_.begin(), split);
    return taken;
  }

 private:
  UsbipSocket& socket_;
  Instant end_;
  Bytes kept_;
};

void note_interface(UsbipExport& device, ByteView triple) {
  ByteReader reader(triple);
  const std::uint8_t interface_class = reader.u8();
  if (interface_class == usb::class_code::mass_storage) device.mass_storage = true;
  if (interface_class == usb::class_code::cdc) device.serial = true;
}

Result<UsbipExport> read_export(AnswerReader& answer) {
  const auto bytes = answer.take(usbip::DeviceRecord::size);
  if (!bytes) return bytes.error();
  const auto record = usbip::decode_device_record(*bytes);
  if (!record) return record.error();
  UsbipExport device;
  device.bus_id = record->busid;
  device.vendor_id = record->vendor_id;
  device.product_id = record->product_id;
  for (std::uint8_t i = 0; i < record->interface_count; ++i) {
    const auto triple = answer.take(usbip::interface_record_size);
    if (!triple) return triple.error();
    note_interface(device, *triple);
  }
  return device;
}

std::string model_of(const UsbipExport& device) {
  std::array<char, 10> text{};
  std::snprintf(text.data(), text.size(), "%04x:%04x", device.vendor_id, device.product_id);
  return text.data();
}

std::string texts_of(const std::vector<UsbipExport>& devices) {
  std::string text;
  for (const UsbipExport& device : devices) {
    text += (text.empty() ? "" : ", ") + device.text();
  }
  return text;
}

}  // namespace

std::string UsbipExport::text() const {
  return model_of(*this) + " at bus id " + bus_id;
}

Result<std::unique_ptr<UsbipHost>> UsbipHost::connect(const std::string& host, std::uint16_t port) {
  std::unique_ptr<UsbipHost> usbip_host(new UsbipHost({host, port}));
  const auto listed = usbip_host->list();
  if (!listed) return listed.error();
  return usbip_host;
}

Result<std::vector<UsbipExport>> UsbipHost::list() const {
  auto socket = UsbipSocket::connect(address_);
  if (!socket) return socket.error();
  if (Status sent = socket->send(usbip::encode_device_list_request()); !sent) return sent.error();
  AnswerReader answer(*socket);
  const auto head = answer.take(usbip::OperationHeader::size);
  if (!head) return head.error();
  const auto header = usbip::decode_operation_header(*head);
  if (!header) return header.error();
  if (header->code != usbip::operation::reply_device_list || header->status != 0) {
    return fail(ErrorCode::protocol, address_.text() + " does not list its devices (status " +
                                         std::to_string(header->status) + ")");
  }
  const auto count_bytes = answer.take(4);
  if (!count_bytes) return count_bytes.error();
  const std::uint32_t count = ByteReader(*count_bytes).u32be();
  if (count > limits::usbip_exported_devices) {
    return fail(ErrorCode::limit, address_.text() + " lists more devices than a USB bus has");
  }
  std::vector<UsbipExport> devices;
  devices.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    auto device = read_export(answer);
    if (!device) return device.error();
    devices.push_back(std::move(*device));
  }
  return devices;
}

/// A bus id that is listed; or, because USB/IP lists no serial numbers, the bus id that tillbridge
/// makes of a model and a serial number: no stick has to be imported to learn whose it is.
Result<std::unique_ptr<UsbipDevice>> UsbipHost::import(std::string_view name,
                                                       bool UsbipExport::*kind,
                                                       const std::string& kind_name) const {
  const auto listed = list();
  if (!listed) return listed.error();
  std::vector<std::string> bus_ids;
  if (name.empty()) {
    std::vector<UsbipExport> fitting;
    std::copy_if(listed->begin(), listed->end(), std::back_inserter(fitting),
                 [&](const UsbipExport& device) { return device.*kind; });
    if (fitting.empty()) {
      return fail(ErrorCode::unavailable,
                  "the USB/IP server " + address_.text() + " shows no " + kind_name +
                      (listed->empty() ? "; it has no devices for this machine"
                                       : "; it has " + texts_of(*listed)));
    }
    if (fitting.size() > 1) {
      return fail(ErrorCode::config, "the USB/IP server " + address_.text() + " shows " +
                                         std::to_string(fitting.size()) + ": " + texts_of(fitting) +
                                         "; name one by its bus id or serial number");
    }
    bus_ids.push_back(fitting.front().bus_id);
  } else {
    std::set<std::string> derived;
    for (const UsbipExport& device : *listed) {
      if (device.bus_id == name) bus_ids.emplace_back(name);
      derived.insert(model_of(device) + ":" + std::string(name));
    }
    if (bus_ids.empty()) bus_ids.assign(derived.begin(), derived.end());
  }
  Error why = fail(ErrorCode::unavailable,
                   "the USB/IP server " + address_.text() + " has no devices for this machine");
  for (const std::string& bus_id : bus_ids) {
    if (bus_id.size() >= usbip::busid_size) continue;
    auto socket = UsbipSocket::connect(address_);
    if (!socket) return socket.error();
    auto device = UsbipDevice::import(std::move(*socket), bus_id);
    if (device) return device;
    why = device.error();
  }
  if (!name.empty() && !listed->empty()) why.message += "; it has " + texts_of(*listed);
  return why;
}

Result<std::unique_ptr<StickVolume>> UsbipHost::open_volume(std::string_view name) const {
  auto device = import(name, &UsbipExport::mass_storage, "stick with files");
  if (!device) return device.error();
  return volume_on(std::move(*device), address_.text());
}

Result<std::unique_ptr<SerialLine>> UsbipHost::open_serial(std::string_view name) const {
  auto device = import(name, &UsbipExport::serial, "stick with a serial line");
  if (!device) return device.error();
  return line_on(std::move(*device), address_.text());
}

}  // namespace tillbridge::pos
