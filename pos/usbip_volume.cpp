// volume_on(): Bulk-Only Transport and FAT on an imported device.
#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "channel/massstorage/host.hpp"
#include "pos/fat_volume.hpp"
#include "pos/usbip_device.hpp"
#include "pos/usbip_stick.hpp"

namespace tillbridge::pos {
namespace {

constexpr std::uint32_t block_bytes = BlockDevice::block_bytes;
/// As long as Windows' disk driver: above the 30 s that a stick may take to wake up
/// (tse/FIELD_PROBLEMS.md).
constexpr Duration command_patience = std::chrono::seconds(60);
/// TEST UNIT READY until the stick has said all that happened before (power on, medium changed).
constexpr int ready_tries = 5;
/// The piece that the page cache of a system reads before it writes a part of it.
constexpr std::uint64_t page_bytes = 4096;
/// What clients that make the file anew write into it.
constexpr std::uint64_t control_file_bytes = 8192;

/// The stick's blocks: each call is SCSI commands, nothing is kept and nothing is sent twice.
class UsbDisk final : public BlockDevice {
 public:
  UsbDisk(std::unique_ptr<UsbipDevice> device, massstorage::BulkOnlyHost host)
      : device_(std::move(device)), host_(std::move(host)) {}

  [[nodiscard]] Status begin() {
    if (Status configured = device_->configure(host_.configuration_value()); !configured) {
      return configured;
    }
    Status ready;
    for (int tries = 0; tries < ready_tries; ++tries) {
      ready = run(host_.test_unit_ready());
      if (ready || device_->lost()) break;
    }
    if (!ready) return ready;
    if (Status known = run(host_.read_capacity()); !known) return known;
    if (host_.block_size() == block_bytes) return {};
    return fail(ErrorCode::malformed, "the stick's blocks have " +
                                          std::to_string(host_.block_size()) +
                                          " bytes; a TSE's have 512");
  }

  [[nodiscard]] const usb::DeviceDescription& description() const { return device_->description(); }
  [[nodiscard]] std::uint64_t block_count() const override { return host_.block_count(); }

  [[nodiscard]] Status read(std::uint64_t block, std::span<std::uint8_t> data) override {
    while (!data.empty()) {
      const std::size_t size = std::min<std::size_t>(data.size(), command_bytes);
      const auto count = static_cast<std::uint16_t>(size / block_bytes);
      if (Status read = run(host_.read(static_cast<std::uint32_t>(block), count)); !read) {
        return read;
      }
      if (result_.data.size() != size) {
        return fail(ErrorCode::io, "the stick gave fewer bytes than it was asked for");
      }
      std::copy(result_.data.begin(), result_.data.end(), data.begin());
      data = data.subspan(size);
      block += count;
    }
    return {};
  }

  [[nodiscard]] Status write(std::uint64_t block, ByteView data) override {
    while (!data.empty()) {
      const std::size_t size = std::min<std::size_t>(data.size(), command_bytes);
      const ByteView piece = data.first(size);
      if (Status written = run(
              host_.write(static_cast<std::uint32_t>(block), Bytes(piece.begin(), piece.end())));
          !written) {
        return written;
      }
      data = data.subspan(size);
      block += size / block_bytes;
    }
    return {};
  }

 private:
  static constexpr std::size_t command_bytes = 64U << 10U;

  /// Until the command has its result, which stays in result_.
  [[nodiscard]] Status run(const Status& started) {
    if (dead_) return *dead_;
    if (!started) return started;
    Instant end = steady_now() + command_patience;
    bool stopping = false;
    for (;;) {
      if (auto result = host_.poll_result()) {
        result_ = std::move(*result);
        return judge();
      }
      while (auto transfer = host_.poll_transfer()) {
        host_id_ = transfer->id;
        wire_id_ = device_->submit(std::move(*transfer));
      }
      while (auto id = host_.poll_cancel()) {
        if (*id == host_id_) device_->cancel(wire_id_);
      }
      if (auto done = device_->wait(std::max(end - steady_now(), Duration(0)))) {
        if (done->id != wire_id_) continue;
        done->id = host_id_;
        host_.complete(*done);
      } else if (!stopping) {
        stopping = true;
        host_.abort();
        end = steady_now() + UsbipDevice::request_patience;
      } else {
        // What was begun may still end, in the middle of what would come next.
        dead_ = fail(ErrorCode::unavailable, "the stick does not answer any more");
        return *dead_;
      }
    }
  }

  [[nodiscard]] Status judge() const {
    using massstorage::Outcome;
    switch (result_.outcome) {
      case Outcome::good:
        return {};
      case Outcome::device_gone:
        return device_->lost().value_or(
            fail(ErrorCode::unavailable, "the stick was unplugged: " + result_.message));
      case Outcome::aborted:
        return fail(ErrorCode::io, "the stick did not answer within 60 s");
      case Outcome::check_condition:
      case Outcome::phase_error:
      case Outcome::transport_failure:
        break;
    }
    return fail(ErrorCode::io, "the stick refused a command: " + result_.message);
  }

  std::unique_ptr<UsbipDevice> device_;
  massstorage::BulkOnlyHost host_;
  massstorage::CommandResult result_;
  usb::TransferId host_id_ = 0, wire_id_ = 0;
  std::optional<Error> dead_;  ///< it has to be imported anew
};

class UsbipFile final : public StickFile {
 public:
  UsbipFile(std::shared_ptr<UsbDisk> disk, const FatVolume& volume, FatFile file, OpenStyle style)
      : disk_(std::move(disk)), volume_(volume), file_(std::move(file)), style_(style) {}

  [[nodiscard]] Status begin() {
    if (Status found = locate(); !found) return found;
    // As seen from the stick both styles begin alike: the blocks of the file are written with
    // zeros. (A kernel would write the folder entry as well; nothing here may change the tables.)
    if (style_ == OpenStyle::direct_zeroed || style_ == OpenStyle::recreated) {
      return move_blocks(0, std::min<std::uint64_t>(block_end(), control_file_bytes),
                         [&](std::uint64_t block, std::uint64_t /*at*/, std::uint64_t size) {
                           return disk_->write(block, Bytes(static_cast<std::size_t>(size)));
                         });
    }
    return {};
  }

  [[nodiscard]] std::uint64_t size() const override { return file_.bytes; }

  [[nodiscard]] Status read(std::uint64_t offset, std::span<std::uint8_t> data) override {
    if (Status fits = check(offset, data.size()); !fits) return fits;
    if (style_ == OpenStyle::cached) {  // a second handle, which reads whole blocks
      const std::uint64_t from = offset / block_bytes * block_bytes;
      Bytes blocks(static_cast<std::size_t>(round_up(offset + data.size(), block_bytes) - from));
      if (Status read = read_blocks(from, blocks); !read) return read;
      const ByteView wanted =
          ByteView(blocks).subspan(static_cast<std::size_t>(offset - from), data.size());
      std::copy(wanted.begin(), wanted.end(), data.begin());
      return {};
    }
    if (style_ != OpenStyle::each_time) return read_blocks(offset, data);
    if (Status found = reopen(); !found) return found;
    const std::size_t head = std::min<std::size_t>(block_bytes, data.size());
    if (Status read = read_blocks(offset, data.first(head)); !read) return read;
    return read_blocks(offset + head, data.subspan(head));
  }

  [[nodiscard]] Status write(std::uint64_t offset, ByteView data) override {
    if (Status fits = check(offset, data.size()); !fits) return fits;
    if (style_ == OpenStyle::cached) return write_pages(offset, data);
    if (style_ == OpenStyle::each_time) {
      if (Status found = reopen(); !found) return found;
    }
    return write_blocks(offset, data);
  }

 private:
  static constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
  }
  /// A control file need not be a whole number of blocks; its last block is there all the same.
  [[nodiscard]] std::uint64_t block_end() const { return round_up(file_.bytes, block_bytes); }

  [[nodiscard]] Status locate() {
    auto extents = volume_.extents(*disk_, file_);
    if (!extents) return extents.error();
    extents_ = std::move(*extents);
    return {};
  }
  [[nodiscard]] Status reopen() {
    auto file = volume_.find_file(*disk_, file_.name);
    if (!file) return file.error();
    file_ = std::move(*file);
    return locate();
  }

  [[nodiscard]] Status check(std::uint64_t offset, std::size_t size) const {
    const bool whole_blocks = offset % block_bytes == 0 && size % block_bytes == 0;
    if ((whole_blocks || style_ == OpenStyle::cached) && offset <= block_end() &&
        size <= block_end() - offset) {
      return {};
    }
    return fail(ErrorCode::io, file_.name + " has " + std::to_string(file_.bytes) + " bytes; " +
                                   std::to_string(size) + " bytes at " + std::to_string(offset) +
                                   " are not a range of it. Is this a TSE's file?");
  }

  /// `move(block, at, size)` for every run of blocks that the range is in; `at` counts from the
  /// range's beginning.
  template <typename Move>
  [[nodiscard]] Status move_blocks(std::uint64_t offset, std::uint64_t size, Move move) const {
    std::uint64_t begins = 0;  // of the extent, in the file
    std::uint64_t at = 0;
    for (const BlockExtent& extent : extents_) {
      const std::uint64_t bytes = extent.count * block_bytes;
      if (at < size && offset + at < begins + bytes) {
        const std::uint64_t inside = offset + at - begins;
        const std::uint64_t part = std::min(size - at, bytes - inside);
        if (Status moved = move(extent.first + inside / block_bytes, at, part); !moved) {
          return moved;
        }
        at += part;
      }
      begins += bytes;
    }
    return {};
  }
  [[nodiscard]] Status read_blocks(std::uint64_t offset, std::span<std::uint8_t> data) const {
    return move_blocks(
        offset, data.size(), [&](std::uint64_t block, std::uint64_t at, std::uint64_t size) {
          return disk_->read(
              block, data.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(size)));
        });
  }
  [[nodiscard]] Status write_blocks(std::uint64_t offset, ByteView data) const {
    return move_blocks(
        offset, data.size(), [&](std::uint64_t block, std::uint64_t at, std::uint64_t size) {
          return disk_->write(
              block, data.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(size)));
        });
  }
  /// As a page cache does: reads the pages that the data is in, and writes them whole, with what
  /// happened to stand in the rest of them.
  [[nodiscard]] Status write_pages(std::uint64_t offset, ByteView data) const {
    const std::uint64_t from = offset / page_bytes * page_bytes;
    const std::uint64_t to = std::min(round_up(offset + data.size(), page_bytes), block_end());
    Bytes pages(static_cast<std::size_t>(to - from));
    if (Status read = read_blocks(from, pages); !read) return read;
    std::copy(data.begin(), data.end(), pages.begin() + static_cast<std::ptrdiff_t>(offset - from));
    return write_blocks(from, pages);
  }

  std::shared_ptr<UsbDisk> disk_;
  FatVolume volume_;
  FatFile file_;
  OpenStyle style_;
  std::vector<BlockExtent> extents_;
};

class UsbipVolume final : public StickVolume {
 public:
  UsbipVolume(std::shared_ptr<UsbDisk> disk, const FatVolume& volume, std::string name)
      : disk_(std::move(disk)), volume_(volume), name_(std::move(name)) {}

  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] Result<std::vector<std::string>> list() override {
    const auto files = volume_.list(*disk_);
    if (!files) return files.error();
    std::vector<std::string> names;
    names.reserve(files->size());
    for (const FatFile& file : *files) names.push_back(file.name);
    return names;
  }
  [[nodiscard]] Result<std::unique_ptr<StickFile>> open(std::string_view file,
                                                        OpenStyle style) override {
    auto found = volume_.find_file(*disk_, file);
    if (!found) return fail(found.error().code, name_ + ": " + found.error().message);
    auto opened = std::make_unique<UsbipFile>(disk_, volume_, std::move(*found), style);
    if (Status begun = opened->begin(); !begun) return begun.error();
    return std::unique_ptr<StickFile>(std::move(opened));
  }

 private:
  std::shared_ptr<UsbDisk> disk_;
  FatVolume volume_;
  std::string name_;
};

}  // namespace

Result<std::unique_ptr<StickVolume>> volume_on(std::unique_ptr<UsbipDevice> device,
                                               const std::string& at) {
  const std::string name = device->description().label() + " at " + at;
  auto host = massstorage::BulkOnlyHost::create(device->description());
  if (!host) return fail(host.error().code, name + ": " + host.error().message);
  auto disk = std::make_shared<UsbDisk>(std::move(device), std::move(*host));
  if (Status begun = disk->begin(); !begun) {
    return fail(begun.error().code, name + ": " + begun.error().message);
  }
  const auto volume = FatVolume::find(*disk);
  if (!volume) return fail(volume.error().code, name + ": " + volume.error().message);
  return std::unique_ptr<StickVolume>(
      std::make_unique<UsbipVolume>(std::move(disk), *volume, name));
}

}  // namespace tillbridge::pos
