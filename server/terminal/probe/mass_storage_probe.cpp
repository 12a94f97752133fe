#include "server/terminal/probe/mass_storage_probe.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "channel/rdpeusb/pdu/device.hpp"
#include "channel/usb/requests.hpp"

namespace tillbridge::terminal::probe {
namespace {

/// SET_CONFIGURATION is the probe's own; BulkOnlyHost counts its transfers from here.
constexpr usb::TransferId configure_id = 1;

/// A stick that was just plugged in answers "not ready" or "medium may have changed" a few times.
constexpr std::uint32_t most_not_ready = 50;

/// GET_HUB_COUNT is answered with one u32.
constexpr std::uint32_t hub_count_bytes = 4;

double mb_per_s(std::uint64_t bytes, Duration duration) {
  const auto us = std::max<std::int64_t>(duration.count(), 1);
  return static_cast<double>(bytes) / static_cast<double>(us);
}

std::string rounded(double value) {
  std::string text = std::to_string(value);
  return text.substr(0, text.find('.') + 2);
}

}  // namespace

MassStorageProbe::MassStorageProbe(std::string name, massstorage::BulkOnlyHost host,
                                   const Options& options)
    : name_(std::move(name)), host_(std::move(host)), options_(options), benchmark_(options) {}

void MassStorageProbe::start(Instant now) {
  now_ = now;
  if (!options_.save_path.empty()) {
    save_.open(options_.save_path, std::ios::binary | std::ios::trunc);
    if (!save_) return fail_with(options_.save_path + " cannot be written");
  }
  step_deadline_ = now + options_.patience;
  outputs_.emplace_back(Submit{
      usb::control_transfer(configure_id, usb::set_configuration(host_.configuration_value()))});
}

void MassStorageProbe::completed(const usb::Completion& completion, Instant now) {
  now_ = now;
  if (stage_ == Stage::done) return;
  if (stage_ == Stage::configure) {
    if (completion.id != configure_id) return;
    if (completion.status != usb::TransferStatus::success) {
      return fail_with("SET_CONFIGURATION failed: " + std::string(usb::name(completion.status)));
    }
    return enter(Stage::max_lun);
  }
  host_.complete(completion);
  host_turn();
}

/// Takes out of the host what it wants, and goes on where a command has ended.
void MassStorageProbe::host_turn() {
  for (;;) {
    while (auto transfer = host_.poll_transfer())
      outputs_.emplace_back(Submit{std::move(*transfer)});
    while (auto id = host_.poll_cancel()) outputs_.emplace_back(Cancel{*id});
    std::optional<massstorage::CommandResult> result = host_.poll_result();
    if (!result || stage_ == Stage::done) return;
    step_deadline_ = now_ + options_.patience;
    command_ended(*result);
  }
}

void MassStorageProbe::enter(Stage stage) {
  stage_ = stage;
  step_deadline_ = now_ + options_.patience;
  Status started;
  switch (stage) {
    case Stage::max_lun:
      started = host_.get_max_lun();
      break;
    case Stage::inquiry:
      started = host_.inquiry();
      break;
    case Stage::ready:
      started = host_.test_unit_ready();
      break;
    case Stage::capacity:
      started = host_.read_capacity();
      break;
    case Stage::write:
      region_done_ = 0;
      region_began_ = now_;
      next_write();
      break;
    case Stage::flush:
      started = host_.synchronize_cache();
      break;
    case Stage::compare:
      region_done_ = 0;
      next_compare();
      break;
    case Stage::read:
      region_ = 0;
      region_done_ = 0;
      reads_began_ = now_;
      next_read();
      break;
    case Stage::bench:
      next_step();
      break;
    case Stage::configure:
    case Stage::done:
      break;
  }
  if (!started) fail_with(started.error().message);
  host_turn();
}

void MassStorageProbe::command_ended(massstorage::CommandResult& result) {
  const bool not_ready =
      stage_ == Stage::ready && result.outcome == massstorage::Outcome::check_condition;
  if (not_ready && ++not_ready_ < most_not_ready) return enter(Stage::ready);
  // SYNCHRONIZE CACHE is optional, and sticks without a cache refuse it.
  const bool no_cache =
      stage_ == Stage::flush && result.outcome == massstorage::Outcome::check_condition;
  if (!result.good() && !no_cache) return fail_with(result.message);
  switch (stage_) {
    case Stage::max_lun:
      return enter(Stage::inquiry);
    case Stage::inquiry:
      return inquired(result);
    case Stage::ready:
      return enter(Stage::capacity);
    case Stage::capacity:
      return sized();
    case Stage::write:
      return written(result);
    case Stage::flush:
      return enter(Stage::compare);
    case Stage::compare:
      return compared(result);
    case Stage::read:
      return was_read(result);
    case Stage::bench:
      return step_ended(result);
    case Stage::configure:
    case Stage::done:
      return;
  }
}

void MassStorageProbe::inquired(const massstorage::CommandResult& result) {
  const auto reply = massstorage::scsi::parse_inquiry(result.data);
  if (!reply) return fail_with(reply.error().message);
  report("inquiry", "\"" + reply->vendor + " " + reply->product + "\" revision " + reply->revision,
         {{"vendor", reply->vendor}, {"product", reply->product}, {"revision", reply->revision}});
  enter(Stage::ready);
}

void MassStorageProbe::sized() {
  const std::uint64_t blocks = host_.block_count();
  report("capacity",
         std::to_string(blocks) + " blocks of " + std::to_string(host_.block_size()) + " bytes (" +
             std::to_string(blocks * host_.block_size() >> 20U) + " MiB)",
         {{"blocks", static_cast<std::int64_t>(blocks)},
          {"block_bytes", std::int64_t{host_.block_size()}}});
  enter(options_.writes.empty() ? Stage::read : Stage::write);
}

std::uint32_t MassStorageProbe::blocks_per_command() const {
  return std::clamp<std::uint32_t>(options_.command_bytes / host_.block_size(), 1, 0xFFFF);
}

bool MassStorageProbe::begin_read(std::uint32_t block, std::uint32_t count) {
  const auto now_count = static_cast<std::uint16_t>(std::min(count, blocks_per_command()));
  if (std::uint64_t{block} + now_count > host_.block_count()) {
    fail_with("block " + std::to_string(block + now_count - 1) + " is behind the end of the disk");
    return false;
  }
  if (Status started = host_.read(block, now_count); !started) {
    fail_with(started.error().message);
    return false;
  }
  return true;
}

// --- write and compare
// -----------------------------------------------------------------------------------------

void MassStorageProbe::next_write() {
  const WriteRegion& region = options_.writes[region_];
  const std::uint32_t block_bytes = host_.block_size();
  if (region.data->size() % block_bytes != 0) {
    return fail_with(region.name + " is no whole number of blocks of " +
                     std::to_string(block_bytes) + " bytes");
  }
  const std::size_t begin = std::size_t{region_done_} * block_bytes;
  const ByteView rest = ByteView(*region.data).subspan(begin);
  if (rest.empty()) return enter(Stage::flush);
  const ByteView part =
      rest.first(std::min(rest.size(), std::size_t{blocks_per_command()} * block_bytes));
  const std::uint64_t first = std::uint64_t{region.block} + region_done_;
  if (first + part.size() / block_bytes > host_.block_count()) {
    return fail_with(region.name + " does not fit: the disk has " +
                     std::to_string(host_.block_count()) + " blocks");
  }
  if (Status started =
          host_.write(static_cast<std::uint32_t>(first), Bytes(part.begin(), part.end()));
      !started) {
    fail_with(started.error().message);
  }
}

void MassStorageProbe::written(const massstorage::CommandResult& result) {
  if (result.residue != 0)
    return fail_with("the stick left out " + std::to_string(result.residue) + " bytes of a write");
  const WriteRegion& region = options_.writes[region_];
  const auto all = static_cast<std::uint32_t>(region.data->size() / host_.block_size());
  region_done_ += std::min(blocks_per_command(), all - region_done_);
  next_write();
}

void MassStorageProbe::next_compare() {
  const WriteRegion& region = options_.writes[region_];
  const auto all = static_cast<std::uint32_t>(region.data->size() / host_.block_size());
  if (region_done_ < all) {
    begin_read(region.block + region_done_, all - region_done_);
    return;
  }
  const Duration took = now_ - region_began_;
  report("written",
         std::to_string(region.data->size()) + " bytes of " + region.name + " written to block " +
             std::to_string(region.block) + " on, read back and compared (" +
             rounded(mb_per_s(region.data->size() * 2, took)) + " MB/s)",
         {{"file", region.name},
          {"block", std::int64_t{region.block}},
          {"bytes", static_cast<std::int64_t>(region.data->size())},
          {"took_us", std::int64_t{took.count()}}});
  ++region_;
  enter(region_ < options_.writes.size() ? Stage::write : Stage::read);
}

void MassStorageProbe::compared(const massstorage::CommandResult& result) {
  const WriteRegion& region = options_.writes[region_];
  const std::size_t begin = std::size_t{region_done_} * host_.block_size();
  const ByteView expected = ByteView(*region.data).subspan(begin);
  const auto all = static_cast<std::uint32_t>(region.data->size() / host_.block_size());
  const std::uint32_t count = std::min(blocks_per_command(), all - region_done_);
  const std::size_t size = std::size_t{count} * host_.block_size();
  if (result.data.size() != size)
    return fail_with("a read ended " + std::to_string(size - result.data.size()) + " bytes short");
  const auto difference = std::mismatch(result.data.begin(), result.data.end(), expected.begin());
  if (difference.first != result.data.end()) {
    const auto offset = static_cast<std::size_t>(difference.first - result.data.begin());
    return fail_with("byte " + std::to_string(begin + offset) + " of " + region.name +
                     " reads back differently");
  }
  region_done_ += count;
  next_compare();
}

// --- read
// ------------------------------------------------------------------------------------------------------

void MassStorageProbe::next_read() {
  while (region_ < options_.reads.size() && region_done_ >= options_.reads[region_].count) {
    ++region_;
    region_done_ = 0;
  }
  if (region_ >= options_.reads.size()) return reads_ended();
  const Region& region = options_.reads[region_];
  begin_read(region.block + region_done_, region.count - region_done_);
}

void MassStorageProbe::was_read(const massstorage::CommandResult& result) {
  const std::uint32_t count =
      std::min(blocks_per_command(), options_.reads[region_].count - region_done_);
  const std::size_t size = std::size_t{count} * host_.block_size();
  if (result.data.size() != size)
    return fail_with("a read ended " + std::to_string(size - result.data.size()) + " bytes short");
  sha256_.add(result.data);
  if (save_.is_open()) {
    save_.write(reinterpret_cast<const char*>(result.data.data()),
                static_cast<std::streamsize>(result.data.size()));
    if (!save_) return fail_with(options_.save_path + " cannot be written");
  }
  read_bytes_ += result.data.size();
  region_done_ += count;
  next_read();
}

void MassStorageProbe::reads_ended() {
  if (!options_.reads.empty()) {
    if (save_.is_open()) save_.close();
    const Duration took = now_ - reads_began_;
    const std::string digest = sha256_.finish();
    report("read",
           std::to_string(read_bytes_) + " bytes read, SHA-256 " + digest + " (" +
               rounded(mb_per_s(read_bytes_, took)) + " MB/s)",
           {{"bytes", static_cast<std::int64_t>(read_bytes_)},
            {"sha256", digest},
            {"took_us", std::int64_t{took.count()}},
            {"mb_per_s", mb_per_s(read_bytes_, took)}});
    if (!options_.expected_sha256.empty() && digest != options_.expected_sha256) {
      return fail_with("SHA-256 is " + digest + ", expected " + options_.expected_sha256);
    }
  }
  if (options_.bench_rounds == 0) return succeed();
  enter(Stage::bench);
}

// --- benchmark
// -------------------------------------------------------------------------------------------------

void MassStorageProbe::next_step() {
  const std::optional<Benchmark::Step> step = benchmark_.next(now_);
  if (!step) return bench_ended();
  if (step->kind == Benchmark::Kind::round_trip) {
    step_deadline_ = now_ + options_.patience;
    outputs_.emplace_back(IoControl{rdpeusb::pdu::io_control_code::get_hub_count, hub_count_bytes});
  } else if (step->kind == Benchmark::Kind::write) {
    const ByteView back =
        ByteView(bench_data_).first(std::min<std::size_t>(bench_data_.size(), step->bytes));
    if (Status started = host_.write(bench_block_, Bytes(back.begin(), back.end())); !started)
      fail_with(started.error().message);
  } else {
    const std::uint32_t count = std::max(step->bytes / host_.block_size(), 1U);
    bench_block_ = bench_next_block_;
    if (bench_block_ + std::uint64_t{count} > host_.block_count()) bench_block_ = 0;
    if (begin_read(bench_block_, count)) bench_next_block_ = bench_block_ + count;
  }
}

void MassStorageProbe::step_ended(massstorage::CommandResult& result) {
  if (result.residue != 0)
    return fail_with("a command ended " + std::to_string(result.residue) + " bytes short");
  benchmark_.ended(now_);
  if (!result.data.empty()) bench_data_ = std::move(result.data);
  next_step();
}

void MassStorageProbe::io_control_completed(Instant now) {
  now_ = now;
  if (stage_ != Stage::bench) return;
  benchmark_.ended(now_);
  next_step();
  host_turn();
}

void MassStorageProbe::bench_ended() {
  for (Report& told : benchmark_.reports())
    report(std::move(told.event), told.text, std::move(told.fields));
  succeed();
}

// --- the end
// ---------------------------------------------------------------------------------------------------

void MassStorageProbe::advance(Instant now) {
  now_ = now;
  if (stage_ == Stage::done || now < step_deadline_) return;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.patience).count();
  host_.abort();
  host_turn();
  fail_with("no answer for " + std::to_string(seconds) + " s");
}

std::optional<Instant> MassStorageProbe::next_deadline() const {
  if (stage_ == Stage::done) return std::nullopt;
  return step_deadline_;
}

std::optional<DeviceProbe::Output> MassStorageProbe::poll() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

void MassStorageProbe::report(std::string event, const std::string& text,
                              std::vector<Field> fields) {
  fields.insert(fields.begin(), {"device", name_});
  outputs_.emplace_back(Report{std::move(event), name_ + ": " + text, std::move(fields)});
}

void MassStorageProbe::fail_with(const std::string& text) {
  if (stage_ == Stage::done) return;
  constexpr std::array<const char*, 11> names{"SET_CONFIGURATION",
                                              "GET MAX LUN",
                                              "INQUIRY",
                                              "TEST UNIT READY",
                                              "READ CAPACITY",
                                              "writing",
                                              "SYNCHRONIZE CACHE",
                                              "comparing",
                                              "reading",
                                              "benchmark",
                                              ""};
  std::string where = names.at(static_cast<std::size_t>(stage_));
  stage_ = Stage::done;
  outputs_.emplace_back(Done{false, where + ": " + text});
}

void MassStorageProbe::succeed() {
  stage_ = Stage::done;
  outputs_.emplace_back(Done{true, "mass storage works"});
}

}  // namespace tillbridge::terminal::probe
