// EndpointDevice: what all simulated devices share: queues per endpoint, halts, time, and the
// control endpoint.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "server/simulator/control_endpoint.hpp"
#include "server/simulator/device.hpp"

namespace tillbridge::simulator {

/// A transfer that waits for its device.
struct PendingTransfer {
  usb::Transfer transfer;
  Instant arrival{};
  std::uint64_t sequence = 0;  ///< order of arrival over all endpoints
  std::uint32_t progress = 0;  ///< OUT: bytes that the device took already

  /// OUT: what the device has not taken yet.
  [[nodiscard]] ByteView rest() const { return ByteView(transfer.data).subspan(progress); }
};

/// How the device ended a transfer; for OUT, `moved` counts from where `progress` stood.
struct Ending {
  usb::TransferStatus status = usb::TransferStatus::success;
  std::uint32_t moved = 0;  ///< OUT only
  Bytes data;               ///< IN only
};

/// Serves one transfer after the other. A transfer's turn comes `delay` after its arrival or after
/// the end of the one before it, whichever is later, so that times follow from the submissions
/// alone and not from when advance() is called. Until then nothing of it has happened, and a cancel
/// takes it back whole.
class EndpointDevice : public Device {
 public:
  [[nodiscard]] const usb::DeviceDescription& description() const final {
    return control_.description();
  }
  void submit(usb::Transfer transfer, Instant now) final;
  void cancel(usb::TransferId id, Instant now) final;
  void reset(Instant now) final;
  void advance(Instant now) final;
  [[nodiscard]] std::optional<Instant> next_deadline() const final;
  [[nodiscard]] std::optional<usb::Completion> poll_completion() final;
  void power_cycle(Instant now) final;
  [[nodiscard]] std::optional<Departure> poll_departure() final {
    return std::exchange(departure_, std::nullopt);
  }
  [[nodiscard]] Bench& bench() final { return *bench_; }

 protected:
  /// `bench`: shared with what stands behind the device; nothing: one of its own.
  EndpointDevice(const DeviceBlueprint& blueprint, Duration delay,
                 std::shared_ptr<Bench> bench = nullptr)
      : control_(blueprint),
        delay_(delay),
        bench_(bench ? std::move(bench) : std::make_shared<Bench>()) {}

  /// A class or vendor request. `data` is what an OUT request carries.
  [[nodiscard]] virtual ControlAnswer class_request(const usb::SetupPacket& setup,
                                                    ByteView data) = 0;
  /// Would the device answer this endpoint's next transfer with something other than NAK?
  [[nodiscard]] virtual bool ready(std::uint8_t endpoint) const = 0;
  /// Called for a ready, not halted endpoint. Nothing: the transfer goes on later (OUT: after
  /// raising `progress`), and the endpoint is then no longer ready().
  [[nodiscard]] virtual std::optional<Ending> serve(PendingTransfer& pending) = 0;
  /// The bus was reset, or the configuration or an interface selected: what the host believes
  /// starts anew.
  virtual void restarted(bool bus_reset) = 0;
  virtual void halt_cleared(std::uint8_t endpoint) = 0;
  /// Supply lost and back. restarted(true) follows, except after a fault that the bus does not
  /// notice.
  virtual void powered_up(Instant /*now*/) {}
  /// A port reset, not a power cycle. restarted(true) follows.
  virtual void bus_was_reset(Instant /*now*/) {}

  /// When something in the device happens by itself (an answer gets ready); nothing: never. It
  /// happens in one order with the transfers' turns, whenever advance() is called.
  [[nodiscard]] virtual std::optional<Instant> next_event() const { return std::nullopt; }
  /// The time of next_event() has come: now(). It is another one, or none, afterwards.
  virtual void happen() {}

  /// The time of what is being served, or happens.
  [[nodiscard]] Instant now() const { return now_; }
  /// Carries out what a fault demands of the device as a whole: unplug, power_cycle or dead. False:
  /// it is none of these.
  [[nodiscard]] bool obey(const Fault& fault);
  /// No pipe is served for this long from now(), except that halted ones stall; endpoint 0 goes on.
  /// serve() may then return nothing and is asked again.
  void pause(Duration duration) { paused_until_ = std::max(paused_until_, now_ + duration); }
  /// Nothing answers any more, not even endpoint 0, until the next power cycle.
  [[nodiscard]] bool dead() const { return dead_; }

  [[nodiscard]] ControlEndpoint& control() { return control_; }
  [[nodiscard]] const ControlEndpoint& control() const { return control_; }
  /// wMaxPacketSize of an endpoint that exists.
  [[nodiscard]] std::uint32_t packet_size(std::uint8_t endpoint) const;
  /// When the endpoint's oldest transfer arrived; nothing: none waits.
  [[nodiscard]] std::optional<Instant> waiting_since(std::uint8_t endpoint) const;

 private:
  using Queue = std::deque<PendingTransfer>;
  using Queues = std::map<std::uint8_t, Queue>;

  [[nodiscard]] bool acceptable(const usb::Transfer& transfer) const;
  [[nodiscard]] bool runnable(std::uint8_t endpoint) const;
  [[nodiscard]] Instant due(std::uint8_t endpoint) const;
  /// The endpoint whose turn is next, of those that are runnable.
  [[nodiscard]] std::optional<std::uint8_t> next_endpoint() const;
  void run(Instant now);
  void serve_next(std::uint8_t endpoint);
  void serve_control(PendingTransfer pending);
  void serve_pipe(std::uint8_t endpoint);
  void end(const PendingTransfer& pending, Ending ending);
  /// All pipes but endpoint 0, or those of one interface.
  void cancel_pipes(std::optional<std::uint8_t> interface_number);
  Queues::iterator cancel_queue(Queues::iterator entry);
  void port_reset(Instant now);
  void do_reset();

  ControlEndpoint control_;
  Duration delay_;
  Queues queues_;  ///< by endpoint address; 0 for control; none is empty
  std::size_t pending_count_ = 0;
  std::uint64_t next_sequence_ = 0;
  Instant last_end_ = Instant::min();
  Instant now_{};
  Instant paused_until_ = Instant::min();
  std::deque<usb::Completion> completions_;
  std::shared_ptr<Bench> bench_;
  std::optional<Departure> departure_;
  bool dead_ = false;
};

}  // namespace tillbridge::simulator
