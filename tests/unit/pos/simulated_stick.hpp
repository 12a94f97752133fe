// A simulated stick, plugged into a computer of the tests: files and a serial line over its USB
// transfers, in a time of their own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/massstorage/host.hpp"
#include "pos/clock.hpp"
#include "pos/diebold_line.hpp"
#include "pos/stick_io.hpp"
#include "server/simulator/device.hpp"
#include "server/simulator/factory.hpp"

namespace tillbridge::pos {

/// Waits by advancing.
class TestClock final : public Clock {
 public:
  [[nodiscard]] Instant now() override { return now_; }
  void wait(Duration duration) override { now_ += duration; }
  [[nodiscard]] std::uint64_t unix_s() override {
    return epoch_s + static_cast<std::uint64_t>(
                         std::chrono::duration_cast<std::chrono::seconds>(now_).count());
  }
  void advance_to(Instant instant) { now_ = std::max(now_, instant); }

  static constexpr std::uint64_t epoch_s = 1'767'225'600;  // 2026-01-01

 private:
  Instant now_{0};
};

/// One USB port with a stick. A stick that departs by itself is gone until its time to come back.
class SimulatedStick {
 public:
  SimulatedStick(const simulator::DeviceOptions& options, TestClock& clock);
  SimulatedStick(std::unique_ptr<simulator::Device> device, TestClock& clock);

  [[nodiscard]] simulator::Device& device() { return *device_; }
  [[nodiscard]] TestClock& clock() { return clock_; }
  [[nodiscard]] std::unique_ptr<StickVolume> volume();
  [[nodiscard]] OpenLine line();
  /// Pulled out and plugged in again.
  void replug();
  void fault(const std::string& text);

  // For the volume and the line.
  [[nodiscard]] std::uint64_t block_count() const { return host_ ? host_->block_count() : 0; }
  [[nodiscard]] Status read_blocks(std::uint64_t block, std::span<std::uint8_t> data);
  [[nodiscard]] Status write_blocks(std::uint64_t block, ByteView data);
  [[nodiscard]] Status set_terminal_ready();
  [[nodiscard]] Status send(ByteView data);
  [[nodiscard]] Result<Bytes> receive(Duration timeout);
  /// Counts how often it was plugged in: handles of an earlier time are dead.
  [[nodiscard]] Result<unsigned> session();

 private:
  [[nodiscard]] bool present();
  void note_departure();
  void enumerate();
  [[nodiscard]] std::optional<usb::Completion> await(usb::TransferId id, Instant deadline);
  [[nodiscard]] usb::TransferId submit(usb::Transfer transfer);
  [[nodiscard]] Result<Bytes> command(
      const std::function<Status(massstorage::BulkOnlyHost&)>& start);

  TestClock& clock_;
  std::unique_ptr<simulator::Device> device_;
  std::optional<massstorage::BulkOnlyHost> host_;
  bool gone_ = false;
  std::optional<Instant> back_at_;
  unsigned session_ = 0;
  usb::TransferId last_id_ = 0;
  std::vector<usb::Completion> ended_;
  std::optional<usb::TransferId> reading_;  ///< a serial IN transfer that still waits
};

}  // namespace tillbridge::pos
