// A session's end of a stick, with or without the pipeline, a link that takes its time, and the
// simulated stick: what the tests compare, and what the fuzzer drives.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "channel/bytes/limits.hpp"
#include "channel/massstorage/pipeline.hpp"
#include "server/simulator/mass_storage_stick.hpp"

namespace tillbridge::massstorage::test {

/// For a person to compare, and the tests: which bytes they were.
inline std::string digest(ByteView bytes) {
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  return std::to_string(std::hash<std::string_view>()(std::string_view(text, bytes.size())));
}

/// What the stick did to its disk, in order: each command's operation code, each write with what
/// was written.
using Deeds = std::vector<std::string>;

class RecordingMedium final : public simulator::Medium {
 public:
  RecordingMedium(std::uint64_t block_count, Deeds& deeds) : disk_(block_count), deeds_(deeds) {}
  [[nodiscard]] std::uint64_t block_count() const override { return disk_.block_count(); }
  [[nodiscard]] Status read(std::uint64_t block, std::span<std::uint8_t> data) override {
    return disk_.read(block, data);
  }
  [[nodiscard]] Status write(std::uint64_t block, ByteView data) override {
    // Blocks one by one: how a command's data was cut into transfers does not matter to the disk.
    for (std::size_t at = 0; at < data.size(); at += simulator::block_bytes) {
      const ByteView one = data.subspan(at, simulator::block_bytes);
      deeds_.push_back("write " + std::to_string(block + at / simulator::block_bytes) + ' ' +
                       digest(one));
    }
    return disk_.write(block, data);
  }
  [[nodiscard]] Status flush() override { return disk_.flush(); }
  [[nodiscard]] Duration begin_command(std::uint8_t operation, Instant /*now*/) override {
    deeds_.push_back("command " + std::to_string(operation));
    return Duration(0);
  }

 private:
  simulator::MemoryMedium disk_;
  Deeds& deeds_;
};

struct RigOptions {
  bool pipeline = true;
  Duration delay{0};  ///< of the link, each way
  simulator::StickOptions stick;
  std::vector<simulator::Fault> faults;
  std::uint64_t seed = 1;  ///< of the stick's faults
};

class Rig {
 public:
  static constexpr std::uint8_t in_pipe = simulator::MassStorageStick::in_endpoint,
                                out_pipe = simulator::MassStorageStick::out_endpoint;
  static constexpr std::uint64_t disk_blocks = 256;

  explicit Rig(const RigOptions& options)
      : delay_(options.delay),
        bench_(std::make_shared<simulator::Bench>(options.seed)),
        stick_(std::make_unique<RecordingMedium>(disk_blocks, deeds), options.stick, bench_) {
    for (const auto& fault : options.faults) static_cast<void>(bench_->faults.add(fault));
    if (options.pipeline) pipeline_.emplace(stick_.description());
  }

  // --- the session
  usb::TransferId submit(usb::Transfer transfer) {
    transfer.id = ++last_id_;
    note("session ", transfer);
    open_.emplace(transfer.id, transfer.in() && transfer.type == usb::TransferType::bulk);
    if (pipeline_ && pipeline_->concerns(transfer)) {
      pipeline_->submit(std::move(transfer));
      drain();
    } else {
      to_stick_.push_back({now + delay_, std::move(transfer)});
    }
    return last_id_;
  }
  usb::TransferId out(Bytes data) {
    usb::Transfer transfer;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = out_pipe;
    transfer.length = static_cast<std::uint32_t>(data.size());
    transfer.data = std::move(data);
    return submit(std::move(transfer));
  }
  usb::TransferId in(std::uint32_t length, bool short_not_ok = false) {
    usb::Transfer transfer;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = in_pipe;
    transfer.length = length;
    transfer.short_not_ok = short_not_ok;
    return submit(std::move(transfer));
  }
  usb::TransferId control(const usb::SetupPacket& setup) {
    return submit(usb::control_transfer(1, setup));
  }
  void cancel(usb::TransferId id) {
    note("session cancels ", id);
    if (pipeline_ && pipeline_->cancel(id)) {
      drain();
    } else {
      to_stick_.push_back({now + delay_, id});
    }
  }
  /// Each completion is handed out once.
  std::optional<usb::Completion> take(usb::TransferId id) {
    auto node = ended_.extract(id);
    if (node.empty()) return std::nullopt;
    return std::move(node.mapped());
  }
  /// Waits until it ends, or nothing happens any more.
  std::optional<usb::Completion> wait(usb::TransferId id) {
    while (ended_.find(id) == ended_.end() && step()) {
    }
    return take(id);
  }
  [[nodiscard]] bool is_open(usb::TransferId id) const { return open_.contains(id); }

  /// The next thing happens, whenever that is. False: nothing does by itself, or not before
  /// `limit`, which it is now.
  bool step(std::optional<Instant> limit = {}) {
    std::optional<Instant> next;
    const auto consider = [&](std::optional<Instant> at) {
      if (at && (!next || *at < *next)) next = at;
    };
    if (!to_stick_.empty()) consider(to_stick_.front().at);
    if (!to_session_.empty()) consider(to_session_.front().first);
    if (!gone_) consider(stick_.next_deadline());
    if (limit && (!next || *next > *limit)) {
      now = std::max(now, *limit);
      return false;
    }
    if (!next) return false;
    now = std::max(now, *next);
    if (!to_session_.empty() && to_session_.front().first <= now) {
      usb::Completion completion = std::move(to_session_.front().second);
      to_session_.pop_front();
      arrive(std::move(completion));
    } else if (!to_stick_.empty() && to_stick_.front().at <= now) {
      deliver(std::move(to_stick_.front().item));
      to_stick_.pop_front();
    } else {
      stick_.advance(now);
    }
    collect();
    return true;
  }

  /// The lease is over.
  void lost() {
    to_stick_.clear();
    to_session_.clear();
    std::set<usb::TransferId> outstanding;
    outstanding.swap(outstanding_);
    for (const auto id : outstanding) arrive(gone_completion(id));
    if (!pipeline_) return;
    pipeline_->lost();
    drain();
  }

  [[nodiscard]] const PipelineCounters& counters() const { return pipeline_->counters(); }
  [[nodiscard]] std::string witness() const { return bench_->witness.to_json(); }
  [[nodiscard]] std::size_t open() const { return open_.size(); }

  Instant now{0};
  Deeds deeds;
  std::vector<std::string>* conversation = nullptr;  ///< everything that was said, for a person
  std::string problem;                               ///< the first promise that was broken

 private:
  struct Way {
    Instant at;
    std::variant<usb::Transfer, usb::TransferId> item;
  };

  void complain(const std::string& what) {
    if (problem.empty()) problem = what;
  }

  void note(const char* who, const usb::Transfer& transfer) {
    if (conversation == nullptr) return;
    std::string text = who + std::to_string(transfer.id & 0xFFFFU) + ' ';
    if (transfer.type == usb::TransferType::control) {
      text += "control " + std::to_string(transfer.setup.request) + " index " +
              std::to_string(transfer.setup.index);
    } else {
      text += (transfer.in() ? "in " : "out ") + std::to_string(transfer.length);
      if (const auto block = parse_command_block(transfer.data)) {
        text += " command " + std::to_string(block->cdb.operation()) + " length " +
                std::to_string(block->data_length) + " flags " + std::to_string(block->flags);
      }
    }
    conversation->push_back(std::to_string(now.count()) + ' ' + text);
  }
  void note(const char* who, usb::TransferId id) {
    if (conversation == nullptr) return;
    conversation->push_back(std::to_string(now.count()) + ' ' + who + std::to_string(id & 0xFFFFU));
  }
  void note(const char* who, const usb::Completion& completion) {
    if (conversation == nullptr) return;
    note((who + std::string(usb::name(completion.status)) + ' ' +
          std::to_string(completion.actual_length) + " for ")
             .c_str(),
         completion.id);
  }

  static usb::Completion gone_completion(usb::TransferId id) {
    usb::Completion completion;
    completion.id = id;
    completion.status = usb::TransferStatus::device_gone;
    return completion;
  }

  void deliver(std::variant<usb::Transfer, usb::TransferId> item) {
    if (const auto* id = std::get_if<usb::TransferId>(&item)) {
      note("    stick is to cancel ", *id);
      if (!gone_) stick_.cancel(*id, now);
      return;
    }
    auto& transfer = std::get<usb::Transfer>(item);
    if (gone_) {
      to_session_.emplace_back(now + delay_, gone_completion(transfer.id));
      return;
    }
    if (!outstanding_.insert(transfer.id).second) complain("a transfer was submitted twice");
    note("    stick ", transfer);
    stick_.submit(std::move(transfer), now);
  }

  void collect() {
    while (auto completion = stick_.poll_completion()) {
      if (outstanding_.erase(completion->id) == 0) continue;
      note("    stick says ", *completion);
      to_session_.emplace_back(now + delay_, std::move(*completion));
    }
    if (!gone_ && stick_.poll_departure()) {
      gone_ = true;
      for (const auto id : outstanding_)
        to_session_.emplace_back(now + delay_, gone_completion(id));
      outstanding_.clear();
    }
  }

  void arrive(usb::Completion completion) {
    if (pipeline_ && Pipeline::is_own(completion.id)) {
      bulk_running_.erase(completion.id);
      pipeline_->complete(std::move(completion));
      drain();
    } else {
      finish(std::move(completion));
    }
  }

  void drain() {
    while (auto output = pipeline_->poll()) {
      if (auto* submit = std::get_if<Pipeline::Submit>(&*output)) {
        check(submit->transfer);
        to_stick_.push_back({now + delay_, std::move(submit->transfer)});
      } else if (const auto* cancel = std::get_if<Pipeline::Cancel>(&*output)) {
        to_stick_.push_back({now + delay_, cancel->id});
      } else {
        finish(std::move(std::get<Pipeline::Complete>(*output).completion));
      }
    }
  }

  /// What the pipeline may not do to the stick.
  void check(const usb::Transfer& transfer) {
    if (!Pipeline::is_own(transfer.id)) complain("a transfer under an id of the session");
    if (!ids_.insert(transfer.id).second) complain("an id was used twice");
    if (transfer.type == usb::TransferType::bulk) {
      bulk_running_.emplace(transfer.id, transfer.endpoint);
      std::uint64_t bytes = 0;
      if (transfer.in()) bytes = transfer.length;
      if (bytes > limits::transfer_bytes) complain("a read above the limit");
      return;
    }
    const auto request = usb::as_host_request(transfer.setup);
    if (!request && transfer.setup != usb::bulk_only_reset(0)) return;
    const auto* halt = request ? std::get_if<usb::ClearHalt>(&*request) : nullptr;
    for (const auto& [id, endpoint] : bulk_running_) {
      if (halt != nullptr && halt->endpoint != endpoint) continue;
      const bool in = (endpoint & 0x80U) != 0;
      const bool sessions = std::any_of(open_.begin(), open_.end(),
                                        [&](const auto& each) { return each.second == in; });
      if (!sessions) complain("a halt is cleared under a transfer of the pipeline's own");
    }
  }

  void finish(usb::Completion completion) {
    if (completion.data.size() > limits::transfer_bytes) complain("more data than a transfer has");
    note("session gets ", completion);
    if (open_.erase(completion.id) == 0) {
      complain("transfer " + std::to_string(completion.id) + " completed twice, or never was");
      return;
    }
    const auto id = completion.id;
    ended_.emplace(id, std::move(completion));
  }

  Duration delay_;
  std::shared_ptr<simulator::Bench> bench_;
  simulator::MassStorageStick stick_;
  std::optional<Pipeline> pipeline_;
  bool gone_ = false;
  std::deque<Way> to_stick_;
  std::deque<std::pair<Instant, usb::Completion>> to_session_;
  std::set<usb::TransferId> outstanding_;                 ///< at the stick
  std::map<usb::TransferId, std::uint8_t> bulk_running_;  ///< of the pipeline
  std::set<usb::TransferId> ids_;
  std::map<usb::TransferId, bool> open_;  ///< of the session; true: bulk IN
  std::map<usb::TransferId, usb::Completion> ended_;
  usb::TransferId last_id_ = 0;
};

}  // namespace tillbridge::massstorage::test
