// Bus: the one simulated stick that the libusb-1.0-shaped library shows, and the transfers on it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include <libusb.h>

#include "channel/bytes/instant.hpp"
#include "channel/usb/transfer.hpp"
#include "server/simulator/device.hpp"
#include "tests/support/libusb_shape/transfers.hpp"

namespace tillbridge::bench {

using shape::OwnedTransfer;

/// Any thread may call anything. As with libusb on Linux, a transfer is submitted on the caller's
/// thread, and its callback runs in handle_events() on whichever thread handles events, which
/// sleeps in poll() until then.
class Bus {
 public:
  /// The process's own. Never destroyed, because threads of the program may outlive main().
  static Bus& instance();

  [[nodiscard]] usb::DeviceDescription description();
  void reset();

  // All of them return what libusb would: 0 or a length, or one of enum libusb_error.
  int submit(OwnedTransfer& transfer);
  int cancel(OwnedTransfer& transfer);
  /// Waits for the end. `data`: OUT what is sent, IN where setup.length bytes have room.
  int control(const usb::SetupPacket& setup, unsigned char* data, unsigned timeout_ms);

  /// Runs the callbacks of what has ended; waits up to `patience` for something to end.
  void handle_events(Duration patience);

 private:
  Bus();
  struct Running {
    OwnedTransfer* transfer;
    std::optional<Instant> deadline;
    bool timed_out = false;
  };
  struct Ended {
    OwnedTransfer* transfer;
    bool timed_out;
    usb::Completion completion;
  };

  [[nodiscard]] usb::TransferId new_id();
  /// Lets the stick work, and sorts its completions; with mutex_ held.
  void run_stick();
  void expire();
  [[nodiscard]] std::optional<Instant> next_deadline() const;

  std::mutex mutex_;
  std::unique_ptr<simulator::Device> device_;
  usb::TransferId last_id_ = 0;
  std::unordered_map<usb::TransferId, Running> running_;
  std::deque<Ended> ended_;
  std::unordered_map<usb::TransferId, usb::Completion> controls_ended_;
  std::condition_variable control_ended_;
  int wake_;  ///< an eventfd: for the thread in handle_events()
};

}  // namespace tillbridge::bench
