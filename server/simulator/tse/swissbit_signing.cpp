// A signature in two steps, and the data between them.

#include <algorithm>

#include "server/simulator/tse/swissbit_card.hpp"
#include "server/simulator/tse/swissbit_status.hpp"

namespace tillbridge::simulator::tse {

using swissbit::sector_bytes;

SwissbitCard::Outcome SwissbitCard::open_step(const swissbit::OpenStep& command, Instant now) {
  if (const Status no = may_sign(now); no != Status::ok) return ends(no);
  if (core_->time_s(now).value_or(0) > static_cast<std::uint64_t>(core_->certificate_end())) {
    return ends(Status::certificate_expired);
  }
  if (core_->signatures_left() == 0) return ends(Status::signatures_used_up);
  if (!knows(command.client)) return ends(Status::unknown_client);
  const std::vector<OpenTransaction> open = core_->open_transactions();
  if (command.step == swissbit::Step::start) {
    if (open.size() >= core_->options().most_open_transactions) {
      return ends(Status::too_many_transactions);
    }
  } else {
    const auto found =
        std::find_if(open.begin(), open.end(), [&command](const OpenTransaction& transaction) {
          return transaction.number == command.transaction;
        });
    if (found == open.end()) return ends(Status::not_started);
    if (found->client != command.client) return ends(Status::not_allowed);
  }

  // An unfinished step is given up: its client may be gone (inferred).
  Import import;
  import.step = command;
  import.first_block = blocks_of(core_->store_bytes_used()) + 1;  // behind the log's TAR header
  const std::uint64_t blocks = blocks_of(command.data_bytes);
  import.data.resize(static_cast<std::size_t>(blocks * sector_bytes));
  import.arrived.resize(static_cast<std::size_t>(blocks));
  const swissbit::OpenedStep opened{import.first_block};
  import_ = std::move(import);
  return {Status::ok, swissbit::encode(opened)};
}

SwissbitCard::Outcome SwissbitCard::close_step(Instant now) {
  if (!import_) return ends(Status::no_step_open);
  if (const Status no = may_sign(now); no != Status::ok) return ends(no);
  const bool complete = std::all_of(import_->arrived.begin(), import_->arrived.end(),
                                    [](bool arrived) { return arrived; });
  if (!complete) return ends(Status::data_missing);

  const Import import = *std::exchange(import_, std::nullopt);
  const swissbit::OpenStep& step = import.step;
  const ByteView data = ByteView(import.data).first(static_cast<std::size_t>(step.data_bytes));
  const auto sign = [&] {
    switch (step.step) {
      case swissbit::Step::start:
        return core_->start(step.client, data, step.type, now);
      case swissbit::Step::update:
        return core_->update(step.transaction, step.client, data, step.type, now);
      default:
        return core_->finish(step.transaction, step.client, data, step.type, now);
    }
  };
  const Answer<Signed> done = sign();
  if (!done) return ends(status_of(done.refusal()));
  swissbit::ClosedStep closed;
  closed.transaction = done->transaction;
  closed.serial = core_->serial();
  closed.time_s = done->time_s;
  closed.counter = done->counter;
  closed.signature = done->signature;
  return {Status::ok, swissbit::encode(closed)};
}

// --- import

std::optional<std::size_t> SwissbitCard::place_of(std::uint64_t store_block) const {
  if (!import_ || store_block < import_->first_block) return std::nullopt;
  const std::uint64_t place = store_block - import_->first_block;
  if (place >= import_->arrived.size()) return std::nullopt;
  return static_cast<std::size_t>(place);
}

bool SwissbitCard::expects(std::uint64_t store_block) const {
  if (place_of(store_block)) return true;
  return import_ && store_block == 0 && options_.accepts_data_at_store_start &&
         !import_->arrived.empty();
}

void SwissbitCard::import(std::uint64_t store_block, ByteView block) {
  // A client that was told where to write never writes to the first block, so one that does is of
  // the other kind, and stays it for this step.
  if (store_block == 0 && expects(0)) import_->first_block = 0;
  const auto place = place_of(store_block);
  if (!place) return;
  std::copy(block.begin(), block.end(),
            import_->data.begin() + static_cast<std::ptrdiff_t>(*place * sector_bytes));
  import_->arrived[*place] = true;
}

std::optional<ByteView> SwissbitCard::imported(std::uint64_t store_block) const {
  const auto place = place_of(store_block);
  // The store's first block is never hidden by data that a client put there.
  if (!place || import_->first_block == 0 || !import_->arrived[*place]) return std::nullopt;
  return ByteView(import_->data).subspan(*place * sector_bytes, sector_bytes);
}

}  // namespace tillbridge::simulator::tse
