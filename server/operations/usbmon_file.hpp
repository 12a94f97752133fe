// One stick's transfers as a pcapng file in usbmon's format, which Wireshark opens.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>

#include "channel/bytes/reader.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::operations {

/// Transfers in, bytes of the file out; no I/O, and time is a parameter (microseconds since 1970).
///
/// Without payloads the file says of each transfer when, where, how long and how it ended, and
/// holds only what a class driver adds: SETUP packets, descriptors, and on Bulk-Only interfaces
/// command and status blocks. What a POS writes and what a TSE answers is not in it.
///
/// Little endian. Blocks: section header, one interface (LINKTYPE_USB_LINUX_MMAPPED), a packet for
/// each submission ('S') and completion ('C'), interface statistics at the end.
class UsbmonFile {
 public:
  struct Settings {
    std::string stick;     ///< names the interface
    std::string software;  ///< "tillbridged 0.1.0"
    bool payloads = false;
  };
  using Microseconds = std::uint64_t;

  explicit UsbmonFile(Settings settings) : settings_(std::move(settings)) {}

  [[nodiscard]] Bytes begin() const;
  /// What the server knows of the stick, as if somebody had asked for it now, with a comment that
  /// says so: a capture that begins in the middle of a session would otherwise not tell what the
  /// endpoints are for.
  [[nodiscard]] Bytes describe(const usb::DeviceDescription& device, Microseconds time);
  [[nodiscard]] Bytes submitted(const usb::Transfer& transfer, Microseconds time);
  /// Nothing: it was submitted before the capture began, or above what is remembered.
  [[nodiscard]] Bytes completed(const usb::Completion& completion, Microseconds time);
  /// `received` transfers' events were seen, `dropped` of them are not in the file.
  [[nodiscard]] static Bytes end(Microseconds time, std::uint64_t received, std::uint64_t dropped);

 private:
  struct Running {
    std::uint64_t number = 0;
    usb::TransferType type{};
    std::uint8_t endpoint = 0;
    bool descriptor = false;  ///< a GET_DESCRIPTOR
    std::uint32_t interval = 0;
  };
  struct Event;
  [[nodiscard]] static Bytes packet(const Event& event, Microseconds time,
                                    const std::string& comment = {});
  [[nodiscard]] bool shown(const Running& transfer, ByteView data, bool command) const;

  Settings settings_;
  std::unordered_map<usb::TransferId, Running> running_;
  std::set<std::uint8_t> bulk_only_;  ///< endpoints
  std::uint64_t next_number_ = 1;
};

}  // namespace tillbridge::operations
