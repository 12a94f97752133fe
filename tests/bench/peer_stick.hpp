// How the loads of peer_bench reach a stick, whatever carries the transfers.
#pragma once

#include <functional>

#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::bench {

/// What goes wrong is an exception: a benchmark has no use for what is left then.
class PeerStick {
 public:
  struct Events {
    std::function<void(const usb::DeviceDescription&)> ready;
    std::function<void(usb::Completion)> completed;  ///< may submit
  };

  PeerStick() = default;
  virtual ~PeerStick() = default;
  PeerStick(const PeerStick&) = delete;
  PeerStick& operator=(const PeerStick&) = delete;

  virtual void start(Events events) = 0;
  /// After ready. Ids are the caller's, below massstorage::Pipeline::first_own_id.
  virtual void submit(usb::Transfer transfer) = 0;
};

}  // namespace tillbridge::bench
