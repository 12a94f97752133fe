// Drives a simulated device in tests: submits transfers, moves time only as far as a completion
// needs.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include <gtest/gtest.h>

#include "channel/massstorage/host.hpp"
#include "channel/usb/requests.hpp"
#include "server/simulator/device.hpp"
#include "server/simulator/mass_storage_stick.hpp"

namespace tillbridge::simulator {

class DeviceDriver {
 public:
  explicit DeviceDriver(Device& device) : device_(device) {}

  usb::TransferId submit(usb::Transfer transfer) {
    transfer.id = ++last_id_;
    device_.submit(std::move(transfer), now);
    return last_id_;
  }
  usb::TransferId submit_out(std::uint8_t endpoint, Bytes data,
                             usb::TransferType type = usb::TransferType::bulk) {
    usb::Transfer transfer;
    transfer.type = type;
    transfer.endpoint = endpoint;
    transfer.length = static_cast<std::uint32_t>(data.size());
    transfer.data = std::move(data);
    return submit(std::move(transfer));
  }
  usb::TransferId submit_in(std::uint8_t endpoint, std::uint32_t length,
                            usb::TransferType type = usb::TransferType::bulk) {
    usb::Transfer transfer;
    transfer.type = type;
    transfer.endpoint = endpoint;
    transfer.length = length;
    return submit(std::move(transfer));
  }

  /// The completion of a transfer, if it has ended by `now`. Each is handed out once.
  std::optional<usb::Completion> ended(usb::TransferId id) {
    device_.advance(now);
    while (auto completion = device_.poll_completion()) {
      const usb::TransferId ended_id = completion->id;
      EXPECT_TRUE(ended_.emplace(ended_id, std::move(*completion)).second) << "ended twice";
    }
    auto node = ended_.extract(id);
    if (node.empty()) return std::nullopt;
    return std::move(node.mapped());
  }
  /// Lets time pass until it ends. A transfer that never does is a failed test.
  usb::Completion wait(usb::TransferId id) {
    while (true) {
      if (auto completion = ended(id)) return *std::move(completion);
      const auto deadline = device_.next_deadline();
      if (!deadline) break;
      EXPECT_GT(*deadline, now) << "a deadline that has passed would make its caller spin";
      if (*deadline <= now) break;
      now = *deadline;
    }
    ADD_FAILURE() << "transfer " << id << " waits for ever";
    usb::Completion lost;
    lost.status = usb::TransferStatus::timeout;
    return lost;
  }

  usb::Completion control(const usb::SetupPacket& setup, Bytes data = {}) {
    return wait(submit(usb::control_transfer(1, setup, std::move(data))));
  }
  usb::Completion out(std::uint8_t endpoint, Bytes data) {
    return wait(submit_out(endpoint, std::move(data)));
  }
  usb::Completion in(std::uint8_t endpoint, std::uint32_t length) {
    return wait(submit_in(endpoint, length));
  }
  void configure() {
    EXPECT_EQ(control(usb::set_configuration(1)).status, usb::TransferStatus::success);
  }

  /// Runs the command that was just started on `host` to its end.
  massstorage::CommandResult run(massstorage::BulkOnlyHost& host) {
    for (int transfers = 0; transfers < 100000; ++transfers) {
      if (auto result = host.poll_result()) return *std::move(result);
      auto transfer = host.poll_transfer();
      if (!transfer) break;
      const usb::TransferId asked = transfer->id;
      usb::Completion completion = wait(submit(std::move(*transfer)));
      completion.id = asked;
      host.complete(completion);
    }
    ADD_FAILURE() << "the command does not end";
    return {};
  }

  Instant now{0};

 private:
  Device& device_;
  usb::TransferId last_id_ = 0;
  std::map<usb::TransferId, usb::Completion> ended_;
};

/// A configured stick over a small memory disk, its unit attention already reported.
class StickTest : public testing::Test {
 protected:
  static constexpr std::uint64_t disk_blocks = 4096;
  static constexpr std::uint8_t in_pipe = MassStorageStick::in_endpoint,
                                out_pipe = MassStorageStick::out_endpoint;

  void make(const StickOptions& options) {
    make(options, std::make_unique<MemoryMedium>(disk_blocks));
  }
  void make(const StickOptions& options, std::unique_ptr<Medium> medium,
            std::shared_ptr<Bench> bench = nullptr) {
    stick_ = std::make_unique<MassStorageStick>(std::move(medium), options, std::move(bench));
    driver_ = std::make_unique<DeviceDriver>(*stick_);
    driver_->configure();
    auto host = massstorage::BulkOnlyHost::create(stick_->description());
    ASSERT_TRUE(host.ok()) << host.error().message;
    host_ = std::make_unique<massstorage::BulkOnlyHost>(*host);
    ASSERT_TRUE(host_->test_unit_ready().ok());
    EXPECT_EQ(driver_->run(*host_).sense, massstorage::scsi::sense::reset_occurred);
  }
  void SetUp() override { make({}); }

  massstorage::CommandResult run(massstorage::Command command) {
    const Status started = host_->execute(std::move(command));
    EXPECT_TRUE(started.ok());
    return driver_->run(*host_);
  }
  massstorage::CommandResult run_in(const massstorage::Cdb& cdb, std::uint32_t length) {
    return run({cdb, massstorage::DataDirection::in, length, {}, 0});
  }
  massstorage::CommandResult run_out(const massstorage::Cdb& cdb, Bytes data) {
    return run({cdb, massstorage::DataDirection::out, 0, std::move(data), 0});
  }
  massstorage::CommandResult run_none(const massstorage::Cdb& cdb) {
    return run({cdb, massstorage::DataDirection::none, 0, {}, 0});
  }

  /// One CBW, by hand.
  usb::Completion send_command(const massstorage::Cdb& cdb, std::uint32_t length, bool in) {
    massstorage::CommandBlock block;
    block.tag = ++tag_;
    block.data_length = length;
    block.flags = in ? massstorage::CommandBlock::flag_in : std::uint8_t{0};
    block.cdb = cdb;
    sent_ = block;
    return driver_->out(out_pipe, massstorage::encode(block));
  }
  /// Reads the CSW, by hand, without any recovery.
  massstorage::StatusBlock read_status() {
    const usb::Completion completion = driver_->in(in_pipe, massstorage::StatusBlock::size);
    EXPECT_EQ(completion.status, usb::TransferStatus::success);
    const auto status = massstorage::parse_status_block(completion.data, sent_);
    EXPECT_TRUE(status.ok());
    return status.ok() ? *status : massstorage::StatusBlock{};
  }
  void expect_halted(std::uint8_t endpoint, bool halted) {
    const usb::Completion completion = driver_->control({0x82, 0, 0, endpoint, 2});
    EXPECT_EQ(completion.data, (Bytes{static_cast<std::uint8_t>(halted ? 1 : 0), 0}))
        << "endpoint " << int{endpoint};
  }
  void clear_halt(std::uint8_t endpoint) {
    EXPECT_EQ(driver_->control(usb::clear_halt(endpoint)).status, usb::TransferStatus::success);
  }
  void recover() {
    EXPECT_EQ(driver_->control(usb::bulk_only_reset(0)).status, usb::TransferStatus::success);
    clear_halt(in_pipe);
    clear_halt(out_pipe);
  }
  /// What is on the disk, past the transport.
  Bytes on_disk(std::uint64_t block, std::size_t count) {
    Bytes bytes(count * block_bytes);
    EXPECT_TRUE(stick_->medium().read(block, bytes).ok());
    return bytes;
  }

  std::unique_ptr<MassStorageStick> stick_;
  std::unique_ptr<DeviceDriver> driver_;
  std::unique_ptr<massstorage::BulkOnlyHost> host_;
  std::uint32_t tag_ = 1000;
  massstorage::CommandBlock sent_;
};

}  // namespace tillbridge::simulator
