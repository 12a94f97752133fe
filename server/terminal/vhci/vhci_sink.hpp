// VhciSink: the devices of a session become local USB devices of this machine.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>

#include "channel/usbip/exporter.hpp"
#include "server/terminal/sink.hpp"
#include "server/terminal/vhci/controller.hpp"

namespace tillbridge::terminal::vhci {

/// Each device gets a socket pair: the kernel's vhci-hcd holds one half and speaks USB/IP there as
/// to a remote exporter; on our half stands a usbip::Exporter, so the kernel sees no completion
/// that was not checked against what it asked for.
class VhciSink final : public Sink {
 public:
  explicit VhciSink(std::shared_ptr<Controller> controller) : controller_(std::move(controller)) {}
  ~VhciSink() override;
  VhciSink(const VhciSink&) = delete;
  VhciSink& operator=(const VhciSink&) = delete;

  void device_arrived(SessionDevice device, Instant now) override;
  void device_gone(DeviceId device, const std::string& reason, Instant now) override;
  void completed(DeviceId device, usb::Completion completion, Instant now) override;
  void session_ended(Instant now) override;
  void add_polled(std::vector<pollfd>& polled) const override;
  void ready(const pollfd& descriptor, Instant now) override;
  [[nodiscard]] std::optional<Output> poll() override;

 private:
  struct Attached {
    int socket = -1;  ///< our half
    std::uint32_t port = 0;
    std::string label;
    usbip::Exporter exporter;
    std::deque<Bytes> unsent;  ///< bounded by what the exporter lets be in flight
    std::size_t sent_of_first = 0;
  };
  using Entry = std::map<DeviceId, Attached>::iterator;

  void receive(Entry entry);
  void move_on(Entry entry);
  void send(Attached& attached);
  /// The kernel's side is over before the device is: give the device back.
  void lost(Entry entry, const std::string& reason, bool still_attached);
  void detach(Attached& attached, bool still_attached);

  std::shared_ptr<Controller> controller_;
  std::map<DeviceId, Attached> attached_;
  std::deque<Output> outputs_;
};

}  // namespace tillbridge::terminal::vhci
