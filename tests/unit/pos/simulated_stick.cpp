#include "tests/unit/pos/simulated_stick.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

#include <gtest/gtest.h>

#include "channel/usb/requests.hpp"
#include "pos/fat_volume.hpp"
#include "server/simulator/serial_device.hpp"

namespace tillbridge::pos {
namespace {

constexpr std::size_t block_bytes = 512;
/// A computer gives a SCSI command up after this long.
constexpr Duration command_patience = std::chrono::seconds(30);

Error unplugged() {
  return fail(ErrorCode::unavailable, "the stick was unplugged");
}

class Blocks final : public BlockDevice {
 public:
  explicit Blocks(SimulatedStick& stick) : stick_(stick) {}
  [[nodiscard]] std::uint64_t block_count() const override { return stick_.block_count(); }
  [[nodiscard]] Status read(std::uint64_t block, std::span<std::uint8_t> data) override {
    return stick_.read_blocks(block, data);
  }
  [[nodiscard]] Status write(std::uint64_t block, ByteView data) override {
    return stick_.write_blocks(block, data);
  }

 private:
  SimulatedStick& stick_;
};

/// A simulated stick's files are contiguous.
class TestFile final : public StickFile {
 public:
  TestFile(SimulatedStick& stick, std::uint64_t first_block, std::uint64_t bytes, OpenStyle style,
           unsigned session)
      : stick_(stick), first_block_(first_block), bytes_(bytes), style_(style), session_(session) {}

  [[nodiscard]] std::uint64_t size() const override { return bytes_; }

  [[nodiscard]] Status read(std::uint64_t offset, std::span<std::uint8_t> data) override {
    if (Status alive = check(offset, data.size()); !alive) return alive;
    const std::uint64_t block = first_block_ + offset / block_bytes;
    if (style_ != OpenStyle::each_time || data.size() <= block_bytes)
      return stick_.read_blocks(block, data);
    if (Status head = stick_.read_blocks(block, data.first(block_bytes)); !head) return head;
    return stick_.read_blocks(block + 1, data.subspan(block_bytes));
  }

  [[nodiscard]] Status write(std::uint64_t offset, ByteView data) override {
    if (Status alive = check(offset, data.size()); !alive) return alive;
    const std::uint64_t block = first_block_ + offset / block_bytes;
    if (data.size() % block_bytes == 0) return stick_.write_blocks(block, data);
    // Through the page cache: the page is read, changed in part and written as a whole.
    const std::size_t page = std::min<std::uint64_t>((data.size() + 4095) / 4096 * 4096,
                                                     (bytes_ - offset + 511) / 512 * 512);
    Bytes content(page);
    if (Status old = stick_.read_blocks(block, content); !old) return old;
    std::copy(data.begin(), data.end(), content.begin());
    return stick_.write_blocks(block, content);
  }

 private:
  [[nodiscard]] Status check(std::uint64_t offset, std::size_t size) {
    const Result<unsigned> session = stick_.session();
    if (!session) return session.error();
    if (*session != session_) return fail(ErrorCode::unavailable, "this handle is dead");
    EXPECT_LE(offset + size, bytes_);
    EXPECT_EQ(offset % block_bytes, 0U);
    if (style_ != OpenStyle::cached) {
      EXPECT_EQ(size % block_bytes, 0U);
    }
    return {};
  }

  SimulatedStick& stick_;
  std::uint64_t first_block_, bytes_;
  OpenStyle style_;
  unsigned session_;
};

class TestVolume final : public StickVolume {
 public:
  explicit TestVolume(SimulatedStick& stick) : stick_(stick) {}
  [[nodiscard]] std::string name() const override { return "simulated"; }

  [[nodiscard]] Result<std::vector<std::string>> list() override {
    Blocks blocks(stick_);
    const Result<FatVolume> volume = FatVolume::find(blocks);
    if (!volume) return volume.error();
    const Result<std::vector<FatFile>> files = volume->list(blocks);
    if (!files) return files.error();
    std::vector<std::string> names;
    for (const FatFile& file : *files) names.push_back(file.name);
    return names;
  }

  [[nodiscard]] Result<std::unique_ptr<StickFile>> open(std::string_view name,
                                                        OpenStyle style) override {
    const Result<unsigned> session = stick_.session();
    if (!session) return session.error();
    Blocks blocks(stick_);
    const Result<FatVolume> volume = FatVolume::find(blocks);
    if (!volume) return volume.error();
    const Result<FatFile> file = volume->find_file(blocks, name);
    if (!file) return file.error();
    const Result<std::vector<BlockExtent>> extents = volume->extents(blocks, *file);
    if (!extents) return extents.error();
    EXPECT_EQ(extents->size(), 1U);
    const std::uint64_t first = extents->front().first;
    if (style == OpenStyle::direct_zeroed || style == OpenStyle::recreated) {
      if (Status zeroed = stick_.write_blocks(first, Bytes(8192)); !zeroed) return zeroed.error();
    }
    return std::unique_ptr<StickFile>(
        std::make_unique<TestFile>(stick_, first, file->bytes, style, *session));
  }

 private:
  SimulatedStick& stick_;
};

class TestLine final : public SerialLine {
 public:
  TestLine(SimulatedStick& stick, unsigned session) : stick_(stick), session_(session) {}
  [[nodiscard]] std::string name() const override { return "simulated"; }
  [[nodiscard]] Status write(ByteView data) override {
    if (Status alive = check(); !alive) return alive;
    return stick_.send(data);
  }
  [[nodiscard]] Result<Bytes> read(Duration timeout) override {
    if (Status alive = check(); !alive) return alive.error();
    return stick_.receive(timeout);
  }

 private:
  [[nodiscard]] Status check() {
    const Result<unsigned> session = stick_.session();
    if (!session) return session.error();
    if (*session != session_) return fail(ErrorCode::unavailable, "this handle is dead");
    return {};
  }
  SimulatedStick& stick_;
  unsigned session_;
};

}  // namespace

namespace {

std::unique_ptr<simulator::Device> made(const simulator::DeviceOptions& options) {
  Result<std::unique_ptr<simulator::Device>> device = simulator::make_device(options);
  if (!device.ok()) throw std::runtime_error(device.error().message);
  return std::move(*device);
}

}  // namespace

SimulatedStick::SimulatedStick(const simulator::DeviceOptions& options, TestClock& clock)
    : SimulatedStick(made(options), clock) {}

SimulatedStick::SimulatedStick(std::unique_ptr<simulator::Device> device, TestClock& clock)
    : clock_(clock), device_(std::move(device)) {
  enumerate();
}

std::unique_ptr<StickVolume> SimulatedStick::volume() {
  return std::make_unique<TestVolume>(*this);
}

OpenLine SimulatedStick::line() {
  return [this]() -> Result<std::unique_ptr<SerialLine>> {
    const Result<unsigned> now = session();
    if (!now) return now.error();
    if (Status ready = set_terminal_ready(); !ready) return ready.error();
    return std::unique_ptr<SerialLine>(std::make_unique<TestLine>(*this, *now));
  };
}

void SimulatedStick::fault(const std::string& text) {
  const Result<simulator::Fault> fault = simulator::parse_fault(text);
  ASSERT_TRUE(fault.ok()) << text << ": " << fault.error().message;
  ASSERT_TRUE(device_->bench().faults.add(*fault).ok());
}

void SimulatedStick::replug() {
  device_->power_cycle(clock_.now());
  enumerate();
}

void SimulatedStick::enumerate() {
  ++session_;
  gone_ = false;
  back_at_.reset();
  reading_.reset();
  ended_.clear();
  while (device_->poll_completion()) {
  }
  const usb::TransferId id = submit(usb::control_transfer(1, usb::set_configuration(1)));
  const auto configured = await(id, clock_.now() + command_patience);
  ASSERT_TRUE(configured && configured->status == usb::TransferStatus::success);
  host_.reset();
  if (const auto host = massstorage::BulkOnlyHost::create(device_->description())) host_ = *host;
  if (!host_) return;
  // The first command of a stick is answered with "reset occurred".
  (void)command([](massstorage::BulkOnlyHost& host) { return host.test_unit_ready(); });
  (void)command([](massstorage::BulkOnlyHost& host) { return host.read_capacity(); });
}

void SimulatedStick::note_departure() {
  if (auto departure = device_->poll_departure()) {
    gone_ = true;
    back_at_.reset();
    if (departure->back_after) back_at_ = clock_.now() + *departure->back_after;
  }
}

bool SimulatedStick::present() {
  device_->advance(clock_.now());
  note_departure();
  if (gone_ && back_at_ && clock_.now() >= *back_at_) replug();
  return !gone_;
}

Result<unsigned> SimulatedStick::session() {
  if (!present()) return unplugged();
  return session_;
}

usb::TransferId SimulatedStick::submit(usb::Transfer transfer) {
  transfer.id = ++last_id_;
  device_->submit(std::move(transfer), clock_.now());
  return last_id_;
}

std::optional<usb::Completion> SimulatedStick::await(usb::TransferId id, Instant deadline) {
  while (true) {
    device_->advance(clock_.now());
    while (auto completion = device_->poll_completion()) ended_.push_back(std::move(*completion));
    const auto found =
        std::find_if(ended_.begin(), ended_.end(),
                     [&](const usb::Completion& completion) { return completion.id == id; });
    if (found != ended_.end()) {
      usb::Completion completion = std::move(*found);
      ended_.erase(found);
      return completion;
    }
    const std::optional<Instant> next = device_->next_deadline();
    if (clock_.now() >= deadline) return std::nullopt;
    clock_.advance_to(next ? std::min(*next, deadline) : deadline);
  }
}

Result<Bytes> SimulatedStick::command(
    const std::function<Status(massstorage::BulkOnlyHost&)>& start) {
  const Status started = start(*host_);
  EXPECT_TRUE(started.ok());
  const Instant deadline = clock_.now() + command_patience;
  bool gave_up = false;
  while (true) {
    if (auto result = host_->poll_result()) {
      if (result->good() && !gave_up) return std::move(result->data);
      return fail(ErrorCode::io, "Input/output error");
    }
    const auto cancel = host_->poll_cancel();
    if (cancel) device_->cancel(*cancel, clock_.now());
    auto transfer = host_->poll_transfer();
    if (!transfer) continue;
    const usb::TransferId asked = transfer->id;
    const usb::TransferId id = submit(std::move(*transfer));
    auto completion = await(id, gave_up ? clock_.now() + command_patience : deadline);
    if (!completion) {
      device_->cancel(id, clock_.now());
      completion = await(id, clock_.now());
      if (!completion || gave_up) return fail(ErrorCode::io, "Input/output error");
      gave_up = true;
      host_->abort();
    }
    note_departure();
    if (gone_) return unplugged();
    completion->id = asked;
    host_->complete(*completion);
  }
}

Status SimulatedStick::read_blocks(std::uint64_t block, std::span<std::uint8_t> data) {
  while (!data.empty()) {
    if (!present()) return unplugged();
    const std::size_t size = std::min<std::size_t>(data.size(), 64U << 10U);
    Result<Bytes> read = command([&](massstorage::BulkOnlyHost& host) {
      return host.read(static_cast<std::uint32_t>(block),
                       static_cast<std::uint16_t>(size / block_bytes));
    });
    if (!read) return read.error();
    if (read->size() != size) return fail(ErrorCode::io, "short read");
    std::copy(read->begin(), read->end(), data.begin());
    data = data.subspan(size);
    block += size / block_bytes;
  }
  return {};
}

Status SimulatedStick::write_blocks(std::uint64_t block, ByteView data) {
  while (!data.empty()) {
    if (!present()) return unplugged();
    const std::size_t size = std::min<std::size_t>(data.size(), 64U << 10U);
    const ByteView piece = data.first(size);
    Result<Bytes> written = command([&](massstorage::BulkOnlyHost& host) {
      return host.write(static_cast<std::uint32_t>(block), Bytes(piece.begin(), piece.end()));
    });
    if (!written) return written.error();
    data = data.subspan(size);
    block += size / block_bytes;
  }
  return {};
}

Status SimulatedStick::set_terminal_ready() {
  // CDC PSTN 6.3.12 SET_CONTROL_LINE_STATE: DTR and RTS.
  const usb::TransferId id = submit(usb::control_transfer(1, {0x21, 0x22, 3, 0, 0}));
  const auto completion = await(id, clock_.now() + command_patience);
  if (!completion || completion->status != usb::TransferStatus::success)
    return fail(ErrorCode::io, "DTR could not be set");
  return {};
}

Status SimulatedStick::send(ByteView data) {
  usb::Transfer transfer;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = simulator::SerialDevice::data_out_endpoint;
  transfer.length = static_cast<std::uint32_t>(data.size());
  transfer.data.assign(data.begin(), data.end());
  const usb::TransferId id = submit(std::move(transfer));
  const auto completion = await(id, clock_.now() + std::chrono::milliseconds(1500));
  if (!completion) {
    device_->cancel(id, clock_.now());
    return fail(ErrorCode::unavailable, "the stick takes no bytes");
  }
  if (completion->status != usb::TransferStatus::success)
    return fail(ErrorCode::io, "Input/output error");
  return {};
}

Result<Bytes> SimulatedStick::receive(Duration timeout) {
  if (!reading_) {
    usb::Transfer transfer;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = simulator::SerialDevice::data_in_endpoint;
    transfer.length = 4096;
    reading_ = submit(std::move(transfer));
  }
  const auto completion = await(*reading_, clock_.now() + timeout);
  if (!completion) return Bytes();
  reading_.reset();
  if (completion->status != usb::TransferStatus::success)
    return fail(ErrorCode::io, "Input/output error");
  return completion->data;
}

}  // namespace tillbridge::pos
