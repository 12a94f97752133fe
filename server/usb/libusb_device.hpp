// One USB device through libusb: claimed while it is held or in use, transfers in and completions
// out.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include <libusb-1.0/libusb.h>

#include "channel/transport/loop.hpp"
#include "channel/usb/requests.hpp"
#include "server/usb/bulk_only_order.hpp"
#include "server/usb/libusb_worksite.hpp"
#include "server/usb/stick_source.hpp"
#include "server/usb/worker.hpp"

namespace tillbridge::server {

/// Counts the transfers that libusb has, so that its owner can wait until the last has come home.
class FlightCount {
 public:
  void up();
  void down();
  void wait_for_zero();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t count_ = 0;
};

/// All but the static callbacks is on the loop's thread. Which thread may use the handle when: the
/// worker between a task's start and its report; the loop (only to submit and cancel, which do not
/// block) while claimed.
class LibusbDevice : public std::enable_shared_from_this<LibusbDevice> {
 public:
  struct Events {
    /// A transfer says that the device is not there any more; hot-plug will say so later, if it
    /// runs at all.
    std::function<void()> lost;
    /// It left, and the last trace of it is closed.
    std::function<void()> finished;
  };

  /// Takes over a reference to `device`.
  LibusbDevice(transport::Loop& loop, FlightCount& flights, libusb_device* device,
               usb::DeviceDescription description, Events events);
  ~LibusbDevice();
  LibusbDevice(const LibusbDevice&) = delete;
  LibusbDevice& operator=(const LibusbDevice&) = delete;
  LibusbDevice(LibusbDevice&&) = delete;
  LibusbDevice& operator=(LibusbDevice&&) = delete;

  [[nodiscard]] const usb::DeviceDescription& description() const noexcept { return description_; }
  [[nodiscard]] libusb_device* device() const noexcept { return device_; }
  [[nodiscard]] std::uint8_t number() const { return libusb_get_device_address(device_); }

  void hold(bool held);
  /// One user at a time. opened() comes once the device is claimed and the transfers of the user
  /// before are home.
  void use(Stick::Events events);
  void end_use();
  void submit(usb::Transfer transfer);
  void cancel(usb::TransferId id);

  /// It was unplugged: all that runs ends with device_gone, here and now.
  void gone();
  /// The process ends: cancels everything. Destroy it once the flight count is zero.
  void shut_down();

 private:
  enum class State : std::uint8_t { idle, claiming, claimed, releasing };
  enum class UserState : std::uint8_t { none, waiting, answered, ready };
  struct Flight;
  void settle();
  void claim();
  void release();
  void claimed(const Result<LibusbWorksite::Claimed>& result);
  void answer_open(Status status);
  void submit_to_libusb(usb::Transfer transfer);
  void submit_kept();
  void run_host_request(usb::TransferId id, const usb::HostRequest& request);
  void host_request_done(usb::TransferId id, usb::TransferStatus status);
  void transfer_done(usb::TransferId id);
  void deliver(usb::Completion completion);
  void answer_later(usb::TransferId id, usb::TransferStatus status);
  static void LIBUSB_CALL on_transfer(libusb_transfer* transfer);

  transport::Loop& loop_;
  FlightCount& flights_;
  libusb_device* device_;
  usb::DeviceDescription description_;
  Events events_;
  State state_ = State::idle;
  libusb_device_handle* handle_ = nullptr;
  bool held_ = false, gone_ = false, finished_ = false, claim_failed_ = false;

  std::optional<Stick::Events> user_;
  UserState user_state_ = UserState::none;
  std::uint64_t use_number_ = 0;  // tells the answers to one user from those to the next

  BulkOnlyOrder order_;  // what is kept there came before what is in waiting_
  std::unordered_map<usb::TransferId, std::unique_ptr<Flight>> flights_of_libusb_;
  std::optional<usb::TransferId> host_request_;  // what the worker carries out now
  std::deque<usb::Transfer> waiting_;            // behind it; bounded by the exporter's limits

  std::shared_ptr<LibusbWorksite> worksite_;
  std::unique_ptr<Worker> worker_;  // from the first claim on
};

}  // namespace tillbridge::server
