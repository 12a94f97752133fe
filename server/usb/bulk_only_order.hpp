// The order in which a mass-storage interface is given its bulk transfers.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::server {

/// A till may send the reads of a SCSI command right behind its command block
/// (massstorage::Pipeline), so that they cross the link together. A stick makes such a read wait
/// (NAK) until it has something to say, but not everything that looks like a stick does: QEMU's
/// stalls a read that comes before its command block, and forgets a status that was asked for
/// before all data was taken. So a read waits here, at the stick, where that costs nothing, until
/// every bulk transfer of its interface that came before it has ended. The stick then sees what a
/// class driver beside it would do.
///
/// OUT transfers never wait: a class driver never needs one to be behind a read that is under way.
/// Only interfaces of which every alternate setting is 08/06/50: UAS has reads that wait for
/// commands to come.
class BulkOnlyOrder {
 public:
  explicit BulkOnlyOrder(const usb::DeviceDescription& device);

  /// The transfer, if it may go to the stick now; otherwise it is kept. Each one that went is to be
  /// reported by ended(), also if the stick did not take it.
  [[nodiscard]] std::optional<usb::Transfer> admit(usb::Transfer transfer);
  /// Unknown ids are ignored.
  void ended(usb::TransferId id);
  /// The next one of those kept that may go now.
  [[nodiscard]] std::optional<usb::Transfer> next();
  /// True: it was kept, and is forgotten.
  bool cancel(usb::TransferId id);
  /// Forgets everything; the ids of those kept, in their order.
  std::vector<usb::TransferId> clear();

 private:
  using Place = std::pair<std::uint8_t, std::uint8_t>;  // configuration, interface

  struct Interface {
    std::vector<usb::TransferId> running;
    std::deque<usb::Transfer> kept;  // a transfer is kept only behind one that runs
  };

  [[nodiscard]] Interface* interface_of(const usb::Transfer& transfer);

  std::map<std::uint8_t, Place> places_;  // by endpoint address
  std::map<Place, Interface> interfaces_;
};

}  // namespace tillbridge::server
