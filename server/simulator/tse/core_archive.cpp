// The store as an archive: reading it, exporting parts of it, deleting what was exported.

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "server/simulator/tse/core_state.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::simulator::tse {
namespace {

/// A header and one block of content: make_head() sees to that.
constexpr std::size_t info_bytes = 2 * evidence::tar_block_bytes;

bool selects(const ExportFilter& filter, const StoredLog& log) {
  const bool transactions_only =
      filter.client || filter.first_transaction || filter.last_transaction;
  if (transactions_only && !log.transaction) return false;
  if (filter.client && log.client != *filter.client) return false;
  if (filter.first_transaction && *log.transaction < *filter.first_transaction) return false;
  if (filter.last_transaction && *log.transaction > *filter.last_transaction) return false;
  if (filter.from_time_s && log.time_s < *filter.from_time_s) return false;
  if (filter.to_time_s && log.time_s > *filter.to_time_s) return false;
  return !filter.above_counter || log.counter > *filter.above_counter;
}

}  // namespace

const std::vector<StoredLog>& TseCore::logs() const {
  return state_->logs;
}
std::uint64_t TseCore::store_bytes_used() const {
  return state_->store->log_bytes();
}
std::uint64_t TseCore::head_bytes() const {
  return state_->head.size();
}
std::uint64_t TseCore::exported_counter() const {
  return state_->kept.exported_counter;
}

Status TseCore::read_store(std::uint64_t offset, std::span<std::uint8_t> data) {
  return state_->store->read_log(offset, data);
}

Bytes TseCore::certificate_archive() const {
  return {state_->head.begin() + info_bytes, state_->head.end()};
}

Answer<Export> TseCore::open_export(const ExportFilter& filter) const {
  Export out;
  const auto add = [&out](std::uint64_t offset, std::uint64_t bytes) {
    const bool continues = !out.pieces_.empty() &&
                           out.pieces_.back().store_offset + out.pieces_.back().bytes == offset;
    if (continues) {
      out.pieces_.back().bytes += bytes;
    } else {
      out.pieces_.push_back({out.bytes_, offset, bytes});
    }
    out.bytes_ += bytes;
  };
  add(0, state_->head.size());
  out.deletions_ = state_->deletions;
  const std::uint64_t not_exported = state_->kept.exported_counter + 1;
  for (const StoredLog& log : state_->logs) {
    if (!selects(filter, log)) continue;
    if (filter.most_records > 0 && out.records_ == filter.most_records) {
      if (filter.cut_at_most_records) break;
      return Refusal::too_many_records;
    }
    add(log.offset, log.tar_bytes);
    ++out.records_;
    // Which run of logs without a gap holds the first one that was not exported yet?
    if (log.counter == out.exported_to_ + 1) {
      out.exported_to_ = log.counter;
      if (out.exported_from_ == 0) out.exported_from_ = log.counter;
    } else if (out.exported_to_ < not_exported) {
      out.exported_from_ = out.exported_to_ = log.counter;
    }
  }
  if (out.records_ == 0) return Refusal::no_data;
  return out;
}

Status TseCore::read_export(const Export& from, std::uint64_t offset,
                            std::span<std::uint8_t> data) {
  assert(offset <= from.bytes_ && data.size() <= from.bytes_ - offset);
  if (from.deletions_ != state_->deletions)
    return fail(ErrorCode::unavailable, "The export ended when logs were deleted. Start it again.");
  const bool reads_the_end = offset + data.size() == from.bytes_;
  auto piece = std::upper_bound(
      from.pieces_.begin(), from.pieces_.end(), offset,
      [](std::uint64_t at, const Export::Piece& other) { return at < other.export_offset; });
  for (--piece; !data.empty(); ++piece) {
    const std::uint64_t within = offset - piece->export_offset;
    const auto part = data.first(std::min<std::uint64_t>(data.size(), piece->bytes - within));
    if (auto status = read_store(piece->store_offset + within, part); !status) return status;
    data = data.subspan(part.size());
    offset += part.size();
  }
  if (reads_the_end && from.exported_from_ <= state_->kept.exported_counter + 1)
    mark_exported(from.exported_to_);
  return {};
}

Answer<Bytes> TseCore::export_logs(const ExportFilter& filter) {
  const auto from = open_export(filter);
  if (!from) return from.refusal();
  if (from->bytes() > limits::tse_archive_bytes) return Refusal::too_many_records;
  Bytes archive(from->bytes());
  if (!read_export(*from, 0, archive)) return Refusal::storage_failed;
  return archive;
}

void TseCore::mark_exported(std::uint64_t counter) {
  Kept& kept = state_->kept;
  kept.exported_counter =
      std::max(kept.exported_counter, std::min(counter, kept.signature_counter));
}

Answer<Bytes> TseCore::last_log() {
  if (state_->logs.empty()) return Refusal::no_data;
  const StoredLog& last = state_->logs.back();
  Bytes entry(last.tar_bytes);
  if (!read_store(last.offset, entry)) return Refusal::storage_failed;
  std::vector<evidence::TarView> views;
  if (!evidence::view_tar(entry, views) || views.empty()) return Refusal::storage_failed;
  return Bytes(views[0].content.begin(), views[0].content.end());
}

Done TseCore::delete_up_to(std::uint64_t counter, Instant now) {
  State& its = *state_;
  its.begin(now);
  if (const auto refusal = its.admin_refusal()) return *refusal;
  if (!its.kept.open_transactions.empty()) return Refusal::open_transactions;
  if (its.logs.empty() || its.logs.front().counter > counter) return Refusal::no_data;
  const auto first_kept = std::upper_bound(
      its.logs.begin(), its.logs.end(), counter,
      [](std::uint64_t up_to, const StoredLog& log) { return up_to < log.counter; });
  if (std::prev(first_kept)->counter > its.kept.exported_counter) return Refusal::unexported_data;

  const std::uint64_t end = its.store->log_bytes();
  const std::uint64_t tail = first_kept == its.logs.end() ? end : first_kept->offset;
  const std::uint64_t deleted = tail - its.head.size();
  const std::array<LogRange, 2> kept_ranges = {LogRange{0, its.head.size()},
                                               LogRange{tail, end - tail}};
  Kept next = its.kept;
  std::optional<State::NewLog> log;
  if (its.options.extended_system_logs) {
    auto made = its.make_log(next, evidence::SystemLog{"deleteStoredData", {}, {}},
                             its.log_time_s(now), State::Room::whole, end - deleted);
    if (!made) return made.refusal();
    log = std::move(*made);
  }
  const std::string text = state_text(next, its.options, its.key_pem, its.head.size());
  if (!its.store->rewrite(text, kept_ranges, log ? ByteView(log->entry) : ByteView()))
    return Refusal::storage_failed;

  its.kept = std::move(next);
  its.logs.erase(its.logs.begin(), first_kept);
  for (StoredLog& other : its.logs) other.offset -= deleted;
  if (log) its.logs.push_back(index_entry(log->message, end - deleted, log->entry.size()));
  ++its.deletions;
  return done();
}

}  // namespace tillbridge::simulator::tse
