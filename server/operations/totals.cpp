#include "server/operations/totals.hpp"

#include "server/operations/limits.hpp"

namespace tillbridge::operations {

void Total::add(const server::LeaseRecord& record) {
  leases += 1;
  transfers += record.transfers;
  errors += record.errors;
  bytes_in += record.bytes_in;
  bytes_out += record.bytes_out;
  latency.add(record.latency);
}

void Totals::lease_ended(const server::LeaseRecord& record) {
  const Pair pair{record.stick, record.till};
  const auto found = ended_.find(pair);
  if (found != ended_.end()) {
    found->second.add(record);
  } else if (ended_.size() < limits::counted_pairs) {
    ended_[pair].add(record);
  }
}

void Totals::till_back(const server::TillStatus& till) {
  count(reconnects_, till.till.name);
}

void Totals::till_left(const server::TillStatus& till, server::TillEnd how,
                       const std::string& /*why*/) {
  if (how == server::TillEnd::lost) count(losses_, till.till.name);
}

void Totals::count(std::map<std::string, std::uint64_t>& counts, const std::string& till) {
  if (counts.size() < limits::counted_pairs || counts.contains(till)) counts[till] += 1;
}

}  // namespace tillbridge::operations
