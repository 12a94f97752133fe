// What was asked of a stick at the terminal server, and what the stick was asked.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "channel/usb/transfer.hpp"
#include "server/simulator/device.hpp"
#include "tests/simulation/world.hpp"

namespace tillbridge::simulation {

/// One stick, and the sessions that have it, one after the other. It writes down everything that
/// moves something towards the stick, in order: OUT data and requests without or with data to the
/// device. What reaches the stick must be among what the session of the lease's till asked, in its
/// order, each at most once, and not after that was reported to have failed; and that session must
/// have seen the stick arrive after another one used it, and after it was plugged in. In `strict`
/// weather nothing may be missing either.
class Ledger {
 public:
  /// `holder`: the till that has the stick's lease now; empty: none.
  Ledger(World& world, std::function<std::string()> holder)
      : world_(world), holder_(std::move(holder)) {}

  // in the session of a till
  void arrived(const std::string& till);
  void asked(const std::string& till, const usb::Transfer& transfer);
  /// One that was taken back may have reached the stick or not.
  void answered(const std::string& till, const usb::Completion& completion);
  void got(ByteView answer);
  // at the stick
  void reached_stick(const usb::Transfer& transfer);
  /// What it answered to a read.
  void gave(ByteView answer);
  void pulled();

  /// Whether the server may bring a command to its end that a till left in the middle, with the
  /// class's own reset.
  void allow_command_ends(bool allow) noexcept { command_ends_allowed_ = allow; }
  /// From now on whatever the session asked must reach the stick before anything that it asks
  /// later.
  void set_strict(bool strict) noexcept { strict_ = strict; }
  /// From now on there is no weather: what is asked reaches the stick at once. With `reads` they
  /// count as well, and whatever the stick answers to one must reach the session before anything
  /// that it answers later: not where a pipeline reads ahead of the session.
  void expect_calm(bool reads) noexcept {
    calm_ = true;
    reads_count_ = reads;
  }
  static constexpr std::chrono::seconds at_once{1};

  [[nodiscard]] std::uint64_t reached() const noexcept { return reached_; }
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }
  [[nodiscard]] std::uint64_t failed() const noexcept { return failed_; }
  [[nodiscard]] std::uint64_t command_ends() const noexcept { return command_ends_; }
  /// How often sessions themselves asked for the same data twice in a row, as a POS does that asks
  /// a question again whose answer it lost.
  [[nodiscard]] std::uint64_t asked_again() const noexcept { return asked_again_; }
  [[nodiscard]] std::uint64_t pulls() const noexcept { return pulls_; }

 private:
  struct Line {
    std::string what;  ///< for a person
    std::uint64_t digest = 0;
    usb::TransferId id = 0;
    std::uint64_t number = 0;
    bool taken_back = false;
    bool ends_command = false;  ///< a step of Bulk-Only Transport's reset recovery
  };
  struct User {
    std::deque<Line> asked;
    bool current = false;  ///< the stick it has is the stick as it is now
  };
  [[nodiscard]] bool counts(const usb::Transfer& transfer) const;
  [[nodiscard]] static std::uint64_t digest_of(ByteView bytes);
  [[nodiscard]] static Line line(const usb::Transfer& transfer);

  World& world_;
  std::function<std::string()> holder_;
  std::map<std::string, User> users_;  ///< by till
  std::deque<std::uint64_t> answers_;  ///< digests, on their way to the session
  bool strict_ = true, calm_ = false, reads_count_ = false, command_ends_allowed_ = false;
  std::uint64_t last_number_ = 0;
  std::uint64_t reached_ = 0, lost_ = 0, failed_ = 0, asked_again_ = 0, last_data_ = 0;
  std::uint64_t command_ends_ = 0, pulls_ = 0;
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
  void power_cycle(Instant now) override;
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
  std::map<usb::TransferId, bool> running_;  ///< and whether it is a bulk read
  bool dead_ = false;
};

}  // namespace tillbridge::simulation
