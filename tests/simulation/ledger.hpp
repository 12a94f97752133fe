// What was asked of a stick at the terminal server, and what the stick was asked.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>

#include "channel/usb/transfer.hpp"
#include "server/simulator/device.hpp"
#include "tests/simulation/world.hpp"

namespace tillbridge::simulation {

/// Everything that moves something towards the stick, in order: OUT data and requests without or
/// with data to the device. What reaches the stick must be among what the session asked, in its
/// order, and each at most once. In `strict` weather nothing of it may be missing either.
class Ledger {
 public:
  explicit Ledger(World& world) : world_(world) {}

  void asked(const usb::Transfer& transfer);
  /// What the session heard of it. One that was taken back may have reached the stick or not.
  void answered(const usb::Completion& completion);
  void reached_stick(const usb::Transfer& transfer);
  /// Whether the server may bring a command to its end that a till left in the middle, with the
  /// class's own reset.
  void allow_command_ends(bool allow) noexcept { command_ends_allowed_ = allow; }
  /// From now on whatever the session asked must reach the stick before anything that it asks
  /// later.
  void set_strict(bool strict) noexcept { strict_ = strict; }

  [[nodiscard]] std::uint64_t reached() const noexcept { return reached_; }
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }
  [[nodiscard]] std::uint64_t command_ends() const noexcept { return command_ends_; }
  /// How often the session itself asked for the same data twice in a row, as a POS does that asks
  /// a question again whose answer it lost.
  [[nodiscard]] std::uint64_t asked_again() const noexcept { return asked_again_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return asked_.size(); }

 private:
  struct Line {
    std::string what;  ///< for a person
    std::uint64_t digest = 0;
    usb::TransferId id = 0;
    bool taken_back = false;
    bool ends_command = false;  ///< a step of Bulk-Only Transport's reset recovery
  };
  [[nodiscard]] static bool counts(const usb::Transfer& transfer);
  [[nodiscard]] static Line line(const usb::Transfer& transfer);

  World& world_;
  std::deque<Line> asked_;
  bool strict_ = true, command_ends_allowed_ = false;
  std::uint64_t reached_ = 0, lost_ = 0, asked_again_ = 0, last_data_ = 0, command_ends_ = 0;
};

/// A stick that lives longer than the server that has it: what a SimulatedSource gets, again after
/// each restart. It looks at every transfer.
class LentDevice final : public simulator::Device {
 public:
  LentDevice(std::shared_ptr<simulator::Device> device, Ledger& ledger, World& world)
      : device_(std::move(device)), ledger_(ledger), world_(world) {}

  [[nodiscard]] const usb::DeviceDescription& description() const override {
    return device_->description();
  }
  /// The program that has it dies: the system cancels what runs, and nothing reaches it any more.
  void die();

  void submit(usb::Transfer transfer, Instant now) override;
  void cancel(usb::TransferId id, Instant now) override {
    if (!dead_) device_->cancel(id, now);
  }
  void reset(Instant now) override;
  void power_cycle(Instant now) override { device_->power_cycle(now); }
  void advance(Instant now) override { device_->advance(now); }
  [[nodiscard]] std::optional<Instant> next_deadline() const override {
    return device_->next_deadline();
  }
  [[nodiscard]] std::optional<usb::Completion> poll_completion() override;
  [[nodiscard]] std::optional<simulator::Departure> poll_departure() override {
    return device_->poll_departure();
  }
  [[nodiscard]] simulator::Bench& bench() override { return device_->bench(); }

 private:
  std::shared_ptr<simulator::Device> device_;
  Ledger& ledger_;
  World& world_;
  std::set<usb::TransferId> running_;
  bool dead_ = false;
};

}  // namespace tillbridge::simulation
