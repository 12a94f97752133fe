// A stick for benchmarks that answers at once, and its way over USB/IP.
#pragma once

#include <optional>
#include <stdexcept>
#include <utility>
#include <variant>

#include "channel/usb/descriptors.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usb/transfer.hpp"
#include "channel/usbip/exporter.hpp"
#include "channel/usbip/importer.hpp"

namespace tillbridge::bench {

/// A Bulk-Only stick; 81 is IN, 02 is OUT.
inline const Bytes& stick_configuration() {
  static const Bytes raw = {9,  2, 32, 0, 1,    1, 0, 0x80, 0x32, 9, 4, 0,    0, 2, 8, 6,
                            80, 0, 7,  5, 0x81, 2, 0, 2,    0,    7, 5, 0x02, 2, 0, 2, 0};
  return raw;
}

inline usb::DeviceDescription stick_description() {
  usb::DeviceDescription stick;
  stick.speed = usb::Speed::high;
  stick.device.usb_version = 0x200;
  stick.device.vendor_id = 0x1209;
  stick.device.product_id = 0x0001;
  stick.device.configuration_count = 1;
  stick.configurations = {usb::parse_configuration(stick_configuration()).value()};
  stick.active_configuration = 1;
  stick.serial = "5A2F00000001";
  stick.path = "1-1.4";
  return stick;
}

inline usb::Transfer bulk_in(usb::TransferId id, std::uint32_t size) {
  usb::Transfer transfer;
  transfer.id = id;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = 0x81;
  transfer.length = size;
  return transfer;
}

/// As a stick ends it.
inline usb::Completion answer_to(const usb::Transfer& transfer) {
  usb::Completion completion;
  completion.id = transfer.id;
  completion.actual_length = transfer.length;
  const bool configuration = transfer.type == usb::TransferType::control &&
                             transfer.setup.request == usb::request::get_descriptor &&
                             transfer.setup.value == 0x0200;
  if (configuration) completion.data = stick_configuration();
  if (transfer.in() && (!configuration || completion.data.size() > transfer.length))
    completion.data.resize(transfer.length);
  if (transfer.in()) completion.actual_length = static_cast<std::uint32_t>(completion.data.size());
  return completion;
}

/// Importer and exporter, byte stream by byte stream, in one place.
class ImportedStick {
 public:
  ImportedStick() {
    importer_.start();
    move();
  }
  [[nodiscard]] usb::TransferId next_id() { return ++last_id_; }

  usb::Completion carry(usb::Transfer transfer) {
    importer_.submit(std::move(transfer));
    move();
    if (!ended_) throw std::runtime_error("the transfer did not end");
    return *std::exchange(ended_, std::nullopt);
  }

 private:
  void move() {
    for (bool moved = true; moved;) {
      moved = false;
      while (auto output = importer_.poll()) {
        moved = true;
        if (auto* send = std::get_if<usbip::Importer::Send>(&*output))
          exporter_.receive(send->bytes);
        if (auto* completed = std::get_if<usbip::Importer::Completed>(&*output))
          ended_ = std::move(completed->completion);
      }
      while (auto output = exporter_.poll()) {
        moved = true;
        if (auto* send = std::get_if<usbip::Exporter::Send>(&*output))
          importer_.receive(send->bytes);
        if (std::holds_alternative<usbip::Exporter::ImportWanted>(*output))
          exporter_.import_granted(stick_description());
        if (auto* submit = std::get_if<usbip::Exporter::Submit>(&*output))
          exporter_.complete(answer_to(submit->transfer));
      }
    }
  }

  usbip::Importer importer_{"1-1.4"};
  usbip::Exporter exporter_{usbip::Exporter::Start::await_request};
  std::optional<usb::Completion> ended_;
  usb::TransferId last_id_ = 0;
};

}  // namespace tillbridge::bench
