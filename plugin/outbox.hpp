// What is to go to a stick and has not left the till: in order, bounded, and recallable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "channel/massstorage/command_watch.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::plugin {

class Outbox {
 public:
  /// Says when a transfer came, among all of this outbox.
  using Ticket = std::uint64_t;
  struct Waiting {
    Ticket ticket = 0;
    usb::Transfer transfer;
  };

  /// False: more waits than one stick may have under way (limits.hpp); the transfer is not taken.
  [[nodiscard]] bool add(usb::Transfer&& transfer);
  /// One that was taken and came back as if it had never been sent: to its old place.
  void put_back(Waiting waiting);
  [[nodiscard]] std::optional<Waiting> take();
  /// Only what the command needs that runs according to `watch`, so that it comes to its end; the
  /// next one stays.
  [[nodiscard]] std::optional<Waiting> take_for_command(const massstorage::CommandWatch& watch);
  /// False: it does not wait here.
  bool cancel(usb::TransferId id);
  /// Forgets everything; the ids in their order.
  [[nodiscard]] std::vector<usb::TransferId> clear();
  [[nodiscard]] bool empty() const noexcept { return waiting_.empty(); }

 private:
  using Place = std::vector<Waiting>::iterator;
  [[nodiscard]] Waiting take_at(Place place);

  std::vector<Waiting> waiting_;  ///< mostly one or two
  std::size_t bytes_ = 0;
  Ticket last_ = 0;
};

}  // namespace tillbridge::plugin
