// The importing end of a USB/IP conversation: the side that wants the device.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::usbip {

/// Sans-I/O importer of one conversation. It works against tillbridged and against a stock usbipd alike.
///
/// Guarantees: each submitted transfer is completed exactly once, also when the transport is lost (lost() completes
/// all running ones with device_gone); an answer that lies (longer than asked, unknown sequence number, isochronous
/// counts; CVE-2016-3955, CVE-2026-31607) ends the conversation with Failed and never reaches a transfer.
class Importer {
 public:
  struct Send { Bytes bytes; };
  /// The import was granted. `device` holds what OP_REP_IMPORT tells: ids, speed, path; no strings, no endpoints
  /// (use usb::DeviceReader for those).
  struct Imported { usb::DeviceDescription device; std::string busid; };
  struct Completed { usb::Completion completion; };
  /// The conversation is over: refused, or the peer broke the protocol. Close the transport.
  struct Failed { Error error; };
  using Output = std::variant<Send, Imported, Completed, Failed>;

  explicit Importer(std::string busid);

  void start();  ///< sends OP_REQ_IMPORT
  void receive(ByteView bytes);
  void lost();   ///< the transport is gone for good
  /// Ids are the caller's and unique while running. Above limits.hpp it completes with no_resources.
  void submit(usb::Transfer transfer);
  /// Unknown or finished ids are ignored: that is the ordinary race. Ends in exactly one completion.
  void cancel(usb::TransferId id);

  [[nodiscard]] std::optional<Output> poll();
};

}  // namespace tillbridge::usbip
