// Transactions: what a TSE is for.

#include <algorithm>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "server/simulator/tse/core_state.hpp"

namespace tillbridge::simulator::tse {
namespace {

/// TR-03151: a PrintableString of at most 100 characters; products do not look at which ones.
bool is_process_type(std::string_view type) {
  return type.size() <= limits::tse_process_type_bytes &&
         std::all_of(type.begin(), type.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

std::vector<std::uint32_t> pieces_of(std::size_t bytes, std::uint32_t piece_bytes) {
  std::vector<std::uint32_t> pieces;
  if (piece_bytes == 0) return pieces;
  do {  // data of no bytes is one piece of no bytes
    const std::size_t piece = std::min<std::size_t>(bytes, piece_bytes);
    pieces.push_back(static_cast<std::uint32_t>(piece));
    bytes -= piece;
  } while (bytes > 0);
  return pieces;
}

}  // namespace

std::optional<Refusal> TseCore::State::transaction_refusal(std::string_view client, ByteView data,
                                                           std::string_view type,
                                                           Instant now) const {
  switch (kept.life_cycle) {
    case LifeCycle::disabled:
      return Refusal::disabled;
    case LifeCycle::not_initialized:
      return Refusal::not_initialized;
    case LifeCycle::deactivated:
      return Refusal::not_active;
    case LifeCycle::active:
      break;
  }
  if (const auto refusal = self_test_refusal(now)) return refusal;
  if (const auto refusal = signing_refusal(log_time_s(now))) return refusal;
  if (!has_time(now)) return Refusal::no_time;
  if (std::find(kept.clients.begin(), kept.clients.end(), client) == kept.clients.end())
    return Refusal::unknown_client;
  if (data.size() > limits::tse_process_data_bytes || !is_process_type(type))
    return Refusal::bad_parameter;
  return std::nullopt;
}

Answer<Signed> TseCore::State::sign_transaction(Kept next, evidence::TransactionStep step,
                                                std::uint64_t number, std::string_view client,
                                                ByteView data, std::string_view type, Instant now) {
  evidence::TransactionLog log;
  log.step = step;
  log.client = client;
  log.process_data.assign(data.begin(), data.end());
  log.process_type = type;
  log.number = number;
  log.pieces = pieces_of(data.size(), options.process_data_piece_bytes);
  return sign(std::move(next), std::move(log), log_time_s(now), Room::without_reserve);
}

Answer<Signed> TseCore::start(std::string_view client, ByteView data, std::string_view type,
                              Instant now) {
  State& its = *state_;
  its.begin(now);
  if (const auto refusal = its.transaction_refusal(client, data, type, now)) return *refusal;
  Kept next = its.kept;
  if (next.open_transactions.size() >= its.options.most_open_transactions)
    return Refusal::too_many_transactions;
  const std::uint64_t number = ++next.transaction_counter;
  next.open_transactions.push_back({number, std::string(client), its.log_time_s(now)});
  return its.sign_transaction(std::move(next), evidence::TransactionStep::start, number, client,
                              data, type, now);
}

Answer<Signed> TseCore::State::continue_transaction(evidence::TransactionStep step,
                                                    std::uint64_t number, std::string_view client,
                                                    ByteView data, std::string_view type,
                                                    Instant now) {
  begin(now);
  if (const auto refusal = transaction_refusal(client, data, type, now)) return *refusal;
  Kept next = kept;
  const auto open = std::find_if(next.open_transactions.begin(), next.open_transactions.end(),
                                 [number](const auto& other) { return other.number == number; });
  if (open == next.open_transactions.end()) return Refusal::no_such_transaction;
  if (open->client != client) return Refusal::not_clients_transaction;
  if (step == evidence::TransactionStep::finish) next.open_transactions.erase(open);
  return sign_transaction(std::move(next), step, number, client, data, type, now);
}

Answer<Signed> TseCore::update(std::uint64_t transaction, std::string_view client, ByteView data,
                               std::string_view type, Instant now) {
  return state_->continue_transaction(evidence::TransactionStep::update, transaction, client, data,
                                      type, now);
}

Answer<Signed> TseCore::finish(std::uint64_t transaction, std::string_view client, ByteView data,
                               std::string_view type, Instant now) {
  return state_->continue_transaction(evidence::TransactionStep::finish, transaction, client, data,
                                      type, now);
}

}  // namespace tillbridge::simulator::tse
