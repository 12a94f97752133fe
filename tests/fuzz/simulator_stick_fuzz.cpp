// A stick that gets anything: transfers of every kind and size in any order, cancels, resets, time.
// Every transfer ends exactly once, no more bytes move than were offered, and no block outside of
// the medium is touched.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>

#include "channel/massstorage/command_block.hpp"
#include "channel/usb/requests.hpp"
#include "server/simulator/mass_storage_stick.hpp"

namespace usb = tillbridge::usb;
namespace simulator = tillbridge::simulator;
namespace massstorage = tillbridge::massstorage;
using tillbridge::ByteReader;
using tillbridge::Bytes;
using tillbridge::ByteView;
using tillbridge::Instant;
using tillbridge::Status;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

/// Checks what it is asked for instead of storing it; some blocks fail.
class GuardedMedium final : public simulator::Medium {
 public:
  explicit GuardedMedium(bool write_protected) : write_protected_(write_protected) {}
  [[nodiscard]] std::uint64_t block_count() const override { return 200; }
  [[nodiscard]] Status read(std::uint64_t block, std::span<std::uint8_t> data) override {
    return check(block, data.size());
  }
  [[nodiscard]] Status write(std::uint64_t block, ByteView data) override {
    require(!write_protected_);
    return check(block, data.size());
  }
  [[nodiscard]] Status flush() override { return {}; }

 private:
  [[nodiscard]] static Status check(std::uint64_t block, std::size_t size) {
    require(size > 0 && size % simulator::block_bytes == 0);
    require(block < 200 && size / simulator::block_bytes <= 200 - block);
    if (block <= 150 && 150 < block + size / simulator::block_bytes) {
      return tillbridge::fail(tillbridge::ErrorCode::io, "broken");
    }
    return {};
  }
  bool write_protected_;
};

class Driver {
 public:
  explicit Driver(ByteReader& input) : input_(input) {
    const std::uint8_t flags = input_.u8();
    simulator::StickOptions options;
    options.speed = (flags & 1U) != 0 ? usb::Speed::full : usb::Speed::high;
    options.halts_on_short_data = (flags & 2U) != 0;
    options.write_protected = (flags & 4U) != 0;
    options.delay = tillbridge::Duration((flags & 8U) != 0 ? 100 : 0);
    stick_ = std::make_unique<simulator::MassStorageStick>(
        std::make_unique<GuardedMedium>(options.write_protected), options);
    submit(usb::control_transfer(1, usb::set_configuration(1)));
  }

  void step() {
    switch (input_.u8() % 12) {
      case 0:
      case 1:
      case 2:
        submit(command());
        break;
      case 3:
        submit(bulk_out(arbitrary()));
        break;
      case 4:
        submit(bulk_out(Bytes(input_.u16le() % 5000U)));
        break;
      case 5:
      case 6:
        submit(bulk_in(input_.u16le()));
        break;
      case 7:
        submit(bulk_in(massstorage::StatusBlock::size));
        break;
      case 8:
        submit(control());
        break;
      case 9:
        recover();
        break;
      case 10: {
        const std::uint8_t which = input_.u8();
        stick_->cancel(next_id_ - which % 8U, now_);
        break;
      }
      default:
        if (input_.u8() % 8 == 0) {
          stick_->reset(now_);
          require(running_after_poll() == 0);
          submit(usb::control_transfer(1, usb::set_configuration(1)));
        }
        now_ += tillbridge::Duration(input_.u8());
        stick_->advance(now_);
        break;
    }
    poll();
  }

  void finish() {
    for (const auto& [id, transfer] : running_) stick_->cancel(id, now_);
    poll();
    require(running_.empty());
    require(!stick_->next_deadline().has_value());
  }

 private:
  Bytes arbitrary() {
    const ByteView bytes = input_.take(std::min<std::size_t>(input_.remaining(), input_.u8()));
    return {bytes.begin(), bytes.end()};
  }
  usb::Transfer command() {
    massstorage::CommandBlock block;
    block.tag = input_.u8();
    block.data_length = input_.u16le();
    const std::uint8_t flags = input_.u8();
    block.flags = flags & 0x80U;
    block.lun = (flags & 0x70U) == 0x70U ? 1 : 0;
    const ByteView cdb =
        input_.take(std::min<std::size_t>(input_.remaining(), 1 + (flags & 0x0FU)));
    std::copy(cdb.begin(), cdb.end(), block.cdb.bytes.begin());
    block.cdb.length = static_cast<std::uint8_t>(1 + (flags & 0x0FU));
    return bulk_out(massstorage::encode(block));
  }
  static usb::Transfer bulk_out(Bytes data) {
    usb::Transfer transfer;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = simulator::MassStorageStick::out_endpoint;
    transfer.length = static_cast<std::uint32_t>(data.size());
    transfer.zero_packet = !data.empty() && data.front() == 0x5A;
    transfer.data = std::move(data);
    return transfer;
  }
  static usb::Transfer bulk_in(std::uint32_t length) {
    usb::Transfer transfer;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = simulator::MassStorageStick::in_endpoint;
    transfer.length = length;
    transfer.short_not_ok = length % 7 == 3;
    return transfer;
  }
  usb::Transfer control() {
    usb::SetupPacket setup;
    setup.request_type = input_.u8();
    setup.request = input_.u8();
    setup.value = input_.u16le();
    setup.index = input_.u8();
    setup.length = input_.u8();
    usb::Transfer transfer;
    transfer.setup = setup;
    transfer.endpoint = setup.in() ? 0x80 : 0x00;
    transfer.length = setup.length;
    if (!setup.in()) transfer.data.resize(setup.length);
    return transfer;
  }
  void recover() {
    submit(usb::control_transfer(1, usb::bulk_only_reset(0)));
    submit(usb::control_transfer(1, usb::clear_halt(0x81)));
    submit(usb::control_transfer(1, usb::clear_halt(0x02)));
  }

  void submit(usb::Transfer transfer) {
    transfer.id = ++next_id_;
    running_.emplace(next_id_, transfer);
    stick_->submit(std::move(transfer), now_);
  }
  void poll() {
    while (const auto completion = stick_->poll_completion()) {
      const auto found = running_.find(completion->id);
      require(found != running_.end());
      const usb::Transfer& transfer = found->second;
      require(completion->actual_length <= transfer.length);
      require(completion->data.size() == (transfer.in() ? completion->actual_length : 0));
      running_.erase(found);
    }
    if (const auto deadline = stick_->next_deadline()) require(*deadline > now_);
  }
  std::size_t running_after_poll() {
    poll();
    return running_.size();
  }

  ByteReader& input_;
  std::unique_ptr<simulator::MassStorageStick> stick_;
  Instant now_{0};
  usb::TransferId next_id_ = 0;
  std::map<usb::TransferId, usb::Transfer> running_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(ByteView(data, size));
  Driver driver(input);
  while (input.remaining() > 0) driver.step();
  driver.finish();
  return 0;
}
