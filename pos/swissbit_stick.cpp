#include "pos/swissbit_stick.hpp"

#include <algorithm>
#include <utility>
#include <variant>

#include "channel/bytes/limits.hpp"

namespace tillbridge::pos {
namespace {

namespace sb = swissbit;

/// As the open Rust client paces itself.
constexpr Duration poll_interval = std::chrono::milliseconds(150);
constexpr Duration answer_limit = std::chrono::seconds(40);
/// A self test takes up to 60 s, and the stick may have to wake up for it.
constexpr Duration self_test_limit = std::chrono::seconds(90);
/// A command that was not taken by then was ignored.
constexpr Duration taking_limit = std::chrono::seconds(3);

Failure broken(const std::string& what) {
  return trouble(Trouble::garbled, "the stick answers nonsense: " + what +
                                       ". Is a virus scanner or another program using it?");
}

}  // namespace

Deed SwissbitStick::open() {
  if (style_ == OpenStyle::direct_zeroed || style_ == OpenStyle::recreated) {
    return trouble(Trouble::usage, std::string("--open-style ") + name_of(style_) +
                                       " is for cryptovision sticks: a Swissbit stick knows its "
                                       "files by their place on the disk, and they must not be "
                                       "overwritten. Use direct, each-time or cached");
  }
  info_.reset();
  comm_.reset();
  store_.clear();
  for (const auto& [name, place] :
       {std::pair(sb::info_file, &info_), std::pair(sb::comm_file, &comm_)}) {
    Result<std::unique_ptr<StickFile>> opened = volume_->open(name, style_);
    if (!opened) return from_io(opened.error());
    *place = std::move(*opened);
    if ((*place)->size() < sb::sector_bytes) {
      return trouble(Trouble::no_stick,
                     volume_->name() + ": " + name + " is too short: this is no Swissbit stick");
    }
  }
  // What stands there is an earlier command's; the next one goes by its counter.
  const Outcome<sb::Answer> answer = read_answer();
  if (!answer && answer.failure().what != Trouble::garbled) return answer.failure();
  last_counter_.reset();
  if (answer) last_counter_ = answer->counter;
  return done();
}

Outcome<sb::Info> SwissbitStick::info() {
  if (!info_) return trouble(Trouble::gone, volume_->name() + " is not open");
  Bytes sector(sb::sector_bytes);
  if (Status read = info_->read(0, sector); !read) return from_io(read.error());
  Result<sb::Info> info = sb::parse_info(sector);
  if (!info) return broken(info.error().message);
  return std::move(*info);
}

Outcome<sb::Answer> SwissbitStick::read_answer() {
  if (!comm_) return trouble(Trouble::gone, volume_->name() + " is not open");
  Bytes sector(sb::sector_bytes);
  if (Status read = comm_->read(0, sector); !read) return from_io(read.error());
  Result<sb::Answer> answer = sb::parse_answer(sector);
  if (!answer) return broken(answer.error().message);
  return std::move(*answer);
}

Deed SwissbitStick::send(const sb::Command& command) {
  if (!comm_) return trouble(Trouble::gone, volume_->name() + " is not open");
  if (Status written = comm_->write(0, sb::encode(command)); !written)
    return from_io(written.error());
  return done();
}

/// `counts`: the answer is known by a counter above the last one.
Outcome<sb::Answer> SwissbitStick::wait_for_answer(Duration limit, bool counts) {
  const Instant sent_at = clock_.now();
  while (true) {
    Outcome<sb::Answer> answer = read_answer();
    if (!answer) return answer;
    const bool busy = answer->state == sb::AnswerState::busy;
    if (last_counter_ && answer->counter < *last_counter_) {
      last_counter_ = answer->counter;
      return trouble(Trouble::asleep,
                     "the stick lost power or fell asleep, and its answer with it. Switch off USB "
                     "power saving for it");
    }
    const bool taken = answer->state != sb::AnswerState::none &&
                       !(counts && last_counter_ && answer->counter == *last_counter_);
    if (!busy && taken) {
      last_counter_ = answer->counter;
      return answer;
    }
    const Duration waited = clock_.now() - sent_at;
    if (!busy && waited >= taking_limit) {
      return trouble(
          Trouble::asleep,
          "the stick did not take the command. Is another program using it? Only one may");
    }
    if (waited >= limit) {
      const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limit).count();
      return trouble(Trouble::asleep, "the stick has been busy for " + std::to_string(seconds) +
                                          " s. If that does not end, unplug it, wait a minute and "
                                          "plug it in again");
    }
    clock_.wait(poll_interval);
  }
}

Outcome<SwissbitStick::Reply> SwissbitStick::reply(const sb::Command& command) {
  if (Deed sent = send(command); !sent) return sent.failure();
  const Duration limit =
      std::holds_alternative<sb::SelfTest>(command) ? self_test_limit : answer_limit;
  Outcome<sb::Answer> answer = wait_for_answer(limit, true);
  if (answer && answer->state == sb::AnswerState::waits_for_fetch) {
    if (Deed sent = send(sb::FetchAnswer{}); !sent) return sent.failure();
    answer = wait_for_answer(limit, false);
  }
  if (!answer) return answer.failure();
  return Reply{answer->status, std::move(answer->data)};
}

Outcome<Bytes> SwissbitStick::command(const sb::Command& command) {
  Outcome<Reply> answer = reply(command);
  if (!answer) return answer.failure();
  if (answer->status != sb::CommandStatus::ok) return refused(answer->status);
  return std::move(answer->data);
}

Failure SwissbitStick::refused(sb::CommandStatus status) {
  const auto what = [&] {
    switch (status) {
      case sb::CommandStatus::no_time:
        return Trouble::no_time;
      case sb::CommandStatus::not_started:
        return Trouble::no_transaction;
      case sb::CommandStatus::too_many_transactions:
      case sb::CommandStatus::client_has_open_transactions:
      case sb::CommandStatus::open_transactions:
        return Trouble::open_transactions;
      case sb::CommandStatus::certificate_expired:
        return Trouble::certificate_expired;
      case sb::CommandStatus::signatures_used_up:
      case sb::CommandStatus::store_full:
        return Trouble::used_up;
      case sb::CommandStatus::unknown_client:
        return Trouble::unknown_client;
      case sb::CommandStatus::self_test_required:
      case sb::CommandStatus::self_test_not_passed:
        return Trouble::self_test;
      case sb::CommandStatus::decommissioned:
        return Trouble::disabled;
      case sb::CommandStatus::not_initialized:
      case sb::CommandStatus::ctss_off:
      case sb::CommandStatus::puk_must_be_changed:
      case sb::CommandStatus::pin_must_be_changed:
        return Trouble::not_set_up;
      case sb::CommandStatus::pin_blocked:
        return Trouble::pin_blocked;
      default:
        break;
    }
    if (sb::tries_left(status)) return Trouble::wrong_pin;
    const std::uint16_t number = sb::number_of(status);
    if (number >= sb::number_of(sb::CommandStatus::self_test_part_failed) && number < 0x1400)
      return Trouble::self_test;
    return Trouble::failed;
  }();
  return trouble(what, "the stick says: " + sb::text_of(status));
}

// --- the store

Outcome<StickFile*> SwissbitStick::store_file(std::uint64_t block) {
  const std::uint64_t number = 1 + block / sb::tar_file_blocks;
  if (number > sb::most_tar_files) {
    return trouble(Trouble::failed,
                   "the stick names block " + std::to_string(block) + ", which no store has");
  }
  std::unique_ptr<StickFile>& file = store_[static_cast<unsigned>(number)];
  if (!file) {
    Result<std::unique_ptr<StickFile>> opened =
        volume_->open(sb::tar_file(static_cast<unsigned>(number)), style_);
    if (!opened) return from_io(opened.error());
    file = std::move(*opened);
  }
  return file.get();
}

Deed SwissbitStick::read_store(std::uint64_t block, std::span<std::uint8_t> data) {
  while (!data.empty()) {
    Outcome<StickFile*> file = store_file(block);
    if (!file) return file.failure();
    const std::uint64_t inside = block % sb::tar_file_blocks;
    const std::size_t size = static_cast<std::size_t>(
        std::min<std::uint64_t>(data.size(), (sb::tar_file_blocks - inside) * sb::sector_bytes));
    if (Status read = (*file)->read(inside * sb::sector_bytes, data.first(size)); !read)
      return from_io(read.error());
    data = data.subspan(size);
    block += size / sb::sector_bytes;
  }
  return done();
}

Deed SwissbitStick::write_store(std::uint64_t block, ByteView data) {
  while (!data.empty()) {
    Outcome<StickFile*> file = store_file(block);
    if (!file) return file.failure();
    const std::uint64_t inside = block % sb::tar_file_blocks;
    const std::size_t size = static_cast<std::size_t>(
        std::min<std::uint64_t>(data.size(), (sb::tar_file_blocks - inside) * sb::sector_bytes));
    if (Status written = (*file)->write(inside * sb::sector_bytes, data.first(size)); !written)
      return from_io(written.error());
    data = data.subspan(size);
    block += size / sb::sector_bytes;
  }
  return done();
}

}  // namespace tillbridge::pos
